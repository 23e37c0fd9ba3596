#pragma once
// A matrix in the tensors of AWQ. Zero points stand there as they are; words are those of the layout:
//
//   gemm       qweight I32 [K, N b / 32], qzeros I32 [G, N b / 32], scales float [G, N]. A word of 4 bits holds 8
//              columns, from the low bits up 0 2 4 6 1 3 5 7; one of 8 bits four, 0 2 1 3
//   gemv       qweight I32 [N, K / 8], qzeros I32 [N, W], scales float [N, 8 W]: codes along K and zero points along
//              groups from the low bits up
//   gemv_fast  qweight I16 [N / 4, K] (unpack_awq_fast), scales F16 [8 W, N], qzeros F16 [8 W, N] = -(scale * zero)
//   marlin     qweight I32 [K / 16, 2 N] and scales F16 [G, N] in Marlin's tiles, no zero points
//
// G = ceil(K / group_size), and of gemv and gemv_fast K / group_size; what is behind it in 8 W is padding, W =
// ceil(ceil(G / 8) / m) m with m = 4 for groups of 32, 2 for 64, 1 for larger ones.

#include "formats/qweight.h"

namespace packhorse {

/// A module in one of AWQ's layouts. Throws Error{model}: tensors that are missing or do not fit.
WeightPlan plan_awq_words(const CheckpointView& view, const Module& module, QweightLayout layout,
                          const WordSettings& settings);

}  // namespace packhorse
