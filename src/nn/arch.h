#pragma once
// A model architecture as a row of models/table.cpp, and how GGUF names it.

#include <memory>
#include <span>
#include <string_view>

#include "io/checkpoint.h"
#include "nn/config.h"
#include "nn/model.h"

namespace packhorse {

class Loader;

/// A module under both names; "{}" stands for the layer, a second one for the expert.
struct ModuleName {
  std::string_view hf;    // "model.layers.{}.self_attn.q_proj"
  std::string_view gguf;  // "blk.{}.attn_q"
};

/// How GGUF files of an architecture differ from Hugging Face's; empty where they have no name of their own for it.
struct GgufMap {
  std::string_view architecture;  // general.architecture
  std::span<const ModuleName> modules;
  std::span<const ConfigKey> keys;
  // Query and key rows stand in the order of interleaved rotary pairs (converters permute them for llama).
  bool interleaved_rope = false;
};

struct Arch {
  std::string_view name;
  std::span<const std::string_view> hf_architectures;  // of config.json's "architectures"
  GgufMap gguf;
  std::unique_ptr<Model> (*build)(const Config& config, Loader& loader);
};

/// The architecture of a checkpoint, by config.json's "architectures" or GGUF's general.architecture. Error{model} that
/// lists what is known.
const Arch& find_arch(std::span<const Arch* const> architectures, const CheckpointView& view);

// What converters call the parts of a standard decoder; architectures refer to these or list their own.
extern const std::span<const ModuleName> kDecoderModules;
extern const std::span<const ConfigKey> kDecoderKeys;

}  // namespace packhorse
