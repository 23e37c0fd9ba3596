// A chat template, then messages, tools and further variables as JSON; under limits that keep an input to milliseconds.

#include "fuzz.h"
#include "text/chat_template.h"

using namespace packhorse;

namespace {

constexpr TemplateLimits kLimits{.max_steps = 20'000,
                                 .max_range = 10'000,
                                 .max_output_bytes = 1 << 18,
                                 .max_memory_bytes = 8 << 20,
                                 .max_source_bytes = 1 << 16,
                                 .max_depth = 64};
constexpr std::string_view kMessages = R"([
  {"role": "system", "content": " Be brief.\n"}, {"role": "user", "content": [{"type": "text", "text": "Hi \u00e4"}]},
  {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, 2.5]}}}]},
  {"role": "tool", "name": "f", "content": "4"}])";
constexpr std::string_view kTools = R"([{"type": "function", "function": {"name": "f", "parameters": {"x": {}}}}])";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = fuzz::split_parts(fuzz::text_of(data, size), 4);
  fuzz::expect_error_only([&] {
    ChatInputs chat;
    chat.messages = parse_chat_json(parts[1].empty() ? kMessages : parts[1], "messages");
    chat.tools = parse_chat_json(parts[2].empty() ? kTools : parts[2], "tools");
    if (!parts[3].empty()) chat.kwargs = parse_chat_json(parts[3], "chat_template_kwargs");
    chat.bos_token = "<s>";
    chat.eos_token = "</s>";
    const ChatTemplate chat_template(std::string(parts[0]), kLimits);
    for (const bool goes_on : {false, true}) {
      chat.add_generation_prompt = !goes_on;
      chat.continue_final_message = goes_on;
      fuzz::expect_error_only([&] {
        const std::string text = chat_template.render(chat);
        fuzz::check(text.size() <= static_cast<size_t>(kLimits.max_output_bytes), "a longer text than allowed");
      });
    }
  });
  return 0;
}
