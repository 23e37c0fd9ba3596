#pragma once
// What AutoRound's integer and float packings have in common.

#include <string_view>

namespace packhorse {

/// Whether settings with this quant_method are AutoRound's, also under the name of Intel Neural Compressor.
bool is_auto_round(std::string_view quant_method);

}  // namespace packhorse
