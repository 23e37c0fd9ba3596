// usage: example MODEL
// Three ways to use the engine: complete several prompts together, print an answer while it grows, and ask in a chat.
#include <packhorse/packhorse.h>

#include <iostream>
#include <string>
#include <vector>

using packhorse::Engine;
using packhorse::RequestOutput;
using packhorse::SamplingParams;

/// Requests that are queued at the same time share every step, so two take hardly longer than one.
void complete(Engine& engine, const std::vector<std::string>& prompts, const SamplingParams& params) {
  for (const std::string& text : prompts) {
    packhorse::Prompt prompt;
    prompt.text = text;
    engine.add(prompt, params);
  }
  while (engine.has_unfinished()) {
    for (const RequestOutput& output : engine.step()) {
      if (output.finished) std::cout << *output.prompt << " ->" << output.outputs[0].text << "\n";
    }
  }
}

/// With OutputKind::delta each output holds the new text alone. `engine.abort(id)` between two steps would end it
/// early.
void stream(Engine& engine, const packhorse::Prompt& prompt, SamplingParams params) {
  params.output_kind = packhorse::OutputKind::delta;
  const uint64_t id = engine.add(prompt, params);
  while (engine.has_unfinished()) {
    for (const RequestOutput& output : engine.step()) {
      if (output.request_id != id) continue;
      for (const auto& answer : output.outputs) std::cout << answer.text << std::flush;
    }
  }
  std::cout << "\n";
}

/// The template of the model writes the prompt, special tokens included.
void chat(Engine& engine, const std::string& messages_json, const SamplingParams& params) {
  packhorse::ChatPrompt chat;
  chat.messages_json = messages_json;
  packhorse::Prompt prompt;
  prompt.text = engine.render_chat(chat);
  prompt.add_special_tokens = false;
  stream(engine, prompt, params);
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: example MODEL\n";
    return 2;
  }
  try {
    packhorse::EngineOptions options;
    options.model = argv[1];  // folder, .gguf file, repo id, or "demo"
    Engine engine(options);

    SamplingParams params = engine.default_sampling_params();
    params.temperature = 0;
    params.max_tokens = 16;
    complete(engine, {"The capital of Japan is", "The capital of France is"}, params);

    packhorse::Prompt prompt;
    prompt.text = "The capital of Japan is";
    stream(engine, prompt, params);

    chat(engine, R"([{"role": "user", "content": "What is the capital of Japan?"}])", params);
  } catch (const packhorse::Error& error) {
    std::cerr << "error: " << error.what() << "\n";
    return packhorse::exit_status(error.kind());
  }
}
