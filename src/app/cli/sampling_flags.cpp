#include "app/cli/sampling_flags.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "app/cli/flags.h"

namespace packhorse::cli {
namespace {

using nlohmann::json;
constexpr const char* kGroup = "Sampling";

/// Any finite number: the ranges are SamplingParams' own to check.
constexpr double kAnyNumber = 1e15;
constexpr app::Flag kTokenId{.min = 0, .max = INT32_MAX};

template <class Number>
void add_number(CLI::App& command, const std::string& name, std::string_view metavar, std::string_view help,
                std::optional<Number>& member) {
  add_value(command, name, metavar, help, [name, &member](const std::string& text) {
    app::set_from_text({.min = -kAnyNumber, .max = kAnyNumber}, name, text, member.emplace());
  })->group(kGroup);
}

void add_texts(CLI::App& command, const std::string& name, const std::string& help, std::vector<std::string>& member) {
  command.add_option(name, member, help)
      ->type_name("TEXT")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group(kGroup);
}

/// An option that may be repeated; `add` takes one text.
void add_repeated(CLI::App& command, const std::string& name, std::string_view metavar, std::string_view help,
                  std::function<void(const std::string&)> add) {
  command
      .add_option_function<std::vector<std::string>>(
          name,
          [add = std::move(add)](const std::vector<std::string>& texts) {
            for (const std::string& text : texts) add(text);
          },
          wrap_help(help))
      ->type_name(std::string(metavar))
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group(kGroup);
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  return parts;
}

int64_t token_id(const char* option, const std::string& text) {
  int64_t id = 0;
  app::set_from_text(kTokenId, option, text, id);
  return id;
}

/// "15043:-100", several of them with commas between, or {"15043": -100}.
void add_biases(const std::string& text, std::map<int64_t, double>& biases) {
  constexpr const char* kOption = "--logit-bias";
  if (text.starts_with('{')) {
    const json object = json::parse(text, nullptr, false);
    if (!object.is_object()) app::fail_flag(kOption, "not a JSON object (got '{}')", printable(text));
    for (const auto& [key, bias] : object.items()) {
      if (!bias.is_number())
        app::fail_flag(kOption, "not a number for '{}' (got {})", printable(key), printable(bias.dump()));
      biases[token_id(kOption, key)] = bias.get<double>();
    }
    return;
  }
  for (const std::string& part : split_at_commas(text)) {
    const size_t colon = part.find(':');
    if (colon == part.npos) app::fail_flag(kOption, "not ID:BIAS (got '{}')", printable(part));
    const int64_t id = token_id(kOption, part.substr(0, colon));
    app::set_from_text({.min = -kAnyNumber, .max = kAnyNumber}, kOption, part.substr(colon + 1), biases[id]);
  }
}

}  // namespace

void SamplingFlags::add_to(CLI::App& command) {
  add_number(command, "--temperature", "T", "0 always takes the most likely token [default: the model's, or 1]",
             temperature);
  add_number(command, "--top-p", "P", "only the likeliest tokens that sum up to P [default: the model's, or 1]", top_p);
  add_number(command, "--top-k", "K", "only the K likeliest tokens, 0 is all [default: the model's, or 0]", top_k);
  add_number(command, "--min-p", "P", "only tokens at least P times as likely as the best [default: the model's, or 0]",
             min_p);
  add_number(command, "--repetition-penalty", "X",
             "above 1: tokens of prompt and answer become less likely [default: the model's, or 1]",
             repetition_penalty);
  add_number(command, "--presence-penalty", "X", "lowers the logit of tokens that the answer has [default: 0]",
             presence_penalty);
  add_number(command, "--frequency-penalty", "X", "the same for each time that it has them [default: 0]",
             frequency_penalty);
  add_repeated(command, "--logit-bias", "ID:BIAS",
               "added to the logit of a token, from -100 to 100; several with commas between, or a JSON object",
               [this](const std::string& text) { add_biases(text, logit_bias); });
  add_repeated(command, "--allowed-token-ids", "ID,...", "the only tokens to choose from",
               [this](const std::string& text) {
                 if (!allowed_token_ids) allowed_token_ids.emplace();
                 for (const std::string& part : split_at_commas(text)) {
                   allowed_token_ids->push_back(token_id("--allowed-token-ids", part));
                 }
               });
  add_texts(command, "--bad-words", "never write this text; may be repeated", bad_words);
  add_number(command, "--n", "N", "answers to one prompt [default: 1]", n);
  add_number(command, "--max-tokens", "N", "length of the answer [default: up to the context]", max_tokens);
  add_texts(command, "--stop", "end before this text; may be repeated", stop);
}

SamplingParams SamplingFlags::over(SamplingParams params) const {
  params.temperature = temperature.value_or(params.temperature);
  params.top_p = top_p.value_or(params.top_p);
  params.min_p = min_p.value_or(params.min_p);
  params.top_k = top_k.value_or(params.top_k);
  params.repetition_penalty = repetition_penalty.value_or(params.repetition_penalty);
  params.presence_penalty = presence_penalty.value_or(params.presence_penalty);
  params.frequency_penalty = frequency_penalty.value_or(params.frequency_penalty);
  params.n = n.value_or(params.n);
  params.max_tokens = max_tokens;
  params.stop = stop;
  params.logit_bias = logit_bias;
  params.allowed_token_ids = allowed_token_ids;
  params.bad_words = bad_words;
  params.validate_and_normalize();
  return params;
}

}  // namespace packhorse::cli
