#pragma once
// Codebooks that several parts of the engine name; a grid's address identifies it.

#include "codec/encoding.h"

namespace packhorse {

extern const CodeGrid kIq2Xxs, kIq2Xs, kIq2S, kIq3Xxs, kIq3S;
/// IQ1_S and IQ1_M: eight times the values, the shift by an eighth included; indices from 2048 on shift downwards.
extern const CodeGrid kIq1;

}  // namespace packhorse
