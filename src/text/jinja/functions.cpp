// Global functions, and the methods of the loop variable.
#include <array>
#include <ctime>

#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

Value range(Call& call) {
  Interpreter& in = call.in;
  const bool one = !call.arg(1);
  const int64_t start = one ? 0 : call.integer(0, 0), stop = call.integer(one ? 0 : 1, 0), step = call.integer(2, 1);
  if (step == 0) in.fail("range() step must not be zero");
  uint64_t count = 0;
  // Unsigned differences: the distance of two int64 may not fit one.
  if (step > 0 && start < stop) {
    count = (static_cast<uint64_t>(stop) - static_cast<uint64_t>(start) - 1) / static_cast<uint64_t>(step) + 1;
  } else if (step < 0 && start > stop) {
    const uint64_t magnitude = static_cast<uint64_t>(-(step + 1)) + 1;
    count = (static_cast<uint64_t>(start) - static_cast<uint64_t>(stop) - 1) / magnitude + 1;
  }
  const int64_t limit = in.budget().limits().max_range;
  if (count > static_cast<uint64_t>(limit)) Budget::exceeded("elements in range()", limit);
  in.budget().scan_items(count);
  List* list = in.heap().list();
  int64_t value = start;
  for (uint64_t i = 0; i < count; ++i, value += i < count ? step : 0) in.heap().append(*list, value);
  return list;
}

/// Attributes from a mapping (or pairs) and from keywords.
void fill(Call& call, Dict& dict) {
  Interpreter& in = call.in;
  if (const Value* source = call.arg(0)) {
    if (const Dict* other = source->dict()) {
      for (const auto& [key, value] : other->items()) in.heap().set(dict, key, value);
    } else {
      for (const Value& pair : in.iterate(*source)->items) {
        const List* parts = in.iterate(pair);
        if (parts->items.size() != 2) in.fail("{}() needs pairs of key and value", call.builtin.name);
        require_key(in, parts->items[0]);
        in.heap().set(dict, parts->items[0], parts->items[1]);
      }
    }
  }
  for (const auto& [name, value] : call.rest.named) in.heap().set(dict, in.text(name), value);
  if (!call.rest.positional.empty()) in.fail("{}() takes at most one positional argument", call.builtin.name);
}

Value make_dict(Call& call) {
  Dict* dict = call.in.heap().make<Dict>();
  fill(call, *dict);
  return dict;
}

Value make_namespace(Call& call) {
  Namespace* space = call.in.heap().make<Namespace>();
  space->attributes = call.in.heap().make<Dict>();
  fill(call, *space->attributes);
  return space;
}

/// Errors are one line, whatever the template says.
std::string one_line(std::string_view text) {
  constexpr size_t kMaxBytes = 1000;
  std::string out;
  for (const char c : text.substr(0, kMaxBytes)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  if (text.size() > kMaxBytes) out += "...";
  return out;
}

Value raise_exception(Call& call) { fail(ErrorKind::request, "chat template: {}", one_line(call.string(0))); }

Value strftime_now(Call& call) {
  std::array<char, 1024> buffer{};
  const std::string format = call.string(0);
  if (format.empty()) return call.in.text({});
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  const size_t n = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
  if (n == 0) call.in.fail("strftime_now() cannot format '{}'", printable(format));
  return call.in.text(std::string(buffer.data(), n));
}

Loop& loop_of(Call& call) { return **call.self.get<Loop*>(); }

Value cycle(Call& call) {
  const auto& values = call.rest.positional;
  if (values.empty()) call.in.fail("no items for cycling given");
  return values[loop_of(call).round % values.size()];
}

Value changed(Call& call) {
  Loop& loop = loop_of(call);
  const Value values = call.in.heap().tuple(call.rest.positional);
  const bool is_new = !loop.changed_once || !equal(call.in, loop.changed, values);
  loop.changed_once = true;
  loop.changed = values;
  return is_new;
}

constexpr Builtin kFunctions[] = {
    {"range", "start;stop,step", range},         {"dict", ";mapping,*", make_dict},
    {"namespace", ";mapping,*", make_namespace}, {"raise_exception", "message", raise_exception},
    {"strftime_now", "format", strftime_now},
};

constexpr Builtin kLoopMethods[] = {
    {"cycle", "*", cycle},
    {"changed", "*", changed},
};

}  // namespace

std::span<const Builtin> functions() { return kFunctions; }
std::span<const Builtin> loop_methods() { return kLoopMethods; }

}  // namespace packhorse::jinja
