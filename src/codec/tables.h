#pragma once
// Code tables that several parts of the engine name. An encoding points at one of these, so a table's address
// identifies it.

#include "codec/encoding.h"

namespace packhorse {

/// NormalFloat of QLoRA (arXiv 2305.14314), as bitsandbytes rounds it.
extern const CodeTable kNf4;
/// 4-bit float of bitsandbytes: sign, then an order and values of its own (not E2M1).
extern const CodeTable kFp4;

}  // namespace packhorse
