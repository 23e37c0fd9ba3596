#pragma once
// What `inspect` prints, from the JSON that the engine gives.

#include <nlohmann/json.hpp>
#include <string>

namespace packhorse::cli {

/// Of Engine::inspect_json: a line for each module with the kernels that were passed over, where it has "candidates";
/// else equal modules of several layers or experts are one line.
std::string model_report(const nlohmann::json& info);

/// Of formats_json: methods x devices.
std::string formats_report(const nlohmann::json& info);

}  // namespace packhorse::cli
