#pragma once
// Sum of float32 values in the order in which PyTorch's CPU build adds them on one thread (bit for bit up to 6,144
// values, as far as it was compared; from 32,768 values on PyTorch splits the work, and its result depends on the
// number of threads).

#include <cstdint>
#include <span>

namespace packhorse {

float cascade_sum(std::span<const float> values);

}  // namespace packhorse
