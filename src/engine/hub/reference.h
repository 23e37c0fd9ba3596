#pragma once
// How users name what lies in a repo of the hub.

#include <optional>
#include <string>
#include <string_view>

namespace packhorse::hub {

/// "org/name", "org/name:Q4_K_M" or "org/name/folder/file.gguf".
struct Reference {
  std::string repo;
  std::string tag;   // quantization of a GGUF repo
  std::string file;  // path in the repo

  /// As the user writes it.
  std::string text() const;
};

/// Nothing for what is none of these forms.
std::optional<Reference> parse_reference(std::string_view text);

/// A path that stays inside the folder it is appended to, and that every file system and log can take.
bool is_safe_relative_path(std::string_view path);

}  // namespace packhorse::hub
