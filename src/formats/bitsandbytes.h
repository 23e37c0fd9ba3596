#pragma once
// bitsandbytes: what its two halves share. bitsandbytes.cpp reads pre-quantized weights, bitsandbytes_in_flight.cpp
// makes them.

#include <string>

#include "codec/bitsandbytes.h"
#include "formats/format.h"

namespace packhorse {

/// Default of llm_int8_threshold.
inline constexpr float kInt8OutlierThreshold = 6.0f;

inline constexpr bool is_4bit_block(uint64_t size) { return size >= 32 && size <= 4096 && (size & (size - 1)) == 0; }

Encoding bitsandbytes_4bit(const CodeTable& table, uint32_t block);
Encoding bitsandbytes_int8(float outlier_threshold);

inline constexpr std::string_view kBitsandbytesSettings[] = {
    "load_in_4bit",       "load_in_8bit",       "bnb_4bit_quant_type",  "bnb_4bit_use_double_quant",
    "bnb_4bit_blocksize", "llm_int8_threshold", "llm_int8_skip_modules"};
std::string check_bitsandbytes_in_flight(const Json& config);
WeightPlan bitsandbytes_in_flight(WeightPlan plan, const Module& module, const Json& config);

}  // namespace packhorse
