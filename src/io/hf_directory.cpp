#include "io/hf_directory.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "io/gguf.h"
#include "io/hf_shards.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfigName = "config.json";
constexpr uint64_t kMaxJsonBytes = uint64_t{64} << 20;
constexpr size_t kMaxPathShown = 1024;

/// Names in the folder, sorted by kind. Hidden files (such as macOS' ._name) do not count.
struct Listing {
  std::vector<std::string> safetensors, ggufs, pickles;
  bool has_config = false, has_index = false;
};

Listing list_directory(const std::string& path) {
  std::error_code error;
  Listing found;
  fs::directory_iterator entries(path, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    const std::string extension = entries->path().extension().string();
    if (name.starts_with('.')) continue;
    if (name == kConfigName) found.has_config = true;
    if (name == kIndexName) found.has_index = true;
    if (extension == ".safetensors") found.safetensors.push_back(name);
    if (extension == ".gguf") found.ggufs.push_back(name);
    if (extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt") {
      found.pickles.push_back(name);
    }
  }
  if (error) fail(ErrorKind::io, "{}: cannot list the folder: {}", printable(path, kMaxPathShown), error.message());
  std::sort(found.safetensors.begin(), found.safetensors.end());
  std::sort(found.ggufs.begin(), found.ggufs.end());
  std::sort(found.pickles.begin(), found.pickles.end());
  return found;
}

std::string join_names(const std::vector<std::string>& names) {
  constexpr size_t kMaxShown = 5;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMaxShown); ++i) text += (i > 0 ? ", " : "") + printable(names[i]);
  return names.size() > kMaxShown ? fmt::format("{} and {} more", text, names.size() - kMaxShown) : text;
}

/// The one model among the .gguf files: a single file, or the first part of a complete split set.
std::string choose_gguf(const std::string& path, std::vector<std::string> names) {
  const auto is_sidecar = [](const std::string& name) {
    return name.starts_with("mmproj-") || name.starts_with("mtp-");
  };
  std::vector<std::string> models;
  std::remove_copy_if(names.begin(), names.end(), std::back_inserter(models), is_sidecar);
  if (models.empty()) models = names;
  const GgufSplitName first = parse_gguf_split_name(models[0]);
  bool one_set = models.size() == first.count;
  for (const std::string& name : models) {
    const GgufSplitName part = parse_gguf_split_name(name);
    one_set = one_set && part.base == first.base && part.count == first.count;
  }
  if (models.size() > 1 && !one_set) {
    fail_model("{}: {} .gguf files that are not one complete split set; open one by its path ({})",
               printable(path, kMaxPathShown), models.size(), join_names(models));
  }
  return fmt::format("{}/{}", path, models[0]);
}

[[noreturn]] void fail_no_model(const std::string& path, const Listing& found) {
  const std::string shown = printable(path, kMaxPathShown);
  if (!found.safetensors.empty() || found.has_index) {
    fail_model("{}: no config.json beside {}", shown, found.has_index ? kIndexName : join_names(found.safetensors));
  }
  if (!found.pickles.empty()) {
    fail_model("{}: pickle checkpoints are not loaded; convert to safetensors ({})", shown, join_names(found.pickles));
  }
  fail_model("{}: no model in this folder (looked for config.json, {}, *.safetensors, *.gguf; found {})", shown,
             kIndexName, found.has_config ? "config.json only" : "none of them");
}

}  // namespace

std::string read_json_text(const std::string& path) { return File(path).read_all(kMaxJsonBytes); }

Json read_json_object(const std::string& path) {
  const File file(path);
  Json json = parse_json(file.read_all(kMaxJsonBytes), file.name());
  if (!json.is_object()) fail_model("{}: expected an object (got {})", printable(file.name()), preview(json));
  return json;
}

void open_hf_directory(const std::string& path, CheckpointView& view) {
  const Listing found = list_directory(path);
  const bool has_safetensors = found.has_index || !found.safetensors.empty();
  if (!found.has_config || !has_safetensors) {
    if (found.ggufs.empty()) fail_no_model(path, found);
    open_gguf(choose_gguf(path, found.ggufs), view);
    return;
  }
  view.config = read_json_object(fmt::format("{}/{}", path, kConfigName));
  find_quantization_config(path, view);
  for (const std::string_view key : {"auto_map", "trust_remote_code", "custom_pipeline"}) {
    if (find_member(view.config, key)) {
      view.notes.push_back(fmt::format("{}: {}: ignored, code of a checkpoint never runs", kConfigName, key));
      break;
    }
  }
  if (found.has_index) {
    load_indexed_shards(path, view);
  } else {
    load_all_safetensors(path, found.safetensors, view);
  }
}

}  // namespace packhorse
