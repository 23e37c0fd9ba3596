#pragma once
// Calls written in tags, where values stand as bare text: <function=NAME><parameter=KEY>value</parameter></function>.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/server/parsers/call_reader.h"
#include "app/server/parsers/marker_matcher.h"

namespace packhorse::server {

/// What parameters the tools of a request have.
class ToolSchemas {
 public:
  /// `tools` is the request's list as JSON text, or empty.
  explicit ToolSchemas(std::string_view tools);
  /// The JSON text of a bare value: of a type that the schema of the parameter allows when that is known, otherwise
  /// whatever JSON it is, otherwise a text.
  std::string typed(std::string_view function, std::string_view parameter, std::string_view value) const;

 private:
  std::vector<std::string> types(std::string_view function, std::string_view parameter) const;
  nlohmann::json tools_;
};

struct TagNotation {
  std::string_view name_open, name_close;    // around the name: "<function=" and ">"
  std::vector<std::string_view> ends;        // either ends the call
  std::string_view key_open, key_close;      // "<parameter=" and ">"
  std::string_view value_open, value_close;  // "" and "</parameter>"
  bool trim_values = false;                  // all blanks around, not one line break on each side
};
extern const TagNotation kQwenTags, kSeedTags, kMinimaxTags, kGlmTags;

/// One call, which goes out when it is whole.
class TaggedCallReader : public CallReader {
 public:
  /// `is_named` says that the marker before included `name_open`.
  TaggedCallReader(const TagNotation& notation, const ToolSchemas& schemas, bool is_named);
  State feed(char c, CallSink& sink) override;
  bool finish(CallSink&) override { return false; }

 private:
  State in_opening(char c);
  bool read_call(CallSink& sink) const;

  const TagNotation& notation_;
  const ToolSchemas& schemas_;
  MarkerMatcher ends_;
  std::string opening_, body_;
  bool opened_, named_ = false;
};

}  // namespace packhorse::server
