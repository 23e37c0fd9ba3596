#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(Interpreter& in, const JsonStyle& style) : in_(in), style_(style), out_(in) {}

  void write(const Value& value, size_t level);
  std::string take() { return out_.take(); }

 private:
  void write_text(std::string_view text);
  void write_char(std::string_view bytes, uint32_t c);
  void write_list(const List& list, size_t level);
  void write_dict(const Dict& dict, size_t level);
  void new_line(size_t level);
  std::string key_text(const Value& key);

  Interpreter& in_;
  const JsonStyle& style_;
  TextBuilder out_;
};

std::string json_real(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return real_text(value);
}

void JsonWriter::write_char(std::string_view bytes, uint32_t c) {
  static constexpr std::string_view kSpecial = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
  const size_t special = c < 0x80 ? kSpecial.find(static_cast<char>(c)) : std::string_view::npos;
  if (special != std::string_view::npos) {
    out_ << '\\' << kLetters[special];
  } else if (c < 0x20 || (style_.ascii_only && c >= 0x7f && c < 0x10000)) {
    out_ << fmt::format("\\u{:04x}", c);
  } else if (style_.ascii_only && c >= 0x10000) {
    const uint32_t offset = c - 0x10000;
    out_ << fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (offset >> 10), 0xdc00 + (offset & 0x3ff));
  } else {
    out_ << bytes;
  }
}

void JsonWriter::write_text(std::string_view text) {
  in_.budget().scan_chars(text.size());
  out_ << '"';
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    write_char(text.substr(0, c.n_bytes), c.code_point);
    text.remove_prefix(c.n_bytes);
  }
  out_ << '"';
}

void JsonWriter::new_line(size_t level) {
  if (!style_.multi_line) return;
  out_ << '\n';
  out_.repeat(style_.indent, level);
}

void JsonWriter::write_list(const List& list, size_t level) {
  out_ << '[';
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out_ << style_.item_separator;
    new_line(level + 1);
    write(list.items[i], level + 1);
  }
  if (!list.items.empty()) new_line(level);
  out_ << ']';
}

std::string JsonWriter::key_text(const Value& key) {
  if (key.is_text()) return std::string(key.bytes());
  if (key.is_none()) return "null";
  if (const bool* boolean = key.get<bool>()) return *boolean ? "true" : "false";
  return key.is_integer() ? std::to_string(key.integer()) : json_real(key.real());
}

void JsonWriter::write_dict(const Dict& dict, size_t level) {
  std::vector<const Dict::Item*> items;
  for (const Dict::Item& item : dict.items()) items.push_back(&item);
  if (style_.sort_keys) {
    std::stable_sort(items.begin(), items.end(),
                     [&](const auto* a, const auto* b) { return less(in_, a->first, b->first); });
  }
  out_ << '{';
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out_ << style_.item_separator;
    new_line(level + 1);
    write_text(key_text(items[i]->first));
    out_ << style_.key_separator;
    write(items[i]->second, level + 1);
  }
  if (!items.empty()) new_line(level);
  out_ << '}';
}

void JsonWriter::write(const Value& value, size_t level) {
  in_.budget().step();
  const Interpreter::Nesting nesting(in_);
  if (value.is_none())
    out_ << "null";
  else if (const bool* boolean = value.get<bool>())
    out_ << (*boolean ? "true" : "false");
  else if (value.is_integer())
    out_ << std::to_string(value.integer());
  else if (value.is<double>())
    out_ << json_real(value.real());
  else if (value.is_text())
    write_text(value.bytes());
  else if (value.list())
    write_list(*value.list(), level);
  else if (value.dict())
    write_dict(*value.dict(), level);
  else
    in_.fail("object of type {} is not JSON serializable", type_name(value));
}

}  // namespace

std::string to_json(Interpreter& in, const Value& value, const JsonStyle& style) {
  JsonWriter writer(in, style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace packhorse::jinja
