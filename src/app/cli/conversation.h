#pragma once
// Prompts in, streamed answers out: what `packhorse run` does with a loaded engine.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "packhorse/packhorse.h"

namespace packhorse::cli {

/// Keeps the messages of a chat. Without a chat template (or with `raw`) each prompt is a text to be continued.
class Conversation {
 public:
  /// `system` may be empty. Throws Error{usage} when it is given and there is no template.
  Conversation(Engine& engine, SamplingParams params, bool raw, const std::string& system);

  /// Answers `text` on standard output as it is generated and returns the finished request with counts and times.
  /// `wants_stop` is asked after each step; an answer that it ends is kept as far as it came, a question whose answer
  /// had not begun is forgotten. Throws Error{request} when the chat no longer fits the context; it is then as before.
  RequestOutput ask(const std::string& text, const std::function<bool()>& wants_stop = {});

  /// Answers `text` with all of the request's outputs, printed under numbers when they are there; the chat is as
  /// before.
  RequestOutput ask_for_all(const std::string& text);

  /// Whether an answer ended where the context does.
  bool fills_context(const RequestOutput& output) const;

  const std::string& system() const { return system_; }
  /// Takes the place of the system message from the next question on; empty = the template's own. Throws as the
  /// constructor does.
  void set_system(const std::string& text);
  /// Forgets what was said, but for the system message.
  void clear() { said_.clear(); }

 private:
  Prompt prompt_for(const std::string& question) const;
  RequestOutput stream(const Prompt& prompt, const std::function<bool()>& wants_stop, std::string& answer);

  Engine& engine_;
  SamplingParams params_;
  bool uses_template_;
  std::string system_;
  nlohmann::json said_ = nlohmann::json::array();  // messages of user and assistant in turn
};

/// "12 prompt tokens at 350.1/s, 40 generated at 110.2/s" for the finished request.
std::string describe_speed(const RequestOutput& output);

}  // namespace packhorse::cli
