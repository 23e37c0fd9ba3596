#pragma once
// Calls whose name stands before their arguments: "NAME[ARGS]{...}", "function<sep>NAME\n```json\n{...}".

#include <optional>
#include <string>
#include <string_view>

#include "app/server/parsers/call_reader.h"
#include "app/server/parsers/json_scanner.h"
#include "app/server/parsers/marker_matcher.h"

namespace packhorse::server {

struct CallHead {
  std::string name, id;
};

/// How a head is written. `read` gets the texts before and after the separator; nothing comes back for no head.
struct HeadNotation {
  std::string_view separator;
  bool separator_optional = false;
  std::optional<CallHead> (*read)(std::string_view before, std::string_view after) = nullptr;
};
extern const HeadNotation kMistralHead, kDeepseekHead, kKimiHead;

/// One call; its arguments go out while they come in.
class HeadedCallReader : public CallReader {
 public:
  explicit HeadedCallReader(const HeadNotation& notation);
  State feed(char c, CallSink& sink) override;
  bool finish(CallSink&) override { return false; }

 private:
  State begin_arguments(char c, CallSink& sink);
  State in_arguments(char c, CallSink& sink);

  const HeadNotation& notation_;
  MarkerMatcher separator_;
  std::string before_, after_;
  bool separated_ = false, begun_ = false;
  JsonScanner scanner_;
};

/// Mistral's notations: a JSON list (or object), and since version 11 of their tokenizer a head.
class MistralCallsReader : public CallReader {
 public:
  State feed(char c, CallSink& sink) override;
  bool finish(CallSink& sink) override { return reader_ && reader_->finish(sink); }

 private:
  std::unique_ptr<CallReader> reader_;
};

}  // namespace packhorse::server
