#pragma once
// What kernels are: ops, their arguments, and the rows that offer them. Plain structs only, since instruction-set files
// include this.
//
// Every row of an op computes the same numbers, bit for bit: the definition is ref/. Matmul comes in these arithmetics:
//   exact  y[n] = sum over k, ascending, of fma(w[n,k], x[k], y), w dequantized to float32
//   bf16   the same of bfloat16 weights and x rounded to bfloat16, but of each pair of columns the odd one first
//          (what vdpbf16ps does; it also takes subnormal numbers for zero, which ref/ does not)
//          Minifloats with scales are multiplied without them in slices of at most kScaledSlice columns that end with
//          their groups; y = fma(sum of a slice, scale, y)
//   int8   activations are quantized per 32 elements (ActBlock), by the step of which a format made them multiples
//   where
//          there is one, else by their largest magnitude / 127; per block the integer dot is exact, and the blocks are
//          accumulated in ascending order by fma(float(dot), scale_w * scale_x, y), then fma(min, sum_x, y)
// so a result depends neither on batch size, nor on thread count, nor on the rows chosen for prefill and decode.

#include <cstdint>

#include "codec/encoding.h"
#include "codec/kv_dtype.h"

namespace packhorse {

struct RowBlock;

inline constexpr int64_t kBlockK = 32;  // K is padded to a multiple of this
inline constexpr int64_t kScaledSlice = 256;

enum class Op : uint8_t { matmul, round_act, quantize_act, rms_norm, silu_mul, attention };

/// Form of a matmul's activations.
enum class ActForm : uint8_t {
  f32,         // float [M, k_padded]
  bf16,        // bfloat16 [M, k_padded], rounded to nearest even
  int8_block,  // int8 with a scale per 32 elements
  int8_token,  // rounded to float16, then int8 with a scale per token, outliers apart (LLM.int8())
};

/// One block of 32 quantized activations: x ~ scale * q.
struct ActBlock {
  float scale;
  float sum;        // scale * isum[2]
  int32_t isum[3];  // of the first 16, the last 16 and all codes
};

/// Blocks of int8 activations lie [ceil(M / 4)][n_blocks][4 tokens], so that a kernel reaches four tokens from one
/// pointer.
inline constexpr int64_t kActTokens = 4;
inline constexpr int64_t act_block_index(int64_t m, int64_t b, int64_t n_blocks) {
  return (m / kActTokens * n_blocks + b) * kActTokens + m % kActTokens;
}
inline constexpr int64_t act_block_count(int64_t m, int64_t n_blocks) {
  return (m + kActTokens - 1) / kActTokens * kActTokens * n_blocks;
}

/// An activation that stays float: added as value * w[n, k].
struct Outlier {
  int32_t k;
  float value;
};

/// Activations of M tokens in one form; pointers of other forms are null.
struct ActView {
  const float* f32 = nullptr;           // [M, stride]
  const uint16_t* bf16 = nullptr;       // [M, stride]
  const int8_t* q = nullptr;            // [act_block_count(M, stride / 32)][32]
  const ActBlock* blocks = nullptr;     // [act_block_count(M, stride / 32)]
  const float* token_max = nullptr;     // [M], the magnitude that code 127 stands for
  const Outlier* outliers = nullptr;    // [M, stride], the first n_outliers[m] are set, ascending in k
  const int32_t* n_outliers = nullptr;  // [M]
  int64_t stride = 0;                   // k_padded
};

/// A packed weight. What the pointers hold is between a row's pack and its run.
struct WeightView {
  Encoding encoding;
  int64_t n = 0, k = 0;
  int64_t k_padded = 0;
  int64_t group_k = 0;  // elements per scale within a row
  const uint8_t* codes = nullptr;
  const uint8_t* scales = nullptr;
  int64_t code_stride = 0;  // bytes per unit of rows
  int64_t scale_stride = 0;
};

struct MatmulArgs {
  WeightView weight;
  ActView x;
  int64_t m = 0;
  float* y = nullptr;  // [m, y_stride], the weight's n columns are written
  int64_t y_stride = 0;
  const float* bias = nullptr;  // [n] or null; added last
};

struct QuantizeActArgs {
  const float* x = nullptr;  // [M, x_stride], k elements used
  int64_t x_stride = 0, k = 0;
  int64_t stride = 0;  // k_padded of the outputs below, as in ActView
  float* f32 = nullptr;
  uint16_t* bf16 = nullptr;
  int8_t* q = nullptr;
  ActBlock* blocks = nullptr;
  float* token_max = nullptr;
  Outlier* outliers = nullptr;
  int32_t* n_outliers = nullptr;
  float outlier_threshold = 0;
  const float* steps = nullptr;  // [M, ceil(k / step_group)] of RoundActArgs, or null
  int64_t step_group = 0;
};

/// What a format does to a layer's input: y = (x * scale)[order], then each number rounded to what the scheme's codes
/// can say. The product of x and scale, the quotient by a scale of the scheme, and the product with it are rounded once
/// each.
struct RoundActArgs {
  const float* x = nullptr;        // [M, k]
  float* y = nullptr;              // [M, k], not x
  const float* scale = nullptr;    // [k] or null
  const int32_t* order = nullptr;  // [k] or null
  int64_t k = 0;
  ActScheme scheme = {};
  float act_scale = 1;  // WeightInput
  int32_t act_zero = 0;
  float* steps = nullptr;  // [M, number of groups] or null: what all of a group are small multiples of, 0 = nothing
  int64_t group() const { return scheme.group ? scheme.group : k; }
  int64_t n_groups() const { return (k + group() - 1) / group(); }
};
/// The common step of columns [begin, end) of token m, 0 when there is none.
[[gnu::always_inline]] inline float common_step(const QuantizeActArgs& a, int64_t m, int64_t begin, int64_t end) {
  if (!a.steps || begin >= a.k) return 0;
  const float* steps = a.steps + m * ((a.k + a.step_group - 1) / a.step_group);
  const int64_t last = (end < a.k ? end : a.k) - 1;
  const float step = steps[begin / a.step_group];
  for (int64_t g = begin / a.step_group + 1; g <= last / a.step_group; ++g) {
    if (steps[g] != step) return 0;
  }
  return step;
}

struct RmsNormArgs {
  const float* x = nullptr;       // [M, n]
  const float* weight = nullptr;  // [n]
  float* y = nullptr;             // [M, n]
  int64_t n = 0;
  float eps = 0;
};

struct SiluMulArgs {
  const float* gate_up = nullptr;  // [M, 2n]: gate then up
  float* y = nullptr;              // [M, n] = silu(gate) * up
  int64_t n = 0;
};

/// Causal attention of one span of consecutive tokens of one sequence against its paged cache.
struct AttentionArgs {
  const float* q = nullptr;  // [n_tokens, q_stride], heads beside each other
  float* out = nullptr;      // [n_tokens, out_stride]
  int64_t q_stride = 0, out_stride = 0;
  int64_t n_tokens = 0, first_position = 0;
  int64_t n_heads = 0, n_kv_heads = 0, head_dim = 0;
  float scale = 0;                  // of the scores: 1 / sqrt(head_dim)
  int64_t window = 0;               // a token sees itself and the window - 1 before it; 0 = all
  const uint8_t* keys = nullptr;    // block b at + b * block_stride, laid out as codec/kv_dtype.h says
  const uint8_t* values = nullptr;  // block b at + b * block_stride
  int64_t block_stride = 0;
  const int32_t* block_table = nullptr;
  KvDType dtype = KvDType::f32;
  const float* key_scale = nullptr;    // [n_kv_heads] or null: what a stored key of 1 stands for
  const float* value_scale = nullptr;  // [n_kv_heads] or null
  float* scratch = nullptr;            // attention_scratch_floats() for the calling task
};

/// A query tile covers this many tokens; work items of attention are (tile, kv head).
inline constexpr int64_t kAttentionTile = 8;
/// Keys are taken in chunks of this many at absolute positions, one softmax rescaling each.
inline constexpr int64_t kAttentionChunk = 64;
inline constexpr int64_t attention_scratch_floats(int64_t heads_per_group, int64_t head_dim) {
  return heads_per_group * kAttentionTile * (kAttentionChunk + 2 * head_dim + 32);
}

/// What is asked of a kernel when rows are chosen, once, at load.
struct Problem {
  Op op = Op::matmul;
  Encoding weight{};  // matmul
  bool fast = false;  // matmul: activations may be quantized to int8 or rounded to bfloat16
  int64_t n = 0, k = 0;
  int64_t head_dim = 0;  // attention
};

/// Bytes that `rows_per_unit` consecutive rows take when packed.
struct UnitLayout {
  int64_t rows_per_unit = 0;
  int64_t code_bytes = 0;
  int64_t scale_bytes = 0;
};

using MatmulFn = void (*)(const MatmulArgs&, int64_t unit_begin, int64_t unit_end) noexcept;
using DecodeRowsFn = void (*)(const WeightView&, int64_t row, float* out) noexcept;  // out[k_padded]

/// One implementation of one op. `run` takes a range of work: units of rows for matmul, tokens for the element-wise
/// ops, and (tile, kv head) items for attention.
struct Kernel {
  Op op;
  const char* name;
  int cost;  // the lowest whose why_not is null is taken
  /// Null when the row can do it, else the reason in a few words.
  const char* (*why_not)(const Problem&);
  union Run {
    MatmulFn matmul;
    void (*quantize_act)(const QuantizeActArgs&, int64_t begin, int64_t end) noexcept;
    void (*round_act)(const RoundActArgs&, int64_t begin, int64_t end) noexcept;
    void (*rms_norm)(const RmsNormArgs&, int64_t begin, int64_t end) noexcept;
    void (*silu_mul)(const SiluMulArgs&, int64_t begin, int64_t end) noexcept;
    void (*attention)(const AttentionArgs&, int64_t begin, int64_t end) noexcept;
  } run;
  // Matmul alone:
  ActForm act = ActForm::f32;
  UnitLayout (*layout)(const Encoding&, int64_t k) = nullptr;
  /// Packs the rows of one unit, fewer at the end of the matrix; missing rows and columns become zero weights.
  void (*pack)(const Encoding&, const RowBlock&, int64_t first_row, uint8_t* codes, uint8_t* scales) = nullptr;
  DecodeRowsFn decode_row = nullptr;  // one dequantized row, for embeddings and checks
};

/// Rows that need the same instructions.
struct KernelSet {
  const char* name;  // what --isa calls it
  uint32_t needs;    // cpu::Feature bits
  const Kernel* rows;
  int n_rows;
};

}  // namespace packhorse
