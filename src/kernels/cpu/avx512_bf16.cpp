// Rows for AVX-512 with BF16 (Cooper Lake, Sapphire Rapids, Zen 4 and later): bfloat16 weights times activations
// rounded to bfloat16, two columns an instruction; small floats are widened for it. Everything else is served by the
// sets below.

#include "kernels/cpu/bf16_minifloat.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/matmul_body.h"
#include "kernels/cpu/panel.h"
#include "kernels/cpu/simd_avx512.h"

namespace packhorse {
namespace {

/// P panels beside each other: with few tokens, their sums are what keeps the multipliers busy.
template <int T, int P>
void tile(const MatmulArgs& a, int64_t m0, int64_t panel) {
  const uint8_t* code = a.weight.codes + panel * a.weight.code_stride;
  const uint16_t* x = a.x.bf16 + m0 * a.x.stride;
  __m512 acc[P][T];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) acc[p][t] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < a.weight.k_padded; k += 2) {
    __m512i w[P];
    // Ahead of a panel's end lie panels of this tile: the next ones are P - 1 panels further.
    const bool leaves = k * 32 + kPrefetchDistance >= a.weight.code_stride;
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      const uint8_t* pairs = code + p * a.weight.code_stride + k * 32;
      prefetch<1>(pairs + (leaves ? (P - 1) * a.weight.code_stride : 0), m0);
      w[p] = _mm512_loadu_si512(pairs);
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      const __m512i pair = broadcast_pair(x + t * a.x.stride + k);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) acc[p][t] = dot2(acc[p][t], w[p], pair);
    }
  }
  for (int p = 0; p < P; ++p) store_tile<Avx512, T>(a, m0, (panel + p) * 16, acc[p]);
}

/// All tokens of [begin, end) with P panels.
template <int P>
void panels(const MatmulArgs& a, int64_t begin, int64_t end, int64_t panel) {
  int64_t m = begin;
  for (; m + 8 <= end; m += 8) tile<8, P>(a, m, panel);
  for (; m + 2 <= end; m += 2) tile<2, P>(a, m, panel);
  for (; m < end; ++m) tile<1, P>(a, m, panel);
}

void matmul_bf16(const MatmulArgs& a, int64_t unit_begin, int64_t unit_end) noexcept {
  if (a.m == 1) {  // one stream of memory; its chain of sums is still faster than memory
    for (int64_t panel = unit_begin; panel < unit_end; ++panel) tile<1, 1>(a, 0, panel);
    return;
  }
  constexpr int kPanels = 3;  // 3 x 8 sums, 3 weights and a pair of columns fit the registers
  for (int64_t chunk = 0; chunk < a.m; chunk += kTokenChunk) {
    const int64_t chunk_end = a.m < chunk + kTokenChunk ? a.m : chunk + kTokenChunk;
    int64_t panel = unit_begin;
    for (; panel + kPanels <= unit_end; panel += kPanels) panels<kPanels>(a, chunk, chunk_end, panel);
    if (panel + 2 <= unit_end) panels<2>(a, chunk, chunk_end, panel), panel += 2;
    if (panel < unit_end) panels<1>(a, chunk, chunk_end, panel);
  }
}

const char* why_not(const Problem& p) {
  if (!p.fast) return "float activations are asked for";
  return p.weight.element == Element::bf16 ? nullptr : "weights that are not bfloat16";
}

const char* why_not_minifloat(const Problem& p) {
  const Encoding& e = p.weight;
  if (!p.fast) return "float activations are asked for";
  if (e.element != Element::minifloat || e.bits > 8) return "weights that are no floats of at most 8 bits";
  if (e.super_size != 0) return "another number of scale levels";
  if (e.min != ScaleType::none || e.zero != ScaleType::none) return "zero points";
  const int64_t group = group_along_row(p.weight.grouping, p.k);
  return group % kBlockK == 0 || group >= p.k ? nullptr : "groups that are not whole blocks of 32";
}

constexpr Kernel kRows[] = {{.op = Op::matmul,
                             .name = "bf16",
                             .cost = 10,
                             .why_not = why_not,
                             .run = {.matmul = matmul_bf16},
                             .act = ActForm::bf16,
                             .layout = panel_layout,
                             .pack = pack_panel},
                            {.op = Op::matmul,
                             .name = "bf16.minifloat",
                             .cost = 10,
                             .why_not = why_not_minifloat,
                             .run = {.matmul = matmul_minifloat},
                             .act = ActForm::bf16,
                             .layout = panel_layout,
                             .pack = pack_panel}};

}  // namespace

extern constexpr KernelSet kAvx512Bf16{.name = "avx512_bf16",
                                       .needs = cpu::avx512 | cpu::avx512_vnni | cpu::avx512_bf16,
                                       .rows = kRows,
                                       .n_rows = sizeof kRows / sizeof(Kernel)};

}  // namespace packhorse
