#pragma once
// Where readers of tool calls put what they find.

#include <string>
#include <string_view>

#include "app/server/output_parser.h"

namespace packhorse::server {

enum class IdStyle { hex, mistral, kimi };

/// Collects the news of one add(): pieces of one call join.
class CallSink {
 public:
  explicit CallSink(IdStyle ids) : ids_(ids) {}

  /// A call whose arguments follow. Without `id` one is made.
  void begin(std::string_view name, std::string_view id = {});
  /// More of the arguments of the call that began last.
  void arguments(std::string_view piece);
  void call(std::string_view name, std::string_view whole_arguments) { begin(name), arguments(whole_arguments); }

  int n_calls() const { return n_calls_; }
  /// Whether something came since the last question.
  bool took();
  void move_to(OutputDelta& delta);

 private:
  std::string new_id(std::string_view name) const;

  IdStyle ids_;
  int n_calls_ = 0;
  bool took_ = false;
  std::vector<ToolCallDelta> news_;
};

}  // namespace packhorse::server
