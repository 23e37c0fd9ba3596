#pragma once
// Codebooks that several parts of the engine name; a grid's address identifies it.

#include "codec/encoding.h"

namespace packhorse {

extern const CodeGrid kIq2Xxs, kIq2Xs, kIq2S, kIq3Xxs, kIq3S;
/// IQ1_S and IQ1_M: eight times the values, the shift by an eighth included; indices from 2048 on shift downwards. Its
/// order is not ggml's: entries stand in 128 cells of 16, and the entries of a cell begin with one of two halves, first
/// all of the one, then all of the other, so that a kernel finds the first half in small tables.
extern const CodeGrid kIq1;

/// Index of ggml's entry `index` < 2048 in kIq1.
int iq1_index(int index);
/// Index of entry `rank` of a cell of kIq1.
constexpr int iq1_place(int cell, int rank) { return cell | rank / 8 << 7 | rank % 8 << 8; }

}  // namespace packhorse
