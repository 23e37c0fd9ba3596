#include "app/cli/serve_sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "app/cli/flags.h"
#include "app/cli/nearest.h"
#include "app/cli/vllm_flags.h"
#include "app/server/http/text.h"

namespace packhorse::cli {
namespace {

using app::Flag;
template <class Member>
constexpr bool kIsList = std::is_same_v<Member, std::vector<std::string>>;

/// An option of which each occurrence is one more value, or a JSON list of them; where no JSON is expected, each word
/// after it is one too.
void add_list(CLI::App& command, const Flag& flag, std::string_view group, std::vector<std::string>& member) {
  const auto take = [flag, &member](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) server::set_from_text(flag, flag.long_name(), text, member);
  };
  const bool takes_words = flag.metavar != "JSON";  // the parser would take a list of words apart
  command.add_option_function<std::vector<std::string>>(flag.long_name(), take, wrap_help(help_text(flag, member)))
      ->expected(1, takes_words ? -1 : 1)
      ->allow_extra_args(takes_words)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name(std::string(flag.metavar))
      ->group(std::string(group));
}

/// The flag that an entry is about: "no-x" and other names of vLLM's are for flags too.
std::string_view flag_of(const ConfigEntry& entry) {
  const std::string_view name = usual_name(entry.name);
  return name.starts_with("no-") ? name.substr(3) : name;
}

template <class Member>
void set_from_entry(const Flag& flag, std::string_view label, const ConfigEntry& entry, Member& member) {
  using Kind = ConfigEntry::Kind;
  if (entry.kind == Kind::nested_list) app::fail_flag(label, "a list of more than texts");
  if (entry.kind == Kind::mapping && flag.metavar != "JSON") app::fail_flag(label, "a mapping where one value belongs");
  if constexpr (kIsList<Member>) {
    for (const std::string& value : entry.values) server::set_from_text(flag, label, value, member);
  } else {
    if (entry.kind == Kind::list) app::fail_flag(label, "a list where one value belongs");
    std::string text = entry.values.front();
    if constexpr (std::is_same_v<Member, bool>) {
      for (char& c : text) c = server::ascii_lower(c);  // YAML knows True and TRUE too
    }
    app::set_from_text(flag, label, text, member);
  }
}

void set_from_environment(const Flag& flag, auto& member, std::initializer_list<std::string> variables) {
  for (const std::string& variable : variables) {
    const char* text = std::getenv(variable.c_str());
    if (text && *text) return server::set_from_text(flag, variable, text, member);
  }
}

}  // namespace

void ServeSettings::add_to(CLI::App& command) {
  command
      .add_option("MODEL,--model", engine.model,
                  wrap_help("model folder, .gguf file, repo id in the hub cache, or demo; also --model"))
      ->type_name("");
  add_value(command, "--config", "FILE", "YAML file of flags; the command line beats it, it beats the environment",
            [this](const std::string& text) { app::set_from_text({}, "--config", text, config); });
  server::visit_serve_flags(flags, [&](const Flag& flag, std::string_view group, auto& member) {
    if constexpr (kIsList<std::remove_reference_t<decltype(member)>>)
      add_list(command, flag, group, member);
    else
      add_flag(command, flag, member)->group(std::string(group));
  });
  add_engine_flags(command, engine);
  add_vllm_flags(command, ignored);
  command.add_option("--tokenizer-revision", tokenizer_revision)->group("");
}

void ServeSettings::finish(const CLI::App& command) {
  std::vector<ConfigEntry> entries;
  if (!config.empty()) entries = read_config_file(config);
  std::set<std::string, std::less<>> given;
  for (const ConfigEntry& entry : entries) {
    if (!given.emplace(flag_of(entry)).second)
      app::fail_flag(printable(config), "'{}' and another name of that flag", printable(entry.name));
    apply_entry(command, entry);
  }
  const auto is_given = [&](const Flag& flag) {
    return command.count(flag.long_name()) > 0 || given.find(flag.name) != given.end();
  };
  app::apply_environment(engine, is_given);
  server::visit_serve_flags(flags, [&](const Flag& flag, std::string_view, auto& member) {
    if (is_given(flag)) return;
    if (flag.name == "api-key")
      set_from_environment(flag, member, {flag.variable(), "VLLM_API_KEY"});
    else
      set_from_environment(flag, member, {flag.variable()});
  });
  if (!tokenizer_revision.empty() && tokenizer_revision != engine.revision) {
    app::fail_flag("--tokenizer-revision", "not supported unless equal to --revision (got '{}', --revision is '{}')",
                   printable(tokenizer_revision), printable(engine.revision));
  }
  app::check_supported(engine);
  if (engine.model.empty()) throw Error(ErrorKind::usage, "no MODEL given (--help tells more)");
}

void ServeSettings::apply_entry(const CLI::App& command, const ConfigEntry& entry) {
  const std::string label = fmt::format("{}: {}", printable(config), printable(entry.name));
  const std::string_view name = usual_name(entry.name);
  std::vector<std::string> known = {"model"};
  bool is_found = false;
  const auto take = [&](const Flag& flag, auto& member) {
    known.emplace_back(flag.name);
    constexpr bool is_switch = std::is_same_v<decltype(member), bool&>;
    const bool is_opposite = is_switch && name.starts_with("no-") && name.substr(3) == flag.name;
    if (flag.name != name && !is_opposite) return;
    is_found = true;
    if (command.count(flag.long_name()) > 0) return;
    set_from_entry(flag, label, entry, member);
    if constexpr (is_switch) member = member != is_opposite;
  };
  app::visit_flags(engine, take);
  take(Flag{"tokenizer-revision"}, tokenizer_revision);
  server::visit_serve_flags(flags, [&](const Flag& flag, std::string_view, auto& member) { take(flag, member); });
  if (name == "model") {
    is_found = true;
    if (engine.model.empty()) set_from_entry(Flag{}, label, entry, engine.model);
  }
  if (is_found || take_vllm_flag(name, entry.values, label, ignored)) return;
  const std::string nearest = nearest_word(flag_of(entry), known);
  throw Error(ErrorKind::usage,
              fmt::format("{}: unknown flag ({})", label,
                          nearest.empty() ? "see packhorse serve --help" : fmt::format("did you mean '{}'?", nearest)));
}

}  // namespace packhorse::cli
