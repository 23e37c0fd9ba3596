#include "text/jinja/python_text.h"

#include <charconv>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja/chars.h"

namespace packhorse::jinja {
namespace {

void append_escaped_char(TextBuilder& out, std::string_view bytes, uint32_t c, char quote) {
  if (c == '\\' || c == static_cast<uint32_t>(quote))
    out << '\\' << bytes;
  else if (c == '\n')
    out << "\\n";
  else if (c == '\r')
    out << "\\r";
  else if (c == '\t')
    out << "\\t";
  else if (is_printable(c))
    out << bytes;
  else if (c < 0x100)
    out << fmt::format("\\x{:02x}", c);
  else if (c < 0x10000)
    out << fmt::format("\\u{:04x}", c);
  else
    out << fmt::format("\\U{:08x}", c);
}

void append_quoted(Interpreter& in, TextBuilder& out, std::string_view text) {
  in.budget().scan_chars(text.size());
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out << quote;
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    append_escaped_char(out, text.substr(0, c.n_bytes), c.code_point, quote);
    text.remove_prefix(c.n_bytes);
  }
  out << quote;
}

void append_repr(Interpreter& in, TextBuilder& out, const Value& value);

void append_items(Interpreter& in, TextBuilder& out, const List& list) {
  const bool is_tuple = list.form != List::Form::list;
  out << (is_tuple ? '(' : '[');
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out << ", ";
    append_repr(in, out, list.items[i]);
  }
  if (is_tuple && list.items.size() == 1) out << ',';
  out << (is_tuple ? ')' : ']');
}

void append_pairs(Interpreter& in, TextBuilder& out, const Dict& dict) {
  out << '{';
  bool first = true;
  for (const auto& [key, value] : dict.items()) {
    if (!std::exchange(first, false)) out << ", ";
    append_repr(in, out, key);
    out << ": ";
    append_repr(in, out, value);
  }
  out << '}';
}

void append_repr(Interpreter& in, TextBuilder& out, const Value& value) {
  in.budget().step();
  const Interpreter::Nesting nesting(in);
  if (value.is_none()) {
    out << "None";
  } else if (const bool* boolean = value.get<bool>()) {
    out << (*boolean ? "True" : "False");
  } else if (const int64_t* integer = value.get<int64_t>()) {
    out << std::to_string(*integer);
  } else if (const double* real = value.get<double>()) {
    out << real_text(*real);
  } else if (value.is_text()) {
    append_quoted(in, out, value.bytes());
  } else if (value.list()) {
    append_items(in, out, *value.list());
  } else if (value.dict()) {
    append_pairs(in, out, *value.dict());
  } else if (const Namespace* space = value.space()) {
    out << "<Namespace ";
    append_pairs(in, out, *space->attributes);
    out << '>';
  } else if (value.is_undefined()) {
    out << "Undefined";
  } else {
    out << '<' << type_name(value) << '>';
  }
}

}  // namespace

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[32];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  const size_t digits_at = e + (text[e + 1] == '+' ? 2 : 1);
  std::from_chars(text.data() + digits_at, text.data() + text.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(text);
  char fixed[64];
  const auto fixed_end = std::to_chars(std::begin(fixed), std::end(fixed), value, std::chars_format::fixed).ptr;
  std::string out(fixed, static_cast<size_t>(fixed_end - fixed));
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string to_text(Interpreter& in, const Value& value) {
  if (value.is_text()) return std::string(value.bytes());
  if (value.is_undefined()) return {};
  return to_repr(in, value);
}

std::string to_repr(Interpreter& in, const Value& value) {
  TextBuilder out(in);
  append_repr(in, out, value);
  return out.take();
}

}  // namespace packhorse::jinja
