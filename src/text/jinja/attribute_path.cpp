#include "text/jinja/attribute_path.h"

#include <algorithm>

#include "text/jinja/chars.h"
#include "text/jinja/numbers.h"

namespace packhorse::jinja {

AttributePath::AttributePath(Interpreter& in, const Value* attribute) : in_(in) {
  if (!attribute || attribute->is_none()) return;
  if (attribute->is_text())
    split(attribute->bytes());
  else
    parts_.push_back(*attribute);
}

AttributePath::AttributePath(Interpreter& in, std::string_view attribute) : in_(in) { split(attribute); }

void AttributePath::split(std::string_view attribute) {
  for (size_t start = 0; start <= attribute.size();) {
    const size_t end = std::min(attribute.find('.', start), attribute.size());
    const std::string_view part = attribute.substr(start, end - start);
    const bool is_index = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    const std::optional<int64_t> index = is_index ? parse_integer(part, 10) : std::nullopt;
    if (index)
      parts_.emplace_back(*index);
    else
      parts_.push_back(in_.text(std::string(part)));
    start = end + 1;
  }
}

Value AttributePath::of(Value item, const Value* fallback) const {
  for (const Value& part : parts_) {
    in_.budget().step();
    item = in_.subscript(item, part);
    if (fallback && !fallback->is_none() && item.is_undefined()) item = *fallback;
  }
  return item;
}

Value ignore_case(Interpreter& in, const Value& value) {
  return value.is_text() ? in.text(to_lower(value.bytes())) : value;
}

}  // namespace packhorse::jinja
