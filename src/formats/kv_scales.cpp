#include "formats/kv_scales.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/error.h"
#include "formats/source.h"

namespace packhorse {
namespace {

// Below an attention module; "*" stands for k or v.
constexpr std::string_view kNames[] = {
    "*_scale",              // compressed-tensors, AutoFP8
    "*_proj.*_scale",       // ModelOpt
    "*_proj.output_scale",  // Quark, older AutoFP8
    "attn.*_scale",         // names of vLLM itself
    "qkv_proj.*_scale",     // of fused projections
    "qkqkv_proj.*_scale",
    "*_cache.scale",  // Hunyuan
};
constexpr std::string_view kBoth = "kv_scale";
// Scales of queries and probabilities, which stay floats here, and zero points, which are zero.
constexpr std::string_view kUnused[] = {"q_scale",      "q_proj.q_scale", "q_proj.output_scale",
                                        "prob_scale",   "q.scale",        "prob_output_scale",
                                        "q_zero_point", "k_zero_point",   "v_zero_point"};

std::string filled(std::string_view name, char letter) {
  std::string out(name);
  std::ranges::replace(out, '*', letter);
  return out;
}

bool ends_with_part(std::string_view name, std::string_view part) {
  return name.size() > part.size() && name.ends_with(part) && name[name.size() - part.size() - 1] == '.';
}

bool is_scale_of(std::string_view name, char letter) {
  return ends_with_part(name, kBoth) ||
         std::ranges::any_of(kNames, [&](std::string_view part) { return ends_with_part(name, filled(part, letter)); });
}

std::vector<float> read_scale(const CheckpointView& view, const std::string& name, int64_t n_kv_heads) {
  const TensorInfo& tensor = view.at(name);
  const auto n = static_cast<int64_t>(tensor.n_elements());
  if (n != 1 && n != n_kv_heads) {
    fail_model("{}: expected one scale, or one per KV head (got {}, KV heads {})", view.describe(name),
               shape_text(tensor), n_kv_heads);
  }
  const Module heads{.name = name, .source = name, .n = n, .k = 1, .source_row = {}};
  std::vector<float> scale(static_cast<size_t>(n));
  GroupValues(view, heads, name, GroupValues::Order::rows, 1).read(0, n, scale.data());
  for (const float value : scale) {
    if (!(value > 0) || !std::isfinite(value))
      fail_model("{}: a scale of the KV cache is not a positive number (got {})", view.describe(name), value);
  }
  scale.resize(static_cast<size_t>(n_kv_heads), scale.front());
  return scale;
}

std::vector<float> find_scale(const CheckpointView& view, std::string_view attention, char letter, int64_t n_kv_heads) {
  for (const std::string_view part : kNames) {
    const std::string name = fmt::format("{}.{}", attention, filled(part, letter));
    if (view.find(name)) return read_scale(view, name, n_kv_heads);
  }
  const std::string name = fmt::format("{}.{}", attention, kBoth);
  return view.find(name) ? read_scale(view, name, n_kv_heads) : std::vector<float>{};
}

}  // namespace

bool has_kv_scales(const CheckpointView& view) {
  return std::ranges::any_of(view.tensors, [](const auto& entry) {
    return entry.first.find("attn.") != std::string::npos &&
           (is_scale_of(entry.first, 'k') || is_scale_of(entry.first, 'v'));
  });
}

std::optional<KvScales> read_kv_scales(const CheckpointView& view, std::string_view attention, int64_t n_kv_heads) {
  KvScales scales{find_scale(view, attention, 'k', n_kv_heads), find_scale(view, attention, 'v', n_kv_heads)};
  if (scales.k.empty() && scales.v.empty()) return std::nullopt;
  if (scales.k.empty()) scales.k = scales.v;
  if (scales.v.empty()) scales.v = scales.k;
  return scales;
}

bool is_kv_scale_name(std::string_view name) {
  return is_scale_of(name, 'k') || is_scale_of(name, 'v') ||
         std::ranges::any_of(kUnused, [&](std::string_view part) { return ends_with_part(name, part); });
}

}  // namespace packhorse
