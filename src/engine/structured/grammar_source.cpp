#include "engine/structured/grammar_source.h"

#include <string_view>
#include <variant>

#include "base/error.h"
#include "base/json.h"
#include "engine/structured/grammar_checks.h"
#include "engine/structured/schema_checks.h"
#include "engine/structured/xgrammar_time.h"

namespace packhorse {
namespace {

constexpr int kMaxJsonDepth = 64;

/// xgrammar reads the text by itself, with less care.
Json checked_json(const char* what, const std::string& text) {
  try {
    Json json = parse_json(text, what, kMaxJsonDepth);
    if (!json.is_object() && !json.is_boolean()) fail_model("{}: it must be an object, got {}", what, preview(json));
    return json;
  } catch (const Error& e) {
    fail(ErrorKind::request, "structured_outputs: {}", e.what());
  }
}

/// What the library only warns of is a constraint that it drops. An alternative of oneOf that it takes for one of anyOf
/// is none: what such a schema allows is still one of its alternatives.
void refuse_warnings() {
  const std::string& warning = XgrammarTime::warning();
  if (!warning.empty() && warning.find("oneOf") == warning.npos)
    fail(ErrorKind::request, "structured_outputs: {}", printable(warning, 200));
}

xgrammar::Grammar json_grammar(const std::string& schema, const StructuredOutputs& wanted) {
  return xgrammar::Grammar::FromJSONSchema(schema, !wanted.disable_any_whitespace);
}

/// vLLM's older form {"structures": [{"begin", "schema", "end"}], "triggers"} written as the current one.
std::string structural_tag_text(const std::string& text) {
  const Json json = checked_json("structural_tag", text);
  const Json* structures = find_member(json, "structures");
  if (!structures || !structures->is_array()) return text;
  Json tags = Json::array();
  for (const Json& structure : *structures) {
    if (!structure.is_object()) {
      fail(ErrorKind::request, "structured_outputs: structural_tag: structures hold objects, got {}",
           preview(structure));
    }
    tags.push_back({{"begin", structure.value("begin", Json())},
                    {"content", {{"type", "json_schema"}, {"json_schema", structure.value("schema", Json())}}},
                    {"end", structure.value("end", Json())}});
  }
  return Json{
      {"type", "structural_tag"},
      {"format", {{"type", "triggered_tags"}, {"triggers", json.value("triggers", Json())}, {"tags", std::move(tags)}}}}
      .dump();
}

xgrammar::Grammar tag_grammar(const std::string& text, const xgrammar::TokenizerInfo& vocabulary) {
  auto result = xgrammar::Grammar::FromStructuralTag(structural_tag_text(text), vocabulary);
  if (const auto* error = std::get_if<xgrammar::StructuralTagError>(&result)) {
    std::visit([](const auto& e) { fail(ErrorKind::request, "structured_outputs: {}", printable(e.what(), 200)); },
               *error);
  }
  return std::get<xgrammar::Grammar>(result);
}

std::string ebnf_literal(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string choice_rule(const std::vector<std::string>& choices) {
  std::string rule = "root ::= ";
  for (size_t i = 0; i < choices.size(); ++i) rule += (i == 0 ? "" : " | ") + ebnf_literal(choices[i]);
  return rule;
}

xgrammar::Grammar make_unchecked(const StructuredOutputs& wanted, const xgrammar::TokenizerInfo& vocabulary) {
  if (wanted.json) {
    check_schema(checked_json("json", *wanted.json));
    const xgrammar::Grammar grammar = json_grammar(*wanted.json, wanted);
    check_recursion(grammar, "json: a $ref leads back to itself");
    check_repetitions(grammar);
    return grammar;
  }
  if (wanted.json_object) return json_grammar(R"({"type": "object", "additionalProperties": true})", wanted);
  if (wanted.structural_tag) {
    const xgrammar::Grammar grammar = tag_grammar(*wanted.structural_tag, vocabulary);
    check_repetitions(grammar);
    return grammar;
  }
  if (wanted.regex) {
    check_nested_repetitions(*wanted.regex);
    const xgrammar::Grammar grammar = xgrammar::Grammar::FromRegex(*wanted.regex);
    check_repetitions(grammar);
    return grammar;
  }
  const xgrammar::Grammar grammar =
      xgrammar::Grammar::FromEBNF(wanted.grammar ? *wanted.grammar : choice_rule(wanted.choice));
  check_recursion(grammar, "grammar: left recursion");
  check_repetitions(grammar);
  return grammar;
}

}  // namespace

std::string grammar_key(const StructuredOutputs& wanted) {
  const char spaces = wanted.disable_any_whitespace ? '1' : '0';
  if (wanted.json) return fmt::format("json{}{}", spaces, *wanted.json);
  if (wanted.regex) return "regex " + *wanted.regex;
  if (!wanted.choice.empty()) return "grammar " + choice_rule(wanted.choice);
  if (wanted.grammar) return "grammar " + *wanted.grammar;
  if (wanted.json_object) return fmt::format("object{}", spaces);
  return "tag " + *wanted.structural_tag;
}

xgrammar::Grammar make_grammar(const StructuredOutputs& wanted, const xgrammar::TokenizerInfo& vocabulary) {
  xgrammar::Grammar grammar = make_unchecked(wanted, vocabulary);
  refuse_warnings();
  return grammar;
}

}  // namespace packhorse
