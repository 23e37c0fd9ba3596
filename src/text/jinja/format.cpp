#include "text/jinja/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "text/jinja/chars.h"
#include "text/jinja/python_text.h"

namespace packhorse::jinja {
namespace {

constexpr int64_t kMaxPrecision = 400;

/// Both syntaxes in one: [[fill]align][sign][#][0][width][,][.precision][type]
struct Spec {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^', '=' (padding after the sign)
  char sign = '-';
  bool alternate = false, thousands = false;
  int64_t width = 0, precision = -1;
  char type = '\0';
};

/// Digits at `i`; throws when the number is absurd.
int64_t take_number(Interpreter& in, std::string_view text, size_t& i, int64_t fallback) {
  int64_t number = fallback;
  const auto [end, error] = std::from_chars(text.data() + i, text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range || number > (1 << 30)) in.fail("number in a format is too large");
  i = static_cast<size_t>(end - text.data());
  return number;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string with_thousands(std::string digits) {
  const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t i = whole; i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string integer_digits(const Spec& spec, uint64_t magnitude) {
  const int base = spec.type == 'x' || spec.type == 'X' ? 16 : spec.type == 'o' ? 8 : spec.type == 'b' ? 2 : 10;
  char buffer[72];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), magnitude, base).ptr;
  std::string digits(buffer, static_cast<size_t>(end - buffer));
  if (spec.precision > static_cast<int64_t>(digits.size())) {
    digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
  }
  if (spec.alternate && base != 10) digits.insert(0, std::string("0") + (base == 16 ? 'x' : base == 8 ? 'o' : 'b'));
  return spec.type == 'X' ? to_upper(digits) : digits;
}

std::string real_digits(const Spec& spec, double magnitude) {
  if (spec.type == '\0' && spec.precision < 0) return real_text(magnitude);
  const bool percent = spec.type == '%';
  const char type = percent ? 'f' : spec.type == '\0' ? 'g' : spec.type;
  const std::string format = fmt::format("%{}.*{}", spec.alternate ? "#" : "", type);
  char buffer[1024];  // 309 digits of the largest double and kMaxPrecision more
  const int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  const int n = std::snprintf(buffer, sizeof buffer, format.c_str(), precision, percent ? magnitude * 100 : magnitude);
#pragma GCC diagnostic pop
  return std::string(buffer, static_cast<size_t>(std::clamp(n, 0, 1023))) + (percent ? "%" : "");
}

std::string format_number(Interpreter& in, const Spec& spec, const Value& value) {
  if (spec.precision > kMaxPrecision) in.fail("precision in a format is too large");
  const bool as_integer = value.is_integer() && std::string_view("fFeEgG%").find(spec.type) == std::string_view::npos;
  const bool negative = as_integer ? value.integer() < 0 : std::signbit(value.real());
  std::string digits;
  if (as_integer) {
    const auto bits = static_cast<uint64_t>(value.integer());
    digits = integer_digits(spec, negative ? 0 - bits : bits);
  } else {
    digits = real_digits(spec, std::fabs(value.real()));
  }
  if (spec.thousands) digits = with_thousands(std::move(digits));
  std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  if (spec.align != '=') return pad(in, sign + digits, spec.width, spec.align ? spec.align : '>', spec.fill);
  const int64_t width = spec.width - static_cast<int64_t>(sign.size());
  return sign + pad(in, digits, width, '>', spec.fill);
}

std::string format_text(Interpreter& in, const Spec& spec, std::string_view text) {
  if (spec.precision >= 0) text = text.substr(0, char_offset(text, static_cast<size_t>(spec.precision)));
  return pad(in, text, spec.width, spec.align ? spec.align : '<', spec.fill);
}

/// The arguments of a % format, in order.
class PercentArguments {
 public:
  PercentArguments(Interpreter& in, const Value& argument) : in_(in), argument_(argument) {
    if (const List* list = argument.list(); list && list->form != List::Form::list) tuple_ = list;
  }
  Value next() {
    const size_t i = used_++;
    if (i >= (tuple_ ? tuple_->items.size() : 1)) in_.fail("not enough arguments for format string");
    return tuple_ ? tuple_->items[i] : argument_;
  }
  Value named(std::string_view name) {
    const Dict* dict = argument_.dict();
    if (!dict) in_.fail("format requires a mapping");
    const Value* value = dict->find(name);
    if (!value) in_.fail("format has no argument '{}'", printable(name));
    used_ = 1;
    return *value;
  }
  void check_all_used() const {
    const size_t count = tuple_ ? tuple_->items.size() : argument_.dict() ? 0 : 1;
    if (used_ < count) in_.fail("not all arguments converted during string formatting");
  }

 private:
  Interpreter& in_;
  const Value& argument_;
  const List* tuple_ = nullptr;
  size_t used_ = 0;
};

Spec parse_percent_spec(Interpreter& in, std::string_view format, size_t& i) {
  Spec spec;
  for (; i < format.size() && std::string_view("-+ 0#").find(format[i]) != std::string_view::npos; ++i) {
    if (format[i] == '-') spec.align = '<', spec.fill = " ";
    if (format[i] == '0' && spec.align != '<') spec.align = '=', spec.fill = "0";
    if (format[i] == '+' || (format[i] == ' ' && spec.sign != '+')) spec.sign = format[i];
    if (format[i] == '#') spec.alternate = true;
  }
  spec.width = take_number(in, format, i, 0);
  if (i < format.size() && format[i] == '.') spec.precision = take_number(in, format, ++i, 0);
  if (i < format.size()) spec.type = format[i++];
  return spec;
}

std::string percent_value(Interpreter& in, Spec spec, const Value& value) {
  const auto number = [&] {
    in.require_defined(value);
    if (!value.is_number()) in.fail("%{} format: a number is required, not {}", spec.type, type_name(value));
  };
  switch (spec.type) {
    case 's':
    case 'r':
    case 'a':
      if (spec.align != '<') spec.align = '>';
      spec.fill = " ";
      return format_text(in, spec, spec.type == 's' ? to_text(in, value) : to_repr(in, value));
    case 'd':
    case 'i':
    case 'u':
      number();
      if (value.is<double>()) {
        if (!(std::fabs(value.real()) < 9.2e18)) in.fail("number for an integer format is out of range");
        return format_number(in, spec, static_cast<int64_t>(value.real()));
      }
      return format_number(in, spec, value);
    case 'x':
    case 'X':
    case 'o':
      number();
      if (!value.is_integer()) in.fail("%{} format: an integer is required, not float", spec.type);
      return format_number(in, spec, value);
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
      number();
      return format_number(in, spec, value.real());
    case 'c':
      if (value.is_text() && (*value.get<TextPtr>())->n_chars == 1) return format_text(in, spec, value.bytes());
      in.fail("%c format needs one character");
    default:
      break;
  }
  in.fail("unsupported format character '{}'", printable(std::string_view(&spec.type, 1)));
}

Spec parse_brace_spec(Interpreter& in, std::string_view text) {
  Spec spec;
  constexpr std::string_view kAligns = "<>^=";
  const size_t first = char_offset(text, 1);
  if (first < text.size() && kAligns.find(text[first]) != std::string_view::npos) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    text.remove_prefix(first + 1);
  } else if (!text.empty() && kAligns.find(text[0]) != std::string_view::npos) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
  size_t i = 0;
  const auto take = [&](char c) { return i < text.size() && text[i] == c ? (++i, true) : false; };
  for (const char sign : {'+', '-', ' '}) {
    if (take(sign)) spec.sign = sign;
  }
  spec.alternate = take('#');
  if (take('0') && !spec.align) spec.align = '=', spec.fill = "0";
  spec.width = take_number(in, text, i, 0);
  spec.thousands = take(',');
  if (take('.')) spec.precision = take_number(in, text, i, 0);
  if (i < text.size()) spec.type = text[i++];
  if (i < text.size() || spec.width < 0) in.fail("invalid format specifier '{}'", printable(text));
  return spec;
}

std::string brace_value(Interpreter& in, const Value& value, char conversion, std::string_view spec_text) {
  if (conversion == 'r' || conversion == 'a') {
    return format_text(in, parse_brace_spec(in, spec_text), to_repr(in, value));
  }
  if (spec_text.empty()) return to_text(in, value);
  const Spec spec = parse_brace_spec(in, spec_text);
  if (value.is_number() && conversion == '\0' && (!value.is<bool>() || spec.type)) {
    constexpr std::string_view kIntegers = "dxXob", kReals = "fFeEgG%";
    const bool known = spec.type == '\0' || kReals.find(spec.type) != std::string_view::npos ||
                       (value.is_integer() && kIntegers.find(spec.type) != std::string_view::npos);
    if (!known) in.fail("unknown format code '{}'", printable(std::string_view(&spec.type, 1)));
    return format_number(in, spec, value);
  }
  if (spec.type != '\0' && spec.type != 's')
    in.fail("unknown format code '{}' for a string", printable(std::string_view(&spec.type, 1)));
  return format_text(in, spec, to_text(in, value));
}

/// The value that "0", "name", "name.attribute" or "0[key]" stands for.
Value brace_field(Interpreter& in, std::string_view field, const Args& args, size_t& next_index) {
  const size_t end = std::min(field.find_first_of(".["), field.size());
  const std::string_view name = field.substr(0, end);
  std::string_view path = field.substr(end);
  Value value;
  if (name.empty() || is_digit(name[0])) {
    size_t i = 0;
    const size_t index = name.empty() ? next_index++ : static_cast<size_t>(take_number(in, name, i, 0));
    if (index >= args.positional.size()) in.fail("format() has no argument {}", index);
    value = args.positional[index];
  } else {
    const auto it =
        std::find_if(args.named.begin(), args.named.end(), [&](const auto& arg) { return arg.first == name; });
    if (it == args.named.end()) in.fail("format() has no argument '{}'", printable(name));
    value = it->second;
  }
  while (!path.empty()) {
    const bool is_key = path[0] == '[';
    const size_t stop = is_key ? path.find(']') : path.find_first_of(".[", 1);
    if (is_key && stop == std::string_view::npos) in.fail("format() misses a ']'");
    const std::string_view part = path.substr(1, std::min(stop, path.size()) - 1);
    size_t digits = 0;
    if (is_key && !part.empty() && is_digit(part[0]))
      value = in.subscript(value, take_number(in, part, digits, 0));
    else
      value = in.subscript(value, in.text(std::string(part)));
    path.remove_prefix(std::min(stop == std::string_view::npos ? path.size() : stop + (is_key ? 1 : 0), path.size()));
  }
  return value;
}

}  // namespace

std::string pad(Interpreter& in, std::string_view text, int64_t width, char align, std::string_view fill) {
  const int64_t missing = width - static_cast<int64_t>(count_chars(text));
  const size_t n = static_cast<size_t>(std::max<int64_t>(missing, 0));
  const size_t before = align == '<' ? 0 : align == '^' ? n / 2 : n;
  TextBuilder out(in);
  in.budget().check_text(n);
  in.budget().scan_bytes(n);
  out.repeat(fill, before) << text;
  out.repeat(fill, n - before);
  return out.take();
}

Value format_percent(Interpreter& in, std::string_view format, const Value& argument) {
  TextBuilder out(in);
  PercentArguments arguments(in, argument);
  for (size_t i = 0; i < format.size();) {
    const size_t percent = std::min(format.find('%', i), format.size());
    out << format.substr(i, percent - i);
    if (percent == format.size()) break;
    i = percent + 1;
    in.budget().step();
    if (i < format.size() && format[i] == '%') {
      out << '%';
      ++i;
      continue;
    }
    std::optional<Value> value;
    if (i < format.size() && format[i] == '(') {
      const size_t end = format.find(')', i);
      if (end == std::string_view::npos) in.fail("incomplete format key");
      value = arguments.named(format.substr(i + 1, end - i - 1));
      i = end + 1;
    }
    const Spec spec = parse_percent_spec(in, format, i);
    if (spec.type == '\0') in.fail("incomplete format");
    out << percent_value(in, spec, value ? *value : arguments.next());
  }
  arguments.check_all_used();
  return out.value();
}

Value format_braces(Interpreter& in, std::string_view format, const Args& args) {
  TextBuilder out(in);
  size_t next_index = 0;
  for (size_t i = 0; i < format.size();) {
    const size_t brace = std::min(format.find_first_of("{}", i), format.size());
    out << format.substr(i, brace - i);
    if (brace == format.size()) break;
    in.budget().step();
    if (brace + 1 < format.size() && format[brace + 1] == format[brace]) {
      out << format[brace];
      i = brace + 2;
      continue;
    }
    const size_t end = format.find('}', brace);
    if (format[brace] == '}' || end == std::string_view::npos) in.fail("single '{}' in format string", format[brace]);
    std::string_view field = format.substr(brace + 1, end - brace - 1), spec;
    if (const size_t colon = field.find(':'); colon != std::string_view::npos) {
      spec = field.substr(colon + 1);
      field = field.substr(0, colon);
    }
    char conversion = '\0';
    if (const size_t mark = field.find('!'); mark != std::string_view::npos) {
      conversion = mark + 2 == field.size() ? field[mark + 1] : '?';
      if (conversion != 'r' && conversion != 's' && conversion != 'a') in.fail("unknown conversion in format()");
      field = field.substr(0, mark);
    }
    out << brace_value(in, brace_field(in, field, args, next_index), conversion, spec);
    i = end + 1;
  }
  return out.value();
}

}  // namespace packhorse::jinja
