// Filters that make text out of text.
#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/attribute_path.h"
#include "text/jinja/chars.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

/// What most of these filters do first: anything becomes text.
std::string self_text(Call& call) {
  std::string text = to_text(call.in, call.self);
  call.in.budget().scan_bytes(text.size());
  return text;
}

template <std::string (*kMap)(std::string_view)>
Value maps(Call& call) {
  if (call.self.is_text()) call.in.budget().scan_chars(call.self.bytes().size());
  return call.in.text(kMap(self_text(call)));
}

/// Jinja's own idea of a title: words begin after white space and some brackets, other letters are lowered.
std::string title(std::string_view text) {
  std::string out;
  bool first = true;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(i));
    const std::string_view bytes = text.substr(i, c.n_bytes);
    const bool separates = is_space(c.code_point) || std::string_view("-({[<").find(bytes) != std::string_view::npos;
    out += first && !separates ? to_upper(bytes) : to_lower(bytes);
    first = separates;
    i += c.n_bytes;
  }
  return out;
}

Value trim(Call& call) {
  const std::string text = self_text(call);
  const Value* chars = call.given(0);
  return call.in.text(std::string(chars ? strip_chars(text, call.text(0)) : strip_space(text)));
}

Value replace(Call& call) {
  std::vector<Value> arguments = {call.in.text(call.string(0)), call.in.text(call.string(1))};
  if (const Value* count = call.given(2)) arguments.push_back(*count);
  const Value text = call.in.text(self_text(call));
  return run_builtin(call.in, *find_method(text, "replace"), text, {std::move(arguments), {}});
}

Value format(Call& call) {
  Interpreter& in = call.in;
  const std::string text = self_text(call);
  if (call.rest.named.empty()) return format_percent(in, text, in.heap().tuple(std::move(call.rest.positional)));
  if (!call.rest.positional.empty()) in.fail("format() takes either positional or keyword arguments");
  Dict* named = in.heap().make<Dict>();
  for (const auto& [name, value] : call.rest.named) in.heap().set(*named, in.text(name), value);
  return format_percent(in, text, named);
}

template <bool kForce>
Value escape(Call& call) {
  const bool done = call.self.is_text() && (*call.self.get<TextPtr>())->is_markup;
  if (done && !kForce) return call.self;
  const std::string text = self_text(call);
  call.in.budget().scan_chars(text.size());
  return call.in.heap().markup(escape_html(text));
}

Value indent(Call& call) {
  Interpreter& in = call.in;
  in.require_defined(call.self);
  if (!call.self.is_text()) in.fail("indent() needs a string, got '{}'", type_name(call.self));
  const bool is_text = call.arg(0) && call.arg(0)->is_text();
  const std::string margin = is_text ? std::string(call.text(0)) : pad(in, "", call.integer(0, 4), '<');
  const bool first = call.truth(1, false), blank = call.truth(2, false);
  const std::string text = std::string(call.self.bytes()) + '\n';  // so that a newline at the end is kept
  TextBuilder out(in);
  in.budget().scan_chars(text.size());
  bool is_first = true;
  for (const std::string_view line : split_lines(text, false)) {
    in.budget().scan_bytes(margin.size());
    if (!is_first) out << '\n';
    if (is_first ? first : blank || !line.empty()) out << margin;
    out << line;
    is_first = false;
  }
  return out.value();
}

Value center(Call& call) {
  const std::string text = self_text(call);
  const Value padded = call.in.text(text);
  return run_builtin(call.in, *find_method(padded, "center"), padded, {{call.integer(0, 80)}, {}});
}

Value truncate(Call& call) {
  Interpreter& in = call.in;
  const std::string text = self_text(call);
  const int64_t length = call.integer(0, 255), leeway = call.given(3) ? call.integer(3, 0) : 5;
  const std::string_view end = call.text(2, "...");
  const auto end_chars = static_cast<int64_t>(count_chars(end));
  if (length < end_chars || leeway < 0) in.fail("truncate() needs a length of at least {}", end_chars);
  if (static_cast<int64_t>(count_chars(text)) - leeway <= length) return in.text(text);
  std::string_view kept = std::string_view(text).substr(0, char_offset(text, static_cast<size_t>(length - end_chars)));
  if (!call.truth(1, false)) kept = kept.substr(0, kept.rfind(' '));
  TextBuilder out(in);
  out << kept << end;
  return out.value();
}

Value wordcount(Call& call) {
  const std::string text = self_text(call);
  call.in.budget().scan_chars(text.size());
  int64_t words = 0;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(std::string_view(text).substr(i));
    const bool is_word = is_word_char(c.code_point);
    words += is_word && !in_word;
    in_word = is_word;
    i += c.n_bytes;
  }
  return words;
}

void append_url(TextBuilder& out, std::string_view text, bool in_query) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain =
        byte < 0x80 && (is_word_char(byte) || c == '-' || c == '.' || c == '~' || (c == '/' && !in_query));
    if (plain)
      out << c;
    else if (c == ' ' && in_query)
      out << '+';
    else
      out << fmt::format("%{:02X}", byte);
  }
}

Value urlencode(Call& call) {
  Interpreter& in = call.in;
  TextBuilder out(in);
  if (!call.self.list() && !call.self.dict()) {
    const std::string text = self_text(call);
    in.budget().scan_chars(text.size());
    append_url(out, text, false);
    return out.value();
  }
  const auto append_pair = [&](const Value& key, const Value& value) {
    in.budget().step();
    if (out.size() > 0) out << '&';
    append_url(out, to_text(in, key), true);
    out << '=';
    append_url(out, to_text(in, value), true);
  };
  if (const Dict* dict = call.self.dict()) {
    for (const auto& [key, value] : dict->items()) append_pair(key, value);
  } else {
    for (const Value& pair : call.self.list()->items) {
      const List* parts = in.iterate(pair);
      if (parts->items.size() != 2) in.fail("urlencode() needs pairs of key and value");
      append_pair(parts->items[0], parts->items[1]);
    }
  }
  return out.value();
}

Value join(Call& call) {
  Interpreter& in = call.in;
  const std::string separator = call.arg(0) ? call.string(0) : "";
  const AttributePath path(in, call.arg(1));
  TextBuilder out(in);
  const List* items = in.iterate(call.self);
  for (size_t i = 0; i < items->items.size(); ++i) {
    in.budget().step();
    if (i > 0) out << separator;
    out << to_text(in, path.of(items->items[i]));
  }
  return out.value();
}

constexpr Builtin kFilters[] = {
    {"upper", "", maps<to_upper>},
    {"lower", "", maps<to_lower>},
    {"title", "", maps<title>},
    {"capitalize", "", maps<capitalize>},
    {"trim", ";chars", trim},
    {"replace", "old,new;count", replace},
    {"format", "*", format},
    {"escape", "", escape<false>},
    {"e", "", escape<false>},
    {"forceescape", "", escape<true>},
    {"safe", "", [](Call& call) { return call.in.heap().markup(self_text(call)); }},
    {"string", "", [](Call& call) { return call.self.is_text() ? call.self : call.in.text(self_text(call)); }},
    {"indent", ";width,first,blank", indent},
    {"center", ";width", center},
    {"truncate", ";length,killwords,end,leeway", truncate},
    {"wordcount", "", wordcount},
    {"urlencode", "", urlencode},
    {"join", ";d,attribute", join},
};

}  // namespace

std::span<const Builtin> text_filters() { return kFilters; }

}  // namespace packhorse::jinja
