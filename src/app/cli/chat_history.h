#pragma once
// What was typed into chats, kept in a file from one to the next.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace packhorse::cli {

/// A JSON string per line, readable by the user alone. Programs that run at the same time may share the file: each line
/// is appended by one write. Beyond kMaxFileBytes the older half is dropped.
class ChatHistory {
 public:
  static constexpr size_t kMaxEntries = 1000, kMaxEntryBytes = 16 << 10, kMaxFileBytes = 1 << 20;

  /// Makes the file and its folder where they are missing. Throws Error{io}.
  explicit ChatHistory(std::string path);

  /// The newest kMaxEntries, oldest first; lines that are no JSON string are passed over.
  std::vector<std::string> load() const;
  /// Longer entries than kMaxEntryBytes are not kept. Throws Error{io}.
  void add(std::string_view entry);

  /// $XDG_STATE_HOME/packhorse/chat_history, by default in ~/.local/state; empty without a home.
  static std::string default_path();

 private:
  std::string read_newest(size_t n_bytes) const;
  void drop_older_half() const;

  std::string path_;
};

}  // namespace packhorse::cli
