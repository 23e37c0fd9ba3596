#pragma once
// Calls written as JSON objects with a name and arguments: alone, in an array, or one after another.

#include <string>

#include "app/server/parsers/call_reader.h"
#include "app/server/parsers/json_scanner.h"

namespace packhorse::server {

/// A text without a marker may as well be an answer in JSON, so less is taken for a call there.
enum class JsonTrust { marked, bare };

/// One object {"name": ..., "arguments" or "parameters": {...}}. Its arguments go out while they come in, as soon as
/// the name is known.
class JsonCallReader {
 public:
  explicit JsonCallReader(JsonTrust trust) : trust_(trust) {}
  CallReader::State feed(char c, CallSink& sink);

 private:
  enum class Expect : uint8_t { object, key_or_end, key, in_key, colon, value, in_value, comma_or_end };
  enum class Value : uint8_t { name, arguments, text_arguments, other };

  CallReader::State begin_key(char c);
  CallReader::State key_ended();
  CallReader::State begin_value(char c, CallSink& sink);
  CallReader::State in_value(char c, CallSink& sink);
  bool value_ended(CallSink& sink);
  CallReader::State object_ended(CallSink& sink);
  void begin_call(CallSink& sink);

  JsonTrust trust_;
  Expect expect_ = Expect::object;
  Value value_ = Value::other;
  JsonScanner scanner_;
  std::string text_;  // of the key, the name, or arguments that cannot go out yet
  std::string name_, arguments_;
  bool named_ = false, has_arguments_ = false, begun_ = false;
};

enum class JsonLayout {
  one,       // {...}
  list,      // [{...}, {...}]
  sequence,  // {...}; {...}
};

class JsonCallsReader : public CallReader {
 public:
  JsonCallsReader(JsonLayout layout, JsonTrust trust);
  State feed(char c, CallSink& sink) override;
  bool finish(CallSink& sink) override;

 private:
  enum class Expect : uint8_t { list, first, call, in_call, separator };
  State call_ended();

  JsonLayout layout_;
  JsonTrust trust_;
  Expect expect_;
  JsonCallReader call_;
};

}  // namespace packhorse::server
