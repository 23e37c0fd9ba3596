#pragma once
// The numbers of a run, under the names that `vllm bench serve` gives them.

#include <nlohmann/json.hpp>
#include <string>

#include "load/options.h"
#include "load/run.h"

namespace packhorse::load {

nlohmann::ordered_json report_json(const Options& options, const RunOutcome& outcome);
std::string report_text(const nlohmann::ordered_json& report);

}  // namespace packhorse::load
