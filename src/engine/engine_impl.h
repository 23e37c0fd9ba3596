#pragma once
// What is behind the facade: model, text and core of one engine.

#include <vector>

#include "engine/core.h"
#include "engine/loaded_model.h"
#include "engine/text_side.h"

namespace packhorse {

struct Engine::Impl {
  LoadedModel loaded;
  int64_t max_model_len;
  Json generation_config;
  TextSide text;
  std::vector<int32_t> eos;
  KvPool kv;
  EngineCore core;

  explicit Impl(const EngineOptions& options);
  /// Null without.
  const Tokenizer* tokenizer() const { return text.tokenizer ? &*text.tokenizer : nullptr; }

 private:
  TextSide load_text();
  EngineLimits limits() const;
};

}  // namespace packhorse
