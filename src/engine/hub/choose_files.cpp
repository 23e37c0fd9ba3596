#include "engine/hub/choose_files.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "io/gguf.h"
#include "io/hf_directory.h"
#include "io/hf_shards.h"

namespace packhorse::hub {
namespace {

constexpr std::string_view kDefaultTag = "Q4_K_M";

using Paths = std::vector<std::string>;

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string join_paths(const Paths& paths) {
  constexpr size_t kMaxShown = 20;
  std::string text;
  for (size_t i = 0; i < std::min(paths.size(), kMaxShown); ++i) text += (i > 0 ? ", " : "") + printable(paths[i], 160);
  return paths.size() > kMaxShown ? fmt::format("{} and {} more", text, paths.size() - kMaxShown) : text;
}

bool is_small_file(std::string_view path, Need need) {
  if (path.find('/') != path.npos || path.starts_with('.')) return false;
  if (path == "tokenizer.model" || path == "merges.txt" || path.ends_with(".jinja")) return true;
  if (!path.ends_with(".json") || path.ends_with(".bin.index.json") || path.starts_with("consolidated")) return false;
  return need == Need::model || !path.ends_with(".safetensors.index.json");
}

/// Of a split set the first part, whether it is there or not.
std::string first_file(std::string_view path) {
  GgufSplitName name = parse_gguf_split_name(path);
  name.part = 1;
  return name.count == 1 ? std::string(path) : format_gguf_split_name(name);
}

/// {file to open: numbers of the parts that are there}; projectors and the like are left out.
std::map<std::string, std::set<uint64_t>> find_gguf_models(const Paths& paths) {
  std::map<std::string, std::set<uint64_t>> parts_of;
  for (const std::string& path : paths) {
    const std::string_view name = file_name(path);
    if (!path.ends_with(".gguf") || name.starts_with("mmproj-") || name.starts_with("mtp-")) continue;
    parts_of[first_file(path)].insert(parse_gguf_split_name(path).part);
  }
  return parts_of;
}

/// Does the name hold the quantization as a word of its own: Q4_K in "a-Q4_K.gguf", not in "a-Q4_K_M.gguf"?
bool has_tag(std::string_view path, std::string_view tag) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  const auto is_word = [&](char c) { return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z'); };
  const auto same = [&](char a, char b) { return lower(a) == lower(b); };
  const std::string stem = parse_gguf_split_name(path).base;
  for (auto at = stem.begin();; ++at) {
    at = std::search(at, stem.end(), tag.begin(), tag.end(), same);
    if (at == stem.end()) return false;
    const auto end = at + static_cast<std::ptrdiff_t>(tag.size());
    const bool begins = at == stem.begin() || !is_word(at[-1]);
    if (begins && (end == stem.end() || (!is_word(*end) && *end != '_'))) return true;
  }
}

Paths with_tag(const Paths& models, std::string_view tag) {
  Paths found;
  std::copy_if(models.begin(), models.end(), std::back_inserter(found),
               [&](const std::string& path) { return has_tag(path, tag); });
  return found;
}

/// The file to open.
std::string choose_gguf(const Reference& reference, const Paths& models) {
  const std::string name = printable(reference.text(), 200);
  if (models.empty()) fail_model("'{}': the repo has no .gguf file", name);
  if (!reference.file.empty()) {
    const std::string first = first_file(reference.file);
    if (std::find(models.begin(), models.end(), first) != models.end()) return first;
    fail_model("'{}': no such file in the repo (there are {})", name, join_paths(models));
  }
  Paths found = with_tag(models, reference.tag.empty() ? kDefaultTag : std::string_view(reference.tag));
  if (found.empty() && reference.tag.empty()) found = models;
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    fail_model("'{}': no .gguf file of that quantization in the repo (there are {})", name, join_paths(models));
  }
  fail_model("'{}': {} .gguf files fit; name one as '{}:TAG' or by its path, '{}/FILE.gguf' (there are {})", name,
             found.size(), reference.repo, reference.repo, join_paths(found));
}

FileChoice choose_gguf_files(const Reference& reference, const Paths& paths) {
  const auto parts_of = find_gguf_models(paths);
  Paths models;
  for (const auto& entry : parts_of) models.push_back(entry.first);
  FileChoice choice;
  choice.gguf = choose_gguf(reference, models);
  choice.is_default_gguf = reference.tag.empty() && reference.file.empty();
  GgufSplitName part = parse_gguf_split_name(choice.gguf);
  if (part.count == 1) {
    choice.weights = {choice.gguf};
    return choice;
  }
  const std::set<uint64_t>& parts = parts_of.at(choice.gguf);
  if (parts.size() != part.count) {
    fail_model("'{}': the repo has {} of the {} parts of '{}'", printable(reference.text(), 200), parts.size(),
               part.count, printable(choice.gguf, 160));
  }
  for (; part.part <= part.count; ++part.part) choice.weights.push_back(format_gguf_split_name(part));
  return choice;
}

/// The .safetensors files beside config.json, without those that hold the same weights in Mistral's own layout.
Paths find_safetensors(const Paths& paths) {
  Paths found;
  std::copy_if(paths.begin(), paths.end(), std::back_inserter(found), [](const std::string& path) {
    return path.ends_with(".safetensors") && path.find('/') == path.npos && !path.starts_with('.');
  });
  const auto begins_with = [](std::string_view prefix) {
    return [prefix](const std::string& path) { return path.starts_with(prefix); };
  };
  if (std::any_of(found.begin(), found.end(), begins_with("model"))) std::erase_if(found, begins_with("consolidated"));
  return found;
}

[[noreturn]] void fail_no_weights(const Reference& reference, const Paths& paths) {
  Paths pickles;
  std::copy_if(paths.begin(), paths.end(), std::back_inserter(pickles), [](const std::string& path) {
    return path.ends_with(".bin") || path.ends_with(".pt") || path.ends_with(".pth") || path.ends_with(".ckpt");
  });
  if (pickles.empty()) fail_model("'{}': the repo has neither .safetensors nor .gguf files", reference.repo);
  fail_model("'{}': pickle checkpoints are not loaded; the repo has no .safetensors and no .gguf file ({})",
             reference.repo, join_paths(pickles));
}

}  // namespace

FileChoice choose_files(const Reference& reference, Need need, const Paths& paths) {
  const auto has = [&](std::string_view path) { return std::find(paths.begin(), paths.end(), path) != paths.end(); };
  FileChoice choice;
  for (const std::string& path : paths) {
    if (is_small_file(path, need)) choice.small.push_back(path);
  }
  const bool names_weights = !reference.tag.empty() || !reference.file.empty();
  if (need == Need::tokenizer || (need == Need::text && !names_weights)) {
    if (has("tokenizer.json") || has("tokenizer.model")) return choice;
    if (need == Need::text && !find_gguf_models(paths).empty()) return choose_gguf_files(reference, paths);
    fail_model("'{}': the repo has neither tokenizer.json nor tokenizer.model", reference.repo);
  }
  if (names_weights) return choose_gguf_files(reference, paths);
  choice.weights = find_safetensors(paths);
  if (!choice.weights.empty() && has("config.json")) {
    if (has(kIndexName)) {
      choice.index = kIndexName;
      choice.weights.clear();
    }
    return choice;
  }
  if (!find_gguf_models(paths).empty()) return choose_gguf_files(reference, paths);
  if (!choice.weights.empty()) {
    fail_model("'{}': the repo has no config.json beside {}", reference.repo, join_paths(choice.weights));
  }
  fail_no_weights(reference, paths);
}

std::vector<std::string> shards_of_index(const std::string& path) {
  const Json index = read_json_object(path);
  const Json* weight_map = find_member(index, "weight_map");
  std::set<std::string> shards;
  if (weight_map && weight_map->is_object()) {
    for (const Json& shard : *weight_map) {
      if (shard.is_string()) shards.insert(shard.get<std::string>());
    }
  }
  for (const std::string& shard : shards) {
    if (!is_safe_relative_path(shard) || !shard.ends_with(".safetensors")) {
      fail_model("{}: shard name must be a plain file name ending in .safetensors (got '{}')", kIndexName,
                 printable(shard));
    }
  }
  if (shards.empty()) fail_model("{}: weight_map: expected an object of tensor names and files", kIndexName);
  return {shards.begin(), shards.end()};
}

}  // namespace packhorse::hub
