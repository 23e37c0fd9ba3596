#pragma once
// What reads tool calls of one notation, from the marker that begins them on.

#include <cstdint>

#include "app/server/parsers/call_sink.h"

namespace packhorse::server {

class CallReader {
 public:
  enum class State : uint8_t {
    more,
    done,    // this byte was the last of the calls
    past,    // the calls ended before this byte
    broken,  // what came since the sink took something last is no call
  };
  virtual ~CallReader() = default;
  virtual State feed(char c, CallSink& sink) = 0;
  /// The text ends. What came since the sink took something last is given back as content, unless this returns true.
  virtual bool finish(CallSink& sink) = 0;
};

}  // namespace packhorse::server
