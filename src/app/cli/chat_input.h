#pragma once
// What is typed into a chat: lines put together to messages, and messages that are commands.

#include <optional>
#include <string>
#include <string_view>

namespace packhorse::cli {

/// `literal` was written between triple quotes and is never a command.
struct Message {
  std::string text;
  bool literal = false;
};

/// Puts lines together. A line that ends with a backslash goes on in the next one; from """ at the beginning of a
/// message all lines belong to it up to one that ends with """. A "line" that itself has line breaks (a paste) is one
/// message.
class MessageLines {
 public:
  /// Takes a line without its end; returns the message that it completes.
  std::optional<Message> add(std::string_view line);
  /// What was begun and never completed, at the end of the input. Throws Error{usage} within triple quotes.
  std::optional<Message> finish();

  bool is_partial() const { return has_lines_; }
  void clear() { *this = {}; }

 private:
  void append(std::string_view text);
  Message take();

  std::string text_;
  bool has_lines_ = false, in_quotes_ = false;
};

/// The message as one that can be typed again: what was literal stays so.
std::string retyped(const Message& message);
bool is_blank(const Message& message);

enum class CommandName { help, system, clear, stats, exit };
struct ChatCommand {
  CommandName name;
  std::string argument;
};

/// Nothing for a message that does not begin with a slash. Throws Error{usage} for a command that does not exist,
/// naming the nearest, and for an argument that a command does not take.
std::optional<ChatCommand> parse_command(const Message& message);

/// What /help shows: commands and keys, one line each.
std::string help_text();

}  // namespace packhorse::cli
