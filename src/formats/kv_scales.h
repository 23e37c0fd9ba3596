#pragma once
// Scales of an 8-bit KV cache that a checkpoint carries, wherever its tool put them.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"

namespace packhorse {

/// A stored key k8 stands for k8 * k, one factor per KV head; values likewise.
struct KvScales {
  std::vector<float> k, v;  // [n_kv_heads]
};

/// Whether the checkpoint was made for an FP8 cache: some attention has a scale.
bool has_kv_scales(const CheckpointView& view);
/// Scales of an attention module ("model.layers.0.self_attn"). One of K's and V's serves both when the other is
/// missing. Throws Error{model} for a scale that is not a positive number, or not one of them or one per head.
std::optional<KvScales> read_kv_scales(const CheckpointView& view, std::string_view attention, int64_t n_kv_heads);
/// Whether a tensor's name is that of a scale or zero point of attention, of use or not.
bool is_kv_scale_name(std::string_view name);

}  // namespace packhorse
