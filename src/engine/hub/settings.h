#pragma once
// Where the hub is and where its cache lies: huggingface_hub's variables, below our own options.

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "engine/hub/url.h"
#include "packhorse/packhorse.h"

namespace packhorse::hub {

struct Settings {
  Url endpoint;
  std::string token;  // empty = none
  std::filesystem::path cache;
  std::string revision = "main";
  bool offline = false;
  std::chrono::milliseconds timeout{10'000};     // for the next byte
  std::chrono::milliseconds retry_delay{1'000};  // doubles with each attempt
  ProgressFn on_progress;
};

/// Throws Error{usage} for values that cannot be.
Settings settings_from(const EngineOptions& options);

/// One part of a repo id or of a revision: the hub's alphabet, so it cannot lead out of the cache.
bool is_plain_name(std::string_view text);

}  // namespace packhorse::hub
