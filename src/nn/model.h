#pragma once
// The one virtual interface between an architecture and the engine, and what a forward pass is given.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "cache/kv_pool.h"
#include "formats/kv_scales.h"
#include "nn/workspace.h"

namespace packhorse {

/// Consecutive tokens of one sequence within a batch.
struct SequenceSpan {
  int64_t first_token = 0;  // index into Batch::tokens
  int64_t n_tokens = 0;
  int64_t first_position = 0;            // position of the first token; all earlier positions are in the cache
  std::span<const int32_t> block_table;  // blocks of positions 0, 16, 32, ...; covers all positions of the span
};

/// Tokens of any number of sequences, prefill chunks and decode steps alike.
struct Batch {
  std::vector<int32_t> tokens;         // [n_tokens]
  std::vector<SequenceSpan> spans;     // tile `tokens` in order
  std::vector<int32_t> logit_rows;     // token indices whose logits are wanted, ascending
  std::vector<int32_t> hidden_rows{};  // token indices whose hidden states are wanted, ascending
};

/// Float32 logits [n_rows, vocab_size]; the memory is the workspace's and holds until the next forward.
struct Logits {
  float* data = nullptr;
  int64_t n_rows = 0;
  int64_t vocab_size = 0;
  std::span<float> row(int64_t i) const { return {data + i * vocab_size, static_cast<size_t>(vocab_size)}; }
};

/// Everything a forward pass uses besides the model; always a parameter.
struct ForwardCtx {
  ThreadPool& pool;
  Workspace& workspace;
  KvPool& kv;
  float* hidden = nullptr;  // [batch.hidden_rows, hidden_size], written by forward: after the last norm
};

class PackedWeight;

/// Rows of a packed weight that one checkpoint module gave.
struct ModuleRows {
  std::string module;  // Hugging Face name without ".weight"
  int64_t first_row = 0, n_rows = 0;
  double read_share = 1;  // of these rows that a token reads: 0 of a lookup, which takes one; less than 1 of an expert
  std::string format = {};  // dialect of the checkpoint, or method that quantized the rows while they were loaded
};
/// Called for every module, also for a head that shares the embedding's table.
using WeightVisitor = std::function<void(const ModuleRows&, const PackedWeight&)>;

/// A decoder. Immutable after loading.
class Model {
 public:
  virtual ~Model() = default;
  /// Runs the batch, writing keys and values of its tokens into ctx.kv.
  virtual Logits forward(const Batch& batch, ForwardCtx& ctx) const = 0;
  /// One entry per layer.
  virtual std::vector<CacheSpec> cache_specs() const = 0;
  /// Scales for a layer's FP8 cache; before the first forward into one.
  virtual void set_kv_scales(int64_t /*layer*/, const KvScales&) {}
  virtual int64_t vocab_size() const = 0;
  /// Width of the hidden states that forward gives; 0 = it gives none.
  virtual int64_t hidden_size() const { return 0; }
  /// Positions the model was made for.
  virtual int64_t max_positions() const = 0;
  /// For inspection and for comparing dequantized rows.
  virtual void visit_weights(const WeightVisitor&) const {}
};

}  // namespace packhorse
