#pragma once
// A matrix in the tensors of GPTQ: qweight, qzeros, scales and perhaps g_idx.
//
//   qweight  I32 [K b / 32, N]  down each column of words a stream of b-bit codes: code k at bits [k b, (k + 1) b)
//   qzeros   I32 [G, N b / 32]  along each row the same stream of zero points
//   scales   float [G, N]
//   g_idx    I32 [K]            group of each column of the matrix; absent, empty or all 0 = k div group_size
//
// or, always for 5, 6 and 7 bits, each 32 codes in planes: b words, the low 4 bits of all 32 codes in the first four,
// and so on (unpack_planes).

#include "formats/qweight.h"

namespace packhorse {

struct GptqWords {
  WordSettings settings;
  bool zeros_less_one = true;  // what stands in qzeros is the zero point - 1, borrowed through whole words
  bool in_planes = false;      // as all words of 5, 6 and 7 bits are
  bool needs_g_idx = false;    // columns were quantized in an order of their own
  bool symmetric = false;      // by the settings all zero points are the middle, 2^(b - 1)
};

/// Throws Error{model}: tensors that are missing or do not fit.
WeightPlan plan_gptq_words(const CheckpointView& view, const Module& module, const GptqWords& words);

}  // namespace packhorse
