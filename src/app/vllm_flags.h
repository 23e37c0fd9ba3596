#pragma once
// Arguments of vLLM that are none here, once: those without effect, and those of features that are not there. The
// command line, the configuration file and the Python binding look here.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace packhorse::app {

struct VllmFlag {
  enum class Kind : uint8_t { value, list, toggle };
  std::string_view name;                   // "swap-space"; with underscores in Python
  std::string_view why{};                  // the feature is not there; empty = no answer depends on the flag
  std::array<std::string_view, 3> idle{};  // values that ask for nothing of it
  Kind kind = Kind::value;
  bool is_old = false;  // of older releases of vLLM
};

std::span<const VllmFlag> vllm_flags();
/// nullptr where there is none.
const VllmFlag* find_vllm_flag(std::string_view name);

}  // namespace packhorse::app
