#include "text/pre_tokenizer.h"

#include <optional>
#include <utility>

#include "text/json_fields.h"
#include "text/split_patterns.h"

namespace packhorse {
namespace {

/// Receives matches and the gaps between them, in order, and emits pieces as the behavior says.
class Splitter {
 public:
  Splitter(std::string_view text, SplitBehavior behavior, bool invert, const EmitPiece& emit)
      : text_(text), emit_(emit), behavior_(behavior), invert_(invert) {}

  void add(Span span, bool is_match) {
    if (span.begin == span.end) return;
    is_match ^= invert_;
    switch (behavior_) {
      case SplitBehavior::removed:
        if (!is_match) emit_span(span);
        return;
      case SplitBehavior::isolated:
        emit_span(span);
        return;
      case SplitBehavior::merged_with_previous:
        return hold(span, is_match && !held_is_match_, is_match);
      case SplitBehavior::merged_with_next:
        return hold(span, !is_match && held_is_match_, is_match);
      case SplitBehavior::contiguous:
        return hold(span, is_match == held_is_match_, is_match);
    }
  }
  void finish() {
    if (held_) emit_span(*held_);
  }

 private:
  void hold(Span span, bool join, bool is_match) {
    if (held_ && join) {
      held_->end = span.end;
    } else {
      finish();
      held_ = span;
    }
    held_is_match_ = is_match;
  }
  void emit_span(Span span) { emit_(text_.substr(span.begin, span.end - span.begin)); }

  std::string_view text_;
  const EmitPiece& emit_;
  SplitBehavior behavior_;
  bool invert_;
  std::optional<Span> held_;  // may still grow
  bool held_is_match_ = false;
};

SplitBehavior parse_behavior(const Json& json, const std::string& where) {
  const std::string& name = require_string(json, "behavior", where);
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  fail_model("{}.behavior: '{}' is unknown", where, printable(name));
}

PreTokenizer::Stage parse_split(const Json& json, const std::string& where) {
  const Json& pattern = require_member(json, "pattern", where);
  const SplitBehavior behavior = parse_behavior(json, where);
  const bool invert = bool_or(json, "invert", false, where);
  if (find_member(pattern, "Regex")) {
    return split_stage(make_regex(require_string(pattern, "Regex", where), where + ".pattern"), behavior, invert);
  }
  const std::string& literal = require_string(pattern, "String", where + ".pattern");
  if (literal.empty()) fail_model("{}.pattern: empty", where);
  return split_stage(make_literal(literal), behavior, invert);
}

/// Spaces become `mark`, and a text that does not begin with it gets one in front.
PreTokenizer::Stage mark_spaces_stage(std::string mark, bool prepend, bool only_at_start) {
  return [mark = std::move(mark), prepend, only_at_start](std::string_view piece, bool at_start, MatchScratch& scratch,
                                                          const EmitPiece& emit) {
    std::string text;
    text.reserve(piece.size() + mark.size());
    for (const char c : piece) c == ' ' ? text.append(mark) : text.append(1, c);
    if (prepend && (at_start || !only_at_start) && !text.starts_with(mark)) text.insert(0, mark);
    scratch.check_grown(text.size());
    emit(text);
  };
}

void add_metaspace(const Json& json, const std::string& where, std::vector<PreTokenizer::Stage>& stages) {
  const std::string& mark = require_string(json, "replacement", where);
  if (mark.empty() || mark.size() > 4) fail_model("{}.replacement: not one character (got {})", where, printable(mark));
  std::string scheme = string_or_empty(json, "prepend_scheme", where);
  if (scheme.empty()) scheme = bool_or(json, "add_prefix_space", true, where) ? "always" : "never";
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    fail_model("{}.prepend_scheme: '{}' is unknown", where, printable(scheme));
  }
  stages.push_back(mark_spaces_stage(mark, scheme != "never", scheme == "first"));
  if (bool_or(json, "split", true, where)) {
    stages.push_back(split_stage(make_literal(mark), SplitBehavior::merged_with_next));
  }
}

void add_byte_level(const Json& json, const std::string& where, std::vector<PreTokenizer::Stage>& stages) {
  if (bool_or(json, "add_prefix_space", true, where)) {
    stages.push_back([](std::string_view piece, bool, MatchScratch&, const EmitPiece& emit) {
      if (piece.starts_with(' ')) return emit(piece);
      emit(" " + std::string(piece));
    });
  }
  if (bool_or(json, "use_regex", true, where)) {
    stages.push_back(split_stage(make_regex(split_patterns::kGpt2, where), SplitBehavior::isolated));
  }
}

void add_stages(const Json& json, const std::string& where, std::vector<PreTokenizer::Stage>& stages,
                bool& byte_level) {
  if (byte_level) fail_model("{}: nothing may follow ByteLevel", where);
  const std::string& type = require_string(json, "type", where);
  if (type == "Sequence") {
    const Json& list = require_array(json, "pretokenizers", where);
    for (size_t i = 0; i < list.size(); ++i) add_stages(list[i], element(where, i), stages, byte_level);
  } else if (type == "ByteLevel") {
    add_byte_level(json, where, stages);
    byte_level = true;
  } else if (type == "Split") {
    stages.push_back(parse_split(json, where));
  } else if (type == "Digits") {
    const bool runs = !bool_or(json, "individual_digits", false, where);
    stages.push_back(split_stage(make_class(CharClass::number, runs), SplitBehavior::isolated));
  } else if (type == "Metaspace") {
    add_metaspace(json, where, stages);
  } else {
    fail_model("{}: pre-tokenizer type '{}' is not supported", where, printable(type));
  }
}

}  // namespace

PreTokenizer::Stage split_stage(std::shared_ptr<const Pattern> pattern, SplitBehavior behavior, bool invert) {
  return [pattern = std::move(pattern), behavior, invert](std::string_view piece, bool, MatchScratch& scratch,
                                                          const EmitPiece& emit) {
    Splitter splitter(piece, behavior, invert, emit);
    size_t done = 0, from = 0;
    for (Span match; from <= piece.size() && pattern->next(piece, from, scratch, match);) {
      splitter.add({done, match.begin}, false);
      splitter.add(match, true);
      done = match.end;
      // After an empty match the search goes on at the next character; the place itself is already a boundary.
      from = match.end > match.begin ? match.end : match.end + 1;
      while (from < piece.size() && (static_cast<unsigned char>(piece[from]) & 0xc0) == 0x80) ++from;
    }
    splitter.add({done, piece.size()}, false);
    splitter.finish();
  };
}

void PreTokenizer::run(size_t stage, std::string_view piece, bool at_start, MatchScratch& scratch,
                       const EmitPiece& emit) const {
  if (piece.empty()) return;
  if (stage == stages_.size()) return emit(piece);
  bool first = at_start;
  stages_[stage](piece, at_start, scratch, [&](std::string_view part) {
    run(stage + 1, part, first, scratch, emit);
    first = false;
  });
}

ParsedPreTokenizer parse_pre_tokenizer(const Json* json, const std::string& where) {
  std::vector<PreTokenizer::Stage> stages;
  bool byte_level = false;
  if (json) add_stages(*json, where, stages, byte_level);
  return {PreTokenizer(std::move(stages)), byte_level};
}

}  // namespace packhorse
