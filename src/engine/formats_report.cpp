// Methods x devices of this build.

#include <algorithm>
#include <vector>

#include "formats/format.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/select.h"
#include "packhorse/packhorse.h"

namespace packhorse {
namespace {

constexpr const char *kCpu = "x86 CPU", *kGpu = "NVIDIA GPU";

using Rows = std::vector<const Format*>;

/// The dialects and methods in flight behind each name that a user may give, in the order of the table.
std::vector<std::pair<std::string_view, Rows>> rows_by_name() {
  std::vector<std::pair<std::string_view, Rows>> out;
  const auto add = [&](std::string_view name, const Format* format) {
    const auto known = std::ranges::find(out, name, [](const auto& entry) { return entry.first; });
    Rows& rows = known != out.end() ? known->second : out.emplace_back(name, Rows{}).second;
    if (std::ranges::find(rows, format) == rows.end()) rows.push_back(format);
  };
  for (const Format* format : formats()) {
    if (!format->origin && !format->in_flight) continue;  // recognized by tensors alone: no name of its own
    add(format->name, format);
    for (const std::string_view alias : format->aliases) add(alias, format);
  }
  return out;
}

/// What a name means for float weights that load.
struct InFlight {
  bool possible = false;  // by the name alone, or with settings
  Json by_default;        // what the name alone does, or null
  Json settings = Json::array();
  std::string refusal = {};  // why not, where a row has the name to say so
};

InFlight in_flight_of(std::string_view name, const Rows& rows) {
  InFlight out;
  const auto found = std::ranges::find_if(rows, [](const Format* format) { return format->in_flight != nullptr; });
  if (found == rows.end()) return out;
  try {
    out.by_default = (*found)->check_in_flight(Json{{"quant_method", name}});
    out.possible = true;
  } catch (const Error& e) {
    out.refusal = e.what();
    out.possible = out.refusal.find("quantization_config") != out.refusal.npos;  // it asks for settings
  }
  for (const std::string_view key : (*found)->settings) {
    if (out.possible) out.settings.push_back(key);
  }
  return out;
}

Json cpu_sets() {
  Json built = Json::array(), usable = Json::array();
  for (const KernelSet* set : kernel_sets()) {
    if (set->needs == 0) continue;  // the definition, which serves no model
    built.push_back(set->name);
    if ((set->needs & ~cpu::features()) == 0) usable.push_back(set->name);
  }
  return {{"name", kCpu}, {"built", std::move(built)}, {"usable", std::move(usable)}};
}

}  // namespace

std::string formats_json() {
  Json methods = Json::array(), refused = Json::array();
  std::vector<std::pair<Rows, Json>> seen;  // of each entry of methods: its rows and itself without names
  for (const auto& [name, rows] : rows_by_name()) {
    InFlight in_flight = in_flight_of(name, rows);
    const bool is_format =
        std::ranges::any_of(rows, [](const Format* format) { return format->origin && format->claims; });
    if (!is_format && !in_flight.possible) {
      refused.push_back({{"name", name}, {"why", in_flight.refusal}});
      continue;
    }
    Json method = {{"prequantized", is_format},
                   {"in_flight", in_flight.possible},
                   {"by_default", std::move(in_flight.by_default)},
                   {"settings", std::move(in_flight.settings)},
                   // Every encoding has a row in each set of the CPU; of other devices there is none.
                   {"devices", {{kCpu, "runs"}, {kGpu, "not yet"}}}};
    std::pair<Rows, Json> meaning{rows, method};
    const auto same = std::ranges::find(seen, meaning);
    if (same != seen.end()) {
      methods[static_cast<size_t>(same - seen.begin())]["aliases"].push_back(name);
      continue;
    }
    seen.push_back(std::move(meaning));
    method["name"] = name;
    method["aliases"] = Json::array();
    methods.push_back(std::move(method));
  }
  const Json gpu = {{"name", kGpu}, {"built", Json::array()}, {"usable", Json::array()}};
  return Json{{"devices", {cpu_sets(), gpu}}, {"methods", std::move(methods)}, {"refused", std::move(refused)}}.dump();
}

}  // namespace packhorse
