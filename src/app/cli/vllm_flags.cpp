#include "app/cli/vllm_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "app/engine_flags.h"
#include "app/vllm_flags.h"

namespace packhorse::cli {
namespace {

using app::VllmFlag;

constexpr auto kLetters = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"-O", "optimization-level"},
    {"-ac", "attention-config"},
    {"-asc", "api-server-count"},
    {"-cc", "compilation-config"},
    {"-dc", "diffusion-config"},
    {"-dcp", "decode-context-parallel-size"},
    {"-dp", "data-parallel-size"},
    {"-dpa", "data-parallel-address"},
    {"-dpb", "data-parallel-backend"},
    {"-dpe", "data-parallel-external-lb"},
    {"-dph", "data-parallel-hybrid-lb"},
    {"-dpl", "data-parallel-size-local"},
    {"-dpm", "data-parallel-multi-port-external-lb"},
    {"-dpn", "data-parallel-rank"},
    {"-dpp", "data-parallel-rpc-port"},
    {"-dpr", "data-parallel-start-rank"},
    {"-ep", "enable-expert-parallel"},
    {"-n", "nnodes"},
    {"-pcp", "prefill-context-parallel-size"},
    {"-pp", "pipeline-parallel-size"},
    {"-r", "node-rank"},
    {"-sc", "speculative-config"},
    {"-tp", "tensor-parallel-size"},
});

/// Throws unless the values ask for nothing.
void take_values(const VllmFlag& flag, std::string_view label, const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    if (!value.empty() && std::ranges::find(flag.idle, value) == flag.idle.end())
      app::fail_flag(label, "not supported: {} (got '{}')", flag.why, printable(value));
  }
}

void take_switch(const VllmFlag& flag, std::string_view label, bool is_on) {
  if (is_on) app::fail_flag(label, "not supported: {}", flag.why);
}

}  // namespace

void add_vllm_flags(CLI::App& command, std::vector<std::string>& ignored) {
  for (const VllmFlag& flag : app::vllm_flags()) {
    const std::string label = fmt::format("--{}", flag.name);
    const auto take = [&ignored, &flag, label](const std::vector<std::string>& values) {
      if (flag.why.empty())
        ignored.push_back(label);
      else
        take_values(flag, label, values);
    };
    if (flag.kind == VllmFlag::Kind::list) {
      command.add_option_function<std::vector<std::string>>(label, take)
          ->expected(1, -1)
          ->allow_extra_args()
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
          ->group("");
    } else if (flag.kind == VllmFlag::Kind::value) {
      command.add_option_function<std::string>(label, [take](const std::string& value) { take({value}); })->group("");
    } else {
      const auto take_count = [&ignored, &flag, label](int64_t n) {
        if (flag.why.empty())
          ignored.push_back(n < 0 ? fmt::format("--no-{}", flag.name) : label);
        else
          take_switch(flag, label, n > 0);
      };
      command.add_flag_function(fmt::format("--{},!--no-{}", flag.name, flag.name), take_count)->group("");
    }
  }
}

bool take_vllm_flag(std::string_view name, const std::vector<std::string>& values, std::string_view label,
                    std::vector<std::string>& ignored) {
  if (name == "weights-load-device") return true;  // one of the engine's flags that nobody needs to be told of
  const VllmFlag* flag = app::find_vllm_flag(name);
  const bool is_opposite = !flag && name.starts_with("no-");
  if (is_opposite) flag = app::find_vllm_flag(name.substr(3));
  if (!flag || (is_opposite && flag->kind != VllmFlag::Kind::toggle)) return false;
  if (flag->why.empty()) {
    ignored.emplace_back(name);
  } else if (flag->kind == VllmFlag::Kind::toggle) {
    bool is_on = false;
    app::set_from_text({}, label, values.empty() ? "" : values.front(), is_on);
    take_switch(*flag, label, is_on != is_opposite);
  } else {
    take_values(*flag, label, values);
  }
  return true;
}

std::string with_long_name(const std::string& argument) {
  const std::string_view text = argument;
  if (text.starts_with("-O") && text.size() > 2 && text[2] != '=' && text[2] != '.')  // its value follows at once
    return fmt::format("--optimization-level={}", text.substr(2));
  const size_t end = std::min(text.find_first_of("=."), text.size());
  const auto* const found = std::find_if(kLetters.begin(), kLetters.end(),
                                         [&](const auto& letters) { return letters.first == text.substr(0, end); });
  return found == kLetters.end() ? argument : fmt::format("--{}{}", found->second, text.substr(end));
}

}  // namespace packhorse::cli
