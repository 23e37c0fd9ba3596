#pragma once
// Throwing the one exception type of the engine. Error, exit_status and printable are declared in the public header,
// since programs use them too.

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "packhorse/packhorse.h"

namespace packhorse {

/// Throws Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void fail_model(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::model, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace packhorse
