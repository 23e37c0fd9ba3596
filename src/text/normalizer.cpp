#include "text/normalizer.h"

#include "text/json_fields.h"

namespace packhorse {
namespace {

Normalizer::Step form_step(NormalForm form) {
  return [form](std::string& text, MatchScratch&) { normalize(text, form); };
}

/// "pattern": {"String": s} or {"Regex": s}.
std::shared_ptr<const Pattern> parse_pattern(const Json& owner, const std::string& where) {
  const Json& pattern = require_member(owner, "pattern", where);
  if (find_member(pattern, "Regex")) return make_regex(require_string(pattern, "Regex", where), where + ".pattern");
  const std::string& literal = require_string(pattern, "String", where + ".pattern");
  if (literal.empty()) fail_model("{}.pattern: empty", where);
  return make_literal(literal);
}

void add_steps(const Json& json, const std::string& where, std::vector<Normalizer::Step>& steps) {
  const std::string& type = require_string(json, "type", where);
  if (type == "Sequence") {
    const Json& list = require_array(json, "normalizers", where);
    for (size_t i = 0; i < list.size(); ++i) add_steps(list[i], element(where, i), steps);
  } else if (type == "Prepend") {
    steps.push_back(prepend_step(require_string(json, "prepend", where)));
  } else if (type == "Replace") {
    steps.push_back(replace_step(parse_pattern(json, where), require_string(json, "content", where)));
  } else if (type == "NFC") {
    steps.push_back(form_step(NormalForm::nfc));
  } else if (type == "NFD") {
    steps.push_back(form_step(NormalForm::nfd));
  } else if (type == "NFKC") {
    steps.push_back(form_step(NormalForm::nfkc));
  } else if (type == "NFKD") {
    steps.push_back(form_step(NormalForm::nfkd));
  } else if (type == "Lowercase") {
    steps.push_back([](std::string& text, MatchScratch&) { lowercase(text); });
  } else if (type == "StripAccents") {
    steps.push_back([](std::string& text, MatchScratch&) { remove_marks(text); });
  } else if (type == "Strip") {
    const bool left = bool_or(json, "strip_left", true, where), right = bool_or(json, "strip_right", true, where);
    steps.push_back([left, right](std::string& text, MatchScratch&) { trim_spaces(text, left, right); });
  } else {
    fail_model("{}: normalizer type '{}' is not supported", where, printable(type));
  }
}

}  // namespace

Normalizer::Step prepend_step(std::string prefix) {
  return [prefix = std::move(prefix)](std::string& text, MatchScratch& scratch) {
    if (!text.empty()) text.insert(0, prefix);
    scratch.check_grown(text.size());
  };
}

Normalizer::Step replace_step(std::shared_ptr<const Pattern> pattern, std::string content) {
  return [pattern = std::move(pattern), content = std::move(content)](std::string& text, MatchScratch& scratch) {
    std::string out;
    size_t done = 0;
    for (Span match; done <= text.size() && pattern->next(text, done, scratch, match);) {
      if (match.end == match.begin) fail_model("tokenizer: normalizer: Replace: the pattern matches an empty text");
      out.append(text, done, match.begin - done);
      out += content;
      done = match.end;
      scratch.check_grown(out.size());
    }
    if (done == 0) return;
    out.append(text, done);
    text = std::move(out);
  };
}

Normalizer::Step collapse_spaces_step() {
  return [](std::string& text, MatchScratch&) {
    std::string out;
    for (const char c : text) {
      if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
    }
    if (!out.empty() && out.back() == ' ') out.pop_back();
    text = std::move(out);
  };
}

Normalizer::Step nfc_step() { return form_step(NormalForm::nfc); }

Normalizer parse_normalizer(const Json* json, const std::string& where) {
  std::vector<Normalizer::Step> steps;
  if (json) add_steps(*json, where, steps);
  return Normalizer(std::move(steps));
}

}  // namespace packhorse
