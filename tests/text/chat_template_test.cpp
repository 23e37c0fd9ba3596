// Chats against what transformers renders, and the inputs a template gets.
#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "packhorse/packhorse.h"
#include "testing.h"

namespace packhorse {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

OrderedJson json(std::string_view text) { return parse_chat_json(text, "test"); }

ChatInputs chat_of(std::string_view messages) {
  ChatInputs chat;
  chat.messages = json(messages);
  chat.add_generation_prompt = false;
  return chat;
}

/// Message of the Error{request} that `run` throws.
template <class Run>
std::string request_error(Run run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::request) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

ChatInputs inputs_of(const OrderedJson& family, const OrderedJson& golden) {
  ChatInputs chat;
  chat.bos_token = family["bos_token"];
  chat.eos_token = family["eos_token"];
  chat.kwargs = OrderedJson::object();
  for (const auto& [key, value] : golden.items()) {
    if (key == "messages")
      chat.messages = value;
    else if (key == "tools")
      chat.tools = value;
    else if (key == "add_generation_prompt")
      chat.add_generation_prompt = value;
    else if (key != "rendered" && key != "error")
      chat.kwargs[key] = value;
  }
  return chat;
}

void expect_golden(const ChatTemplate& chat_template, const OrderedJson& family, const OrderedJson& golden) {
  const ChatInputs chat = inputs_of(family, golden);
  if (golden.contains("rendered")) {
    EXPECT_EQ(chat_template.render(chat), golden["rendered"].get<std::string>());
    return;
  }
  const std::string message = request_error([&] { chat_template.render(chat); });
  const auto expected = golden["error"].get<std::string>();
  constexpr std::string_view kRaised = "TemplateError: ";
  if (expected.starts_with(kRaised)) {
    EXPECT_THAT(message, HasSubstr(expected.substr(kRaised.size())));
  }
}

/// Number of cases in the file, every one compared.
size_t expect_goldens(const std::filesystem::path& path) {
  const OrderedJson goldens = json(testing::read_text(path));
  size_t n_cases = 0;
  for (const OrderedJson& family : goldens["templates"]) {
    const ChatTemplate chat_template(family["template"].get<std::string>());
    for (size_t i = 0; i < family["cases"].size(); ++i) {
      SCOPED_TRACE(family["name"].get<std::string>() + ", case " + std::to_string(i));
      expect_golden(chat_template, family, family["cases"][i]);
      ++n_cases;
    }
  }
  return n_cases;
}

TEST(ChatTemplate, GoldensOfTheRepository) {
  EXPECT_EQ(expect_goldens(testing::golden_dir() / "chat_templates.json"), 57u);
}

TEST(ChatTemplate, AllGoldens) {
  const auto path = testing::shared_dir() / "goldens" / "chat_templates.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  EXPECT_GE(expect_goldens(path), 228u);  // 12 templates
}

TEST(ChatTemplate, DemoModel) {
  const ChatTemplate demo(
      "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
      "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
      "' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor "
      "%}"
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
  ChatInputs chat = chat_of(R"([{"role": "user", "content": "What is the capital of Japan?"}])");
  chat.add_generation_prompt = true;
  EXPECT_EQ(demo.render(chat),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            "<|im_start|>user\nWhat is the capital of Japan?<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, RendersTheSameEveryTime) {
  ChatTemplate first(
      "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}");
  const ChatInputs chat = chat_of(R"([{"role": "user"}, {"role": "user"}])");
  EXPECT_EQ(first.render(chat), "2");
  EXPECT_EQ(first.render(chat), "2");
  const ChatTemplate moved = std::move(first);
  EXPECT_EQ(moved.render(chat), "2");
}

TEST(ChatTemplate, NullMembersAreDropped) {
  const ChatTemplate keys("{% for m in messages %}{{ m }}{% endfor %}");
  EXPECT_EQ(keys.render(chat_of(R"([{"role": "user", "content": null, "x": {"kept": null}}])")),
            "{'role': 'user', 'x': {'kept': None}}");
}

TEST(ChatTemplate, ReasoningHasAllItsNames) {
  const ChatTemplate keys("{{ messages[0] }}");
  EXPECT_EQ(keys.render(chat_of(R"([{"role": "a", "reasoning": "r"}])")),
            "{'thinking': 'r', 'role': 'a', 'reasoning': 'r', 'reasoning_content': 'r'}");
  EXPECT_EQ(keys.render(chat_of(R"([{"reasoning_content": "r", "role": "a"}])")),
            "{'thinking': 'r', 'reasoning_content': 'r', 'role': 'a'}");
  EXPECT_EQ(keys.render(chat_of(R"([{"thinking": "t", "role": "a"}])")),
            "{'thinking': 't', 'role': 'a', 'reasoning_content': 't'}");
}

TEST(ChatTemplate, Variables) {
  const ChatTemplate all(
      "{{ tools is none }} {{ documents is none }} {{ add_generation_prompt }} {{ bos_token is defined }} {{ eos_token "
      "}}"
      " {{ extra }}");
  ChatInputs chat = chat_of(R"([{"role": "user"}])");
  chat.eos_token = "</s>";
  chat.kwargs = json(R"({"extra": {"z": 1, "a": 2}})");
  EXPECT_EQ(all.render(chat), "True True False False </s> {'z': 1, 'a': 2}");
  chat.kwargs = json(R"({"eos_token": "<end>", "documents": []})");
  EXPECT_EQ(all.render(chat), "True False False False <end> ");
}

TEST(ChatTemplate, MessagesMustBeObjects) {
  const ChatTemplate any("x");
  EXPECT_THAT(request_error([&] { any.render(chat_of("{}")); }), HasSubstr("messages: expected a list"));
  EXPECT_THAT(request_error([&] { any.render(chat_of("[]")); }), HasSubstr("at least one message"));
  EXPECT_THAT(request_error([&] { any.render(chat_of(R"([{}, "x"])")); }),
              HasSubstr("messages[1]: expected an object"));
  ChatInputs chat = chat_of("[{}]");
  chat.tools = json("{}");
  EXPECT_THAT(request_error([&] { any.render(chat); }), HasSubstr("tools: expected a list"));
}

TEST(ChatTemplate, ContinuesTheFinalMessage) {
  const ChatTemplate keeps("{% for m in messages %}<{{ m.role }}>{{ m.content }}</>\n{% endfor %}");
  const ChatTemplate trims("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>\n{% endfor %}");
  const ChatTemplate parts("{% for m in messages %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endfor %}");
  ChatInputs chat = chat_of(R"([{"role": "user", "content": "q"}, {"role": "assistant", "content": " The answer "}])");
  chat.continue_final_message = true;
  EXPECT_EQ(keeps.render(chat), "<user>q</>\n<assistant> The answer ");
  EXPECT_EQ(trims.render(chat), "<user>q</>\n<assistant>The answer");
  chat.messages = json(R"([{"content": [{"text": "a"}, {"text": "b"}, {"image": 1}]}])");
  EXPECT_EQ(parts.render(chat), "[a][b");
}

TEST(ChatTemplate, FinalMessageThatCannotBeContinued) {
  const ChatTemplate hides("{{ messages[0].content }}");
  ChatInputs chat = chat_of(R"([{"content": "a"}, {"content": "b"}])");
  chat.continue_final_message = true;
  EXPECT_THAT(request_error([&] { hides.render(chat); }), HasSubstr("does not print the final message"));
  chat.messages = json(R"([{"role": "assistant"}])");
  EXPECT_THAT(request_error([&] { hides.render(chat); }), HasSubstr("no text"));
  chat.add_generation_prompt = true;
  EXPECT_THAT(request_error([&] { hides.render(chat); }), HasSubstr("exclude each other"));
}

TEST(ChatJson, KeepsTheOrderOfKeys) {
  EXPECT_EQ(json(R"({"z": 1, "a": [true, null, -2, 1.5, "é"], "m": {}})").dump(),
            R"({"z":1,"a":[true,null,-2,1.5,"é"],"m":{}})");
  EXPECT_EQ(json(R"({"a": 1, "b": 2, "a": {"c": 3}})").dump(), R"({"a":{"c":3},"b":2})");
}

TEST(ChatJson, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "[1] 2", "nul", "\"\xff\"", "\"\\ud800\"", "1e999"}) {
    EXPECT_THAT(request_error([&] { json(text); }), HasSubstr("test: not valid JSON at byte")) << text;
  }
  EXPECT_THAT(request_error([&] { json(std::string(65, '[') + std::string(65, ']')); }),
              HasSubstr("nested deeper than 64"));
  EXPECT_NO_THROW(json(std::string(64, '[') + std::string(64, ']')));
}

TEST(ChatJson, ManyKeysTakeLinearTime) {
  constexpr int kKeys = 200'000;  // a search of all keys for each one would take minutes
  std::string text = "{";
  for (int i = 0; i < kKeys; ++i) text += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":1";
  ChatInputs chat = chat_of("[{}]");
  chat.kwargs = json(text + "}");
  EXPECT_EQ(chat.kwargs.size(), size_t{kKeys});
  chat.messages = json("[" + text + "}]");
  EXPECT_EQ(ChatTemplate("{{ messages[0]|length }} {{ k7 }}").render(chat), "200000 1");
}

}  // namespace
}  // namespace packhorse
