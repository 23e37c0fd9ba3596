#pragma once
// Code tables that several parts of the engine name. An encoding points at one of these, so a table's address
// identifies it.

#include "codec/encoding.h"

namespace packhorse {

/// NormalFloat of QLoRA (arXiv 2305.14314), as bitsandbytes rounds it.
extern const CodeTable kNf4;
/// 4-bit float of bitsandbytes: sign, then an order and values of its own (not E2M1).
extern const CodeTable kFp4;
/// The OCP's 4-bit float of MXFP4 and NVFP4: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
extern const CodeTable kE2M1;
/// What BitBLAS makes of "fp4_e2m1": sign and an exponent alone, 0, 2^-6 .. 1.
extern const CodeTable kFp4Powers;
/// Non-linear 4-bit codes of ggml's IQ4_NL and IQ4_XS.
extern const CodeTable kIq4Nl;
/// One bit: -1 and 1.
extern const CodeTable kSign;

}  // namespace packhorse
