#pragma once
// Structured outputs of each kind.

#include <string>
#include <utility>
#include <vector>

#include "packhorse/packhorse.h"

namespace packhorse {

inline StructuredOutputs schema(std::string text) {
  StructuredOutputs wanted;
  wanted.json = std::move(text);
  wanted.disable_any_whitespace = true;
  return wanted;
}
inline StructuredOutputs grammar(std::string text) {
  StructuredOutputs wanted;
  wanted.grammar = std::move(text);
  return wanted;
}
inline StructuredOutputs pattern(std::string text) {
  StructuredOutputs wanted;
  wanted.regex = std::move(text);
  return wanted;
}
inline StructuredOutputs choice(std::vector<std::string> texts) {
  StructuredOutputs wanted;
  wanted.choice = std::move(texts);
  return wanted;
}
inline StructuredOutputs tag(std::string text) {
  StructuredOutputs wanted;
  wanted.structural_tag = std::move(text);
  return wanted;
}

}  // namespace packhorse
