#pragma once
// What happens to a text before it is split: tokenizer.json's "normalizer".

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/pattern.h"

namespace packhorse {

/// Steps in order; each takes and leaves valid UTF-8.
class Normalizer {
 public:
  using Step = std::function<void(std::string& text, MatchScratch& scratch)>;

  Normalizer() = default;
  explicit Normalizer(std::vector<Step> steps) : steps_(std::move(steps)) {}
  void apply(std::string& text, MatchScratch& scratch) const {
    for (const Step& step : steps_) step(text, scratch);
  }
  bool empty() const { return steps_.empty(); }

 private:
  std::vector<Step> steps_;
};

/// `json` is the object, or null for none. Throws Error{model} for types that are not known.
Normalizer parse_normalizer(const Json* json, const std::string& where);

Normalizer::Step prepend_step(std::string prefix);  // an empty text stays empty
Normalizer::Step replace_step(std::shared_ptr<const Pattern> pattern, std::string content);
Normalizer::Step collapse_spaces_step();  // as SentencePiece's remove_extra_whitespaces
Normalizer::Step nfc_step();

}  // namespace packhorse
