#pragma once
// Python's two ways to format: "%05.2f" % x and "{:>8}".format(x).

#include <string>
#include <string_view>

#include "text/jinja/interpreter.h"

namespace packhorse::jinja {

/// format % argument; a tuple holds several arguments, a dict those of %(name)s.
Value format_percent(Interpreter& in, std::string_view format, const Value& argument);

/// str.format.
Value format_braces(Interpreter& in, std::string_view format, const Args& args);

/// `text` between fill characters up to `width` characters; `align` is '<', '>' or '^'.
std::string pad(Interpreter& in, std::string_view text, int64_t width, char align, std::string_view fill = " ");

}  // namespace packhorse::jinja
