#pragma once
// A checkpoint dialect: how to recognize a module that it wrote, and how to read that module's weight in canonical
// form.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "codec/weight_plan.h"
#include "io/checkpoint.h"

namespace packhorse {

/// A weight as a model asks for it. `source` differs from `name` where the container has its own names (GGUF).
struct Module {
  std::string name;                            // Hugging Face name without ".weight": "model.layers.0.self_attn.q_proj"
  std::string source;                          // the same in the checkpoint: "blk.0.attn_q"
  int64_t n = 0, k = 0;                        // shape that the model's config asks for
  int64_t expert = 0, n_experts = 0;           // n_experts > 0: one of a tensor [n_experts, n, k]
  std::function<int64_t(int64_t)> source_row;  // row of the file that holds row r; empty = r (GGUF permutes rope rows)
};

/// What the user asked for, checked for being well-formed only.
struct QuantizationRequest {
  std::string method;       // name as given; empty = none
  std::string load_format;  // auto, safetensors, gguf, bitsandbytes
  Json config;              // quantization_config of the user; null when absent
};

/// Whether a checkpoint's own config or container says that a dialect wrote it.
enum class Origin : uint8_t {
  other,
  float_weights,  // the dialect's container around plain weights: any method may still quantize them
  to_quantize,    // plain weights, and settings of the dialect by which they are to be quantized while they load
  quantized,
};

/// One dialect. A method that is nothing on disk has no `claims` and no `plan`. Rows are constexpr; null function
/// pointers mean "cannot". Plans keep pointers into the view.
struct Format {
  std::string_view name;
  std::span<const std::string_view> aliases = {};
  /// Other dialects' names that users may give for this one's checkpoints: releases of vLLM converted between them.
  std::span<const std::string_view> also = {};
  Origin (*origin)(const CheckpointView& view) = nullptr;
  /// True when the tensors of this module are in this dialect.
  bool (*claims)(const CheckpointView& view, const Module& module) = nullptr;
  /// Plan of a claimed module. Throws Error{model}: shapes that disagree, missing or inconsistent tensors.
  WeightPlan (*plan)(const CheckpointView& view, const Module& module) = nullptr;
  /// Checks the user's settings for quantizing float weights while they load, and says in a few words what will be
  /// done: "nf4, block 64". `config` is an object whose quant_method is the name that the user gave, in lower case.
  /// Throws Error{usage}, or Error{model} as the readers of settings.h do.
  std::string (*check_in_flight)(const Json& config) = nullptr;
  /// Turns a float plan into one of this method's encoding, or returns it as it is when the settings leave the module
  /// out. `config` was accepted by check_in_flight.
  WeightPlan (*in_flight)(WeightPlan plan, const Module& module, const Json& config) = nullptr;
  /// Keys of quantization_config that in_flight obeys, for listings.
  std::span<const std::string_view> settings = {};
};

/// Name of plain weights, which are no method.
inline constexpr std::string_view kPlainFormat = "none";

/// All dialects, in order of precedence of `claims`.
std::span<const Format* const> formats();

/// What a load does about quantization, decided once per checkpoint.
struct QuantizationPlan {
  const Format* in_flight = nullptr;  // quantize float weights while loading; null = load what is there
  Json config;                        // settings for in_flight
  std::string description;            // "bitsandbytes (checkpoint)", "bitsandbytes (in flight: nf4, block 64)", "none"
};

/// Checks `quantization`, `load_format` and `quantization_config` against the checkpoint, by the rules of the user's
/// documentation: a method that the checkpoint's dialect goes by or accepts is fine, another is an error naming both;
/// on a float checkpoint it means in flight. Throws Error{usage, model}.
QuantizationPlan plan_quantization(const CheckpointView& view, const QuantizationRequest& request);

/// Whether the checkpoint holds this module's weight in some dialect.
bool has_weight(const CheckpointView& view, const Module& module);

/// Plan of one weight in whatever dialect its tensors are. `quantize` says whether an in-flight method applies to it
/// (linear layers: yes, embeddings and heads: no). The view must outlive the plan. Throws Error{model} when no dialect
/// claims it.
WeightPlan plan_weight(const CheckpointView& view, const Module& module, const QuantizationPlan& quantization,
                       bool quantize);

}  // namespace packhorse
