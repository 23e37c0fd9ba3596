#pragma once
// Calls written as a list of Python: [f(a=1), g(b="x")].

#include <string>

#include "app/server/parsers/call_reader.h"

namespace packhorse::server {

/// Each call goes out when it is whole.
class PythonCallsReader : public CallReader {
 public:
  State feed(char c, CallSink& sink) override;
  bool finish(CallSink&) override { return expect_ == Expect::separator; }

 private:
  enum class Expect : uint8_t { list, call, name, arguments, text, escape, separator };
  State in_arguments(char c, CallSink& sink);
  bool read_call(CallSink& sink);

  Expect expect_ = Expect::list;
  std::string call_;
  std::string open_;  // brackets of the arguments
  char quote_ = 0;
  bool after_comma_ = false;
};

}  // namespace packhorse::server
