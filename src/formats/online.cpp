// The methods that vLLM calls online: plain weights are rounded to nearest while they load, without calibration.
//
//   name                                   weights                                          activations
//   fp8, fp8_per_tensor, inc               E4M3, largest magnitude of the matrix / 448      E4M3 per token
//   fp8_per_channel, ptpc_fp8              E4M3, of each row / 448                          E4M3 per token
//   fp8_per_block                          E4M3, of blocks of 128 x 128 / 448               E4M3 per 128 of a token
//   mxfp8                                  E4M3 in groups of 32 under powers of two         the same
//   mxfp4                                  E2M1 in groups of 32 under powers of two         as they are
//   int8_per_channel_weight_only,          experts alone: int8, of each row / 127           as they are
//   experts_int8
//   online                                 as quantization_config says
//
// What comes out is encoded as a checkpoint of that kind, so both compute the same.

#include "formats/online_settings.h"

namespace packhorse {
namespace {

std::string check_in_flight(const Json& config) { return describe(online::parse_settings(config)); }

WeightPlan in_flight(WeightPlan plan, const Module& module, const Json& config) {
  const online::Spec spec = online::spec_of(online::parse_settings(config), module);
  if (!spec.weight) return plan;
  plan = round_weight(std::move(plan), *spec.weight);
  plan.encoding.act = spec.act;
  return plan;
}

constexpr std::string_view kAliases[] = {"fp8",
                                         "fp8_per_tensor",
                                         "inc",
                                         "fp8_per_channel",
                                         "ptpc_fp8",
                                         "fp8_per_block",
                                         "mxfp8",
                                         "mxfp4",
                                         "int8_per_channel_weight_only",
                                         "experts_int8",
                                         "nvfp4_per_token"};
constexpr std::string_view kSettings[] = {
    "linear", "moe", "targets", "ignore", "ignored_layers", "modules_to_not_convert", "activation_scheme"};

}  // namespace

extern constexpr Format kOnline{.name = "online",
                                .aliases = kAliases,
                                .check_in_flight = check_in_flight,
                                .in_flight = in_flight,
                                .settings = kSettings};

}  // namespace packhorse
