#pragma once
// calculate_kv_scales: scales of an FP8 cache for layers whose checkpoint has none.

#include <cstdint>
#include <span>
#include <vector>

#include "nn/model.h"

namespace packhorse {

inline constexpr int64_t kCalibrationTokens = 256;
/// Keys and values are measured over one prompt, and others may have larger ones. So the largest becomes 200 and 100 of
/// E4M3's 448, vLLM's defaults: up to 2.24 and 4.48 times as much does not saturate, and as codes are floats the
/// smaller ones lose nothing by it.
inline constexpr float kLargestKey = 200, kLargestValue = 100;

/// The prompt: ids spread evenly over the vocabulary. Not a text, since a model may be run without a tokenizer; and not
/// the first requests, as vLLM had it, since then logits would depend on what came before.
std::vector<int32_t> calibration_tokens(int64_t vocab_size, int64_t n);

/// Gives these layers of `model` the scales that their keys, after rotary positions, and values ask for; one of each
/// for all heads. They are measured in float32, by one prefill of at most `max_tokens`. Error{model} when they are not
/// finite.
void calibrate_kv_scales(Model& model, ThreadPool& pool, int64_t max_tokens, std::span<const int64_t> layers);

}  // namespace packhorse
