#include "app/cli/chat_input.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "app/cli/nearest.h"
#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

constexpr std::string_view kQuotes = "\"\"\"", kSpace = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpace);
  return first == text.npos ? "" : text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// Without the first and the last line where these are blank: the quotes stood alone on them.
std::string without_blank_edges(std::string_view text) {
  if (const size_t first = text.find('\n'); first != text.npos && trimmed(text.substr(0, first)).empty())
    text.remove_prefix(first + 1);
  if (const size_t last = text.rfind('\n'); last != text.npos && trimmed(text.substr(last)).empty())
    text = text.substr(0, last);
  return std::string(text);
}

struct CommandRow {
  CommandName id;
  std::string_view name, argument, help;
};
constexpr CommandRow kCommands[] = {
    {CommandName::help, "/help", "", "show this list"},
    {CommandName::system, "/system", "[TEXT]", "show the system message, or set it (\"\" removes it)"},
    {CommandName::clear, "/clear", "", "forget what was said; the system message stays"},
    {CommandName::stats, "/stats", "[on|off]", "speed and token counts of the last answer, or of every one"},
    {CommandName::exit, "/exit", "", "leave, as Ctrl-D does"},
};

const CommandRow& find_command(std::string_view name) {
  std::vector<std::string> names;
  for (const CommandRow& row : kCommands) {
    if (row.name == name) return row;
    names.emplace_back(row.name);
  }
  const std::string nearest = nearest_word(name, names);
  throw Error(ErrorKind::usage,
              fmt::format("unknown command '{}' ({}; a line that begins with a space is sent as it is)",
                          printable(name, 40), nearest.empty() ? "/help lists them" : "did you mean " + nearest + "?"));
}

}  // namespace

void MessageLines::append(std::string_view text) {
  if (std::exchange(has_lines_, true)) text_.push_back('\n');
  text_.append(text);
}

Message MessageLines::take() {
  Message message{.text = in_quotes_ ? without_blank_edges(text_) : std::move(text_), .literal = in_quotes_};
  clear();
  return message;
}

std::optional<Message> MessageLines::add(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  if (!has_lines_ && trimmed(line).starts_with(kQuotes)) {
    in_quotes_ = true;
    line.remove_prefix(line.find(kQuotes) + kQuotes.size());
  }
  bool is_last = false;
  if (in_quotes_) {
    is_last = trimmed(line).ends_with(kQuotes);
    if (is_last) line = line.substr(0, line.rfind(kQuotes));
  } else {
    is_last = !line.ends_with('\\');
    if (!is_last) line.remove_suffix(1);
  }
  append(line);
  return is_last ? std::optional(take()) : std::nullopt;
}

std::optional<Message> MessageLines::finish() {
  if (in_quotes_) throw Error(ErrorKind::usage, "the input ends before the closing \"\"\" of a message");
  return has_lines_ ? std::optional(take()) : std::nullopt;
}

std::string retyped(const Message& message) {
  return message.literal ? fmt::format("{0}{1}{0}", kQuotes, message.text) : message.text;
}

bool is_blank(const Message& message) { return trimmed(message.text).empty(); }

std::optional<ChatCommand> parse_command(const Message& message) {
  if (message.literal || !message.text.starts_with('/')) return std::nullopt;
  const std::string_view text = message.text;
  const size_t end = std::min(text.find_first_of(kSpace), text.size());
  const CommandRow& row = find_command(text.substr(0, end));
  const std::string_view argument = trimmed(text.substr(end));
  const bool is_switch = argument.empty() || argument == "on" || argument == "off";
  if ((row.argument.empty() && !argument.empty()) || (row.id == CommandName::stats && !is_switch)) {
    throw Error(ErrorKind::usage, fmt::format("{} takes {} (got '{}')", row.name,
                                              row.argument.empty() ? "no argument" : "on or off", printable(argument)));
  }
  return ChatCommand{row.id, std::string(argument)};
}

std::string help_text() {
  std::string text;
  const auto add = [&](std::string_view what, std::string_view help) {
    text += fmt::format("  {:<17} {}\n", what, help);
  };
  for (const CommandRow& row : kCommands) add(fmt::format("{} {}", row.name, row.argument), row.help);
  add("\\ at a line's end", "the message goes on in the next line");
  add("\"\"\" TEXT \"\"\"", "a message of many lines; a paste of many lines is one message as well");
  add("Ctrl-C", "stop the answer, or clear the line; twice in a row leaves");
  return text;
}

}  // namespace packhorse::cli
