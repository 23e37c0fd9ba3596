// vLLM's former method rtn: plain weights become whole numbers of 4 or 8 bits while they load, rounded to nearest.
//
//   setting                              environment       default
//   weight_bits, or bits                 RTN_NUM_BITS      8
//   group_size: columns; -1 = whole rows RTN_GROUP_SIZE    128
//
// scale = 2 * largest magnitude of the group / (2^bits - 1); code = weight / scale, of -2^(bits - 1) and up.

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "formats/online_scheme.h"
#include "formats/settings.h"

namespace packhorse {
namespace {

constexpr std::string_view kSettings[] = {"weight_bits", "bits", "group_size"};
constexpr int64_t kMaxGroup = int64_t{1} << 24;

struct Settings {
  int64_t bits = 8, group = 128;  // group 0: whole rows
};

/// Of the environment; `missing` when it is not set or empty.
int64_t whole_number_of(const char* variable, int64_t missing) {
  const char* text = std::getenv(variable);
  if (!text || !*text) return missing;
  const std::string_view digits = text;
  int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size())
    fail(ErrorKind::usage, "{}: not a whole number (got '{}')", variable, printable(text));
  return number;
}

Settings parse_settings(const Json& config) {
  const std::string where = "quantization_config";
  require_known_keys(config, "rtn", kSettings);
  if (find_member(config, "weight_bits") && find_member(config, "bits") && config["weight_bits"] != config["bits"])
    fail(ErrorKind::usage, "{}: weight_bits and bits are the same setting (got {} and {})", where,
         preview(config["weight_bits"]), preview(config["bits"]));
  const char* bits_key = find_member(config, "weight_bits") ? "weight_bits" : "bits";
  Settings settings;
  settings.bits = whole_number(config, bits_key, 1, 16, whole_number_of("RTN_NUM_BITS", settings.bits), where);
  if (settings.bits != 4 && settings.bits != 8)
    fail(ErrorKind::usage, "rtn: weight_bits or RTN_NUM_BITS: expected 4 or 8 (got {})", settings.bits);
  settings.group =
      whole_number(config, "group_size", -1, kMaxGroup, whole_number_of("RTN_GROUP_SIZE", settings.group), where);
  if (settings.group == 0 || settings.group < -1 || settings.group > kMaxGroup)
    fail(ErrorKind::usage, "rtn: group_size or RTN_GROUP_SIZE: expected -1 or 1..{} (got {})", kMaxGroup,
         settings.group);
  if (settings.group == -1) settings.group = 0;
  return settings;
}

std::string check_in_flight(const Json& config) {
  const Settings settings = parse_settings(config);
  return fmt::format("{} bits, {}", settings.bits,
                     settings.group ? fmt::format("group_size {}", settings.group) : "a scale per row");
}

WeightPlan in_flight(WeightPlan plan, const Module&, const Json& config) {
  const Settings settings = parse_settings(config);
  return round_weight(std::move(plan), full_range_scheme(static_cast<int>(settings.bits), settings.group));
}

}  // namespace

extern constexpr Format kRtn{
    .name = "rtn", .check_in_flight = check_in_flight, .in_flight = in_flight, .settings = kSettings};

}  // namespace packhorse
