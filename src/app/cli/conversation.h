#pragma once
// Prompts in, streamed answers out: what `packhorse run` does with a loaded engine.

#include <nlohmann/json.hpp>
#include <string>

#include "packhorse/packhorse.h"

namespace packhorse::cli {

/// Keeps the messages of a chat. Without a chat template (or with `raw`) each prompt is a text to be continued.
class Conversation {
 public:
  Conversation(Engine& engine, SamplingParams params, bool raw, const std::string& system);

  /// Answers `text` on standard output as it is generated and returns the finished request with counts and times.
  RequestOutput ask(const std::string& text);

 private:
  Prompt prompt_for(const std::string& text);
  RequestOutput stream(const Prompt& prompt, std::string& answer);

  Engine& engine_;
  SamplingParams params_;
  bool uses_template_;
  nlohmann::json messages_ = nlohmann::json::array();
};

/// "12 prompt tokens at 350.1/s, 40 generated at 110.2/s" for the finished request.
std::string describe_speed(const RequestOutput& output);

}  // namespace packhorse::cli
