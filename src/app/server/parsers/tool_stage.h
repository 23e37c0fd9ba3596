#pragma once
// Content and tool calls of an answer, told apart.

#include <memory>
#include <string>
#include <string_view>

#include "app/server/output_parser.h"
#include "app/server/parsers/call_reader.h"
#include "app/server/parsers/marker_matcher.h"
#include "app/server/parsers/tool_families.h"

namespace packhorse::server {

/// What follows reasoning: takes the text in pieces, adds to a delta what is known.
class ContentStage {
 public:
  virtual ~ContentStage() = default;
  virtual void add(std::string_view text, OutputDelta& out) = 0;
  virtual void finish(OutputDelta& out) = 0;
};

/// Finds calls by a family's notation. Blanks alone before a call, between calls and after them are no content; any
/// other text that no call takes is.
class ToolStage : public ContentStage {
 public:
  ToolStage(const ToolFamily& family, IdStyle ids, std::string_view tools);
  void add(std::string_view text, OutputDelta& out) override;
  void finish(OutputDelta& out) override;

 private:
  void scan(char c, OutputDelta& out);
  void read(char c, OutputDelta& out);
  void begin(std::string_view start);
  void content(std::string_view text, OutputDelta& out);
  void release(std::string_view text, OutputDelta& out);

  const ToolFamily& family_;
  ToolSchemas schemas_;
  MarkerMatcher markers_;  // starts, openers, closers in that order
  CallSink sink_;
  std::unique_ptr<CallReader> reader_;
  std::string unread_;   // what the reader got since the sink took something
  std::string pending_;  // blanks and openers, content unless a call follows
  bool pends_ = true;    // nothing but that came since the beginning or the last call
  bool begins_ = true;   // nothing but blanks came at all
  std::string text_;
};

/// All of the answer is the arguments of one call.
class NamedCallStage : public ContentStage {
 public:
  NamedCallStage(std::string name, IdStyle ids);
  void add(std::string_view text, OutputDelta& out) override;
  void finish(OutputDelta&) override {}

 private:
  std::string name_;
  CallSink sink_;
};

class PlainStage : public ContentStage {
 public:
  void add(std::string_view text, OutputDelta& out) override { out.content += text; }
  void finish(OutputDelta&) override {}
};

}  // namespace packhorse::server
