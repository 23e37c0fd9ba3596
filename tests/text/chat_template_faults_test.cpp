// Rows 62 to 65 of the fault catalogue, below the server: what the interpreter says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "packhorse/packhorse.h"
#include "text/chat_template.h"

namespace packhorse {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kGoodTwin = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}";

ChatInputs good_chat() {
  ChatInputs chat;
  chat.messages = parse_chat_json(R"([{"role": "user", "content": " hi "}])", "messages");
  return chat;
}

class ChatTemplateFaults : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(ChatTemplate(kGoodTwin).render(good_chat()), "<user>hi"); }

  /// Kind and message; fails when the message has more than one line.
  static std::pair<ErrorKind, std::string> error_of(const std::string& source, const TemplateLimits& limits = {}) {
    std::pair<ErrorKind, std::string> result{ErrorKind::internal, "no error"};
    try {
      ChatTemplate(source, limits).render(good_chat());
    } catch (const Error& error) {
      result = {error.kind(), error.what()};
    }
    EXPECT_EQ(result.second.find('\n'), std::string::npos);
    return result;
  }

  static void expect_over_budget(const std::string& source, ErrorKind kind = ErrorKind::request) {
    const auto [got, message] = error_of(source);
    EXPECT_EQ(got, kind) << source.substr(0, 80) << ": " << message;
    EXPECT_THAT(message, StartsWith("chat template exceeded its budget")) << source.substr(0, 80);
  }
};

TEST_F(ChatTemplateFaults, fault_062_template_syntax_and_undefined) {
  for (const char* source :
       {"{% if %}", "{{ 1 + }}", "{% for x in y %}", "{{ x | nofilter }}", "{{ x is notest }}", "{% no %}"}) {
    const auto [kind, message] = error_of(source);
    EXPECT_EQ(kind, ErrorKind::model) << source;
    EXPECT_THAT(message, StartsWith("chat template: line 1, column ")) << source;
  }
  for (const char* source : {"{{ x.y }}", "{{ x['y'] }}", "{{ x() }}", "{{ x + 'a' }}", "{{ 'a' + x }}",
                             "{{ messages[0].no.no }}", "{{ messages[0].no() }}", "{{ messages[9].role }}"}) {
    const auto [kind, message] = error_of(source);
    EXPECT_EQ(kind, ErrorKind::request) << source << ": " << message;
    EXPECT_THAT(message, StartsWith("chat template: line 1, column ")) << source;
  }
  EXPECT_EQ(ChatTemplate("[{{ x }}{{ messages[0].no }}]").render(good_chat()), "[]");
}

TEST_F(ChatTemplateFaults, fault_063_template_budgets) {
  const std::string numbers = "{% set ns = namespace(s='x', l=[1]) %}{% for i in range(40) %}";
  expect_over_budget("{{ range(10**9) }}");
  expect_over_budget("{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}");
  expect_over_budget(numbers + "{% set ns.s = ns.s + ns.s %}{% endfor %}");
  expect_over_budget(numbers + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}");
  expect_over_budget(numbers + "{% set ns.s = ns.s | replace('x', 'xx') %}{% endfor %}");
  expect_over_budget(numbers + "{% set ns.l = ns.l + ns.l %}{% endfor %}");
  expect_over_budget(numbers + "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}");
  expect_over_budget("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
  expect_over_budget(
      "{% macro f() %}{{ caller() }}{% call f() %}{% endcall %}{% endmacro %}{% call f() %}{% endcall %}");
  expect_over_budget("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}");
  expect_over_budget("{% set l = [] %}{% do l.append(l) %}{{ l }}");
  expect_over_budget("{% set l = [] %}{% do l.append(l) %}{{ l | tojson }}");
  expect_over_budget("{% set l = [1] %}{% for x in l %}{% do l.append(x) %}{% endfor %}");
  for (const char* big :
       {"'x' * 10**12", "[1] * 10**12", "'x'.ljust(10**12)", "'x'.center(10**9)", "'7'.zfill(10**12)",
        "'%999999999d' % 1", "'{:999999999}'.format(1)", "[1] | tojson(indent=10**9)", "'x' | center(10**9)",
        "('\\n' * 100000) | indent(1000000)", "('x' * 10**6).replace('x', 'y' * 10**6)",
        "range(100000) | join('y' * 100000)", "[1] | batch(10**9, 'x') | list", "[1] | slice(10**9) | list"}) {
    expect_over_budget(std::string("{{ ") + big + " }}");
  }
}

TEST_F(ChatTemplateFaults, fault_063_template_nesting) {
  const auto repeat = [](const char* text, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += text;
    return out;
  };
  for (const char* opening : {"(", "[", "{1:", "not ", "-", "1 if 0 else ", "f(", "a[", "a|d("}) {
    expect_over_budget("{{ " + repeat(opening, 10'000) + "1 }}", ErrorKind::model);
  }
  // Chains nest the tree to the left without recursion of the parser.
  for (const char* link : {"+1", "*1", "**1", "~1", " or 1", " and 1", ".a", "[0]", "()", "|string", " if 1"}) {
    expect_over_budget("{{ 1" + repeat(link, 10'000) + " }}", ErrorKind::model);
  }
  expect_over_budget(repeat("{% if 1 %}", 10'000), ErrorKind::model);
  expect_over_budget(repeat("{% for x in y %}", 10'000), ErrorKind::model);
  expect_over_budget("{% set " + repeat("(", 10'000), ErrorKind::model);
  // The deepest that is allowed, everywhere at once, stays within the native stack.
  const std::string deep = "{% macro f(n) %}" + repeat("{% if 1 %}", 120) + "{{ " + repeat("(1 + ", 120) +
                           "f(n)|length" + repeat(")", 120) + " }}" + repeat("{% endif %}", 120) +
                           "{% endmacro %}{{ f(1) }}";
  expect_over_budget(deep);
}

TEST_F(ChatTemplateFaults, fault_063_limits_are_options) {
  EXPECT_THAT(error_of("{% for i in range(100) %}{% endfor %}", {.max_steps = 50}).second,
              HasSubstr("50 evaluation steps"));
  EXPECT_THAT(error_of("{{ range(11) }}", {.max_range = 10}).second, HasSubstr("10 elements in range()"));
  EXPECT_THAT(error_of("{% for i in range(9) %}xx{% endfor %}", {.max_output_bytes = 16}).second,
              HasSubstr("16 bytes of text"));
  EXPECT_THAT(error_of("{{ ((((1)))) }}", {.max_depth = 3}).second, HasSubstr("deeper than 3"));
  EXPECT_THAT(error_of("{{ range(1000)|list }}", {.max_memory_bytes = 10'000}).second,
              HasSubstr("10000 bytes of memory"));
  EXPECT_THAT(error_of("12345", {.max_source_bytes = 4}).second, HasSubstr("got 5 bytes, limit 4"));
  const std::string recursive = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}";
  EXPECT_EQ(ChatTemplate(recursive + "{{ f(9) }}ok", {.max_depth = 10}).render(good_chat()), "ok");
  EXPECT_THAT(error_of(recursive + "{{ f(10) }}", {.max_depth = 10}).second, HasSubstr("10 levels of nesting"));
}

TEST_F(ChatTemplateFaults, fault_064_template_reaching_for_objects) {
  for (const char* name : {"cycler",
                           "joiner",
                           "lipsum",
                           "self",
                           "open",
                           "env",
                           "environment",
                           "config",
                           "request",
                           "__builtins__",
                           "''.__class__",
                           "messages.__class__",
                           "messages[0].__class__",
                           "messages[0]['__init__']",
                           "''.upper.__globals__",
                           "range.__globals__",
                           "raise_exception.__globals__",
                           "dict.mro",
                           "namespace.__init__",
                           "(1).real",
                           "''['__class__']",
                           "messages|attr('__class__')"}) {
    const std::string source = name;
    EXPECT_EQ(ChatTemplate("[{{ " + source + " }}]{{ (" + source + ") is defined }}").render(good_chat()), "[]False")
        << name;
    EXPECT_EQ(error_of("{{ (" + source + ")() }}").first, ErrorKind::request) << name;
    EXPECT_EQ(error_of("{{ (" + source + ") + 'x' }}").first, ErrorKind::request) << name;
    EXPECT_EQ(error_of("{{ (" + source + ").x }}").first, ErrorKind::request) << name;
  }
  for (const char* tag : {"{% include '/etc/passwd' %}", "{% extends 'x' %}", "{% import 'os' as os %}",
                          "{% from 'os' import environ %}"}) {
    EXPECT_EQ(error_of(tag).first, ErrorKind::model) << tag;
  }
}

TEST_F(ChatTemplateFaults, fault_065_reserved_template_kwargs) {
  for (const char* name : {"tokenize", "messages", "conversation", "chat_template", "tools", "add_generation_prompt",
                           "continue_final_message", "return_dict", "max_length"}) {
    ChatInputs chat = good_chat();
    chat.kwargs = OrderedJson::object();
    chat.kwargs["enable_thinking"] = false;
    EXPECT_EQ(ChatTemplate(kGoodTwin).render(chat), "<user>hi");
    chat.kwargs[name] = true;
    try {
      ChatTemplate(kGoodTwin).render(chat);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::request);
      EXPECT_EQ(error.what(), "chat_template_kwargs: '" + std::string(name) + "' is reserved");
    }
  }
  EXPECT_THROW(check_template_kwargs(OrderedJson::array()), Error);
}

}  // namespace
}  // namespace packhorse
