#pragma once
// The scalar oracle of attention.

#include "kernels/op.h"

namespace packhorse {

void ref_attention(const AttentionArgs& a, int64_t begin, int64_t end) noexcept;

}  // namespace packhorse
