#include "app/cli/sampling_flags.h"

#include "app/cli/flags.h"

namespace packhorse::cli {
namespace {

/// Any finite number: the ranges are SamplingParams' own to check.
constexpr double kAnyNumber = 1e15;

template <class Number>
void add_number(CLI::App& command, const std::string& name, std::string_view metavar, std::string_view help,
                std::optional<Number>& member) {
  add_value(command, name, metavar, help, [name, &member](const std::string& text) {
    app::set_from_text({.min = -kAnyNumber, .max = kAnyNumber}, name, text, member.emplace());
  })->group("Sampling");
}

}  // namespace

void SamplingFlags::add_to(CLI::App& command) {
  add_number(command, "--temperature", "T", "0 always takes the most likely token [default: the model's, or 1]",
             temperature);
  add_number(command, "--top-p", "P", "only the likeliest tokens that sum up to P [default: the model's, or 1]", top_p);
  add_number(command, "--top-k", "K", "only the K likeliest tokens, 0 is all [default: the model's, or 0]", top_k);
  add_number(command, "--min-p", "P", "only tokens at least P times as likely as the best [default: the model's, or 0]",
             min_p);
  add_number(command, "--max-tokens", "N", "length of the answer [default: up to the context]", max_tokens);
  command.add_option("--stop", stop, "end before this text; may be repeated")
      ->type_name("TEXT")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Sampling");
}

SamplingParams SamplingFlags::over(SamplingParams params) const {
  params.temperature = temperature.value_or(params.temperature);
  params.top_p = top_p.value_or(params.top_p);
  params.min_p = min_p.value_or(params.min_p);
  params.top_k = top_k.value_or(params.top_k);
  params.max_tokens = max_tokens;
  params.stop = stop;
  params.validate_and_normalize();
  return params;
}

}  // namespace packhorse::cli
