#include "io/hf_shards.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "io/hf_directory.h"
#include "io/safetensors.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".safetensors";

/// Opens a file and appends it to the view; its tensors are returned.
TensorMap add_file(const std::string& path, CheckpointView& view) {
  File file(path);
  SafetensorsHeader header = read_safetensors_header(file);
  for (auto& [name, tensor] : header.tensors) tensor.file = static_cast<uint32_t>(view.files.size());
  view.files.push_back(std::move(file));
  view.file_metadata.push_back(std::move(header.metadata));
  return std::move(header.tensors);
}

/// An index comes with the model and must not reach out of its folder, neither by name nor by a link. A hub cache links
/// snapshots/<revision>/name to blobs/<hash> of the same repository.
void check_shard_name(const std::string& directory, const std::string& tensor, const std::string& shard) {
  const auto fail_name = [&](std::string_view why) {
    fail_model("{}: tensor '{}': shard name must be a plain file name{} (got '{}')", kIndexName, printable(tensor), why,
               printable(shard));
  };
  const bool plain = shard.find_first_of(std::string_view("/\\\0", 3)) == shard.npos && !shard.starts_with('.');
  if (!plain || !std::string_view(shard).ends_with(kSuffix)) fail_name(" ending in .safetensors");
  std::error_code error;
  const fs::path path = fs::path(directory) / shard;
  if (!fs::is_symlink(path, error)) return;
  const fs::path folder = fs::canonical(directory, error);
  const fs::path target = fs::weakly_canonical(path, error).parent_path();
  const bool in_hub_cache = folder.parent_path().filename() == "snapshots";
  const bool inside = target == folder || (in_hub_cache && target == folder.parent_path().parent_path() / "blobs");
  if (error || !inside) fail_name(", and no link out of the folder");
}

/// {tensor name: shard} of the index.
std::map<std::string, std::string> read_weight_map(const std::string& directory) {
  const Json index = read_json_object(fmt::format("{}/{}", directory, kIndexName));
  const Json* weight_map = find_member(index, "weight_map");
  if (!weight_map || !weight_map->is_object() || weight_map->empty()) {
    fail_model("{}: weight_map: expected an object of tensor names and files", kIndexName);
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [tensor, shard] : weight_map->items()) {
    if (!shard.is_string()) {
      fail_model("{}: tensor '{}': expected a file name (got {})", kIndexName, printable(tensor), preview(shard));
    }
    shard_of.emplace_hint(shard_of.end(), tensor, shard.get<std::string>());
  }
  return shard_of;
}

/// Takes what the index expects of one shard, and what no index entry is about.
void merge_shard(const std::string& shard, TensorMap&& tensors, const std::map<std::string, std::string>& shard_of,
                 CheckpointView& view) {
  std::string first_odd;
  uint64_t n_odd = 0;
  for (auto& [name, tensor] : tensors) {
    const auto entry = shard_of.find(name);
    const bool expected = entry != shard_of.end() && entry->second == shard;
    if (!expected && n_odd++ == 0) first_odd = name;
    if (expected || entry == shard_of.end()) {
      if (!view.tensors.try_emplace(name, std::move(tensor)).second) {
        fail_model("{}: tensor '{}' is in another shard too", printable(shard), printable(name));
      }
    }
  }
  if (n_odd > 0) {
    view.notes.push_back(fmt::format("{}: {} tensors that {} does not expect there, first '{}'", printable(shard),
                                     n_odd, kIndexName, printable(first_odd)));
  }
}

}  // namespace

void load_indexed_shards(const std::string& directory, CheckpointView& view) {
  const auto shard_of = read_weight_map(directory);
  std::map<std::string, std::string> shards;  // and a tensor of each, for messages
  for (const auto& [tensor, shard] : shard_of) shards.try_emplace(shard, tensor);
  for (const auto& [shard, tensor] : shards) check_shard_name(directory, tensor, shard);
  for (const auto& [shard, tensor] : shards) {
    const std::string path = fmt::format("{}/{}", directory, shard);
    std::error_code error;
    if (!fs::exists(path, error)) {
      fail_model("{}: tensor '{}': shard '{}' is missing", kIndexName, printable(tensor), printable(shard));
    }
    merge_shard(shard, add_file(path, view), shard_of, view);
  }
  for (const auto& [tensor, shard] : shard_of) {
    if (!view.find(tensor)) {
      fail_model("{}: tensor '{}' is missing, {} says it is there", printable(shard), printable(tensor), kIndexName);
    }
  }
}

void load_all_safetensors(const std::string& directory, const std::vector<std::string>& file_names,
                          CheckpointView& view) {
  // A model in one file has this name, and what stands beside it is something else.
  constexpr std::string_view kWhole = "model.safetensors";
  if (file_names.size() > 1 && std::ranges::find(file_names, kWhole) != file_names.end()) {
    return load_all_safetensors(directory, {std::string(kWhole)}, view);
  }
  // Mistral's own layout may stand beside the same weights in Hugging Face's.
  const auto starts_with = [](std::string_view prefix) {
    return [prefix](const std::string& name) { return name.starts_with(prefix); };
  };
  const bool skip_consolidated = std::any_of(file_names.begin(), file_names.end(), starts_with("model"));
  for (const std::string& name : file_names) {
    if (skip_consolidated && name.starts_with("consolidated")) {
      view.notes.push_back(fmt::format("{}: ignored, model*.safetensors holds the weights", printable(name)));
      continue;
    }
    for (auto& [tensor, place] : add_file(fmt::format("{}/{}", directory, name), view)) {
      const auto [entry, is_new] = view.tensors.try_emplace(tensor, std::move(place));
      if (!is_new) {
        fail_model("{}: tensor '{}' is in {} too", printable(name), printable(tensor),
                   printable(view.files[entry->second.file].name()));
      }
    }
  }
}

}  // namespace packhorse
