// Which GGUF files make up a model: kinds of files, and split sets.

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/error.h"
#include "io/gguf.h"

namespace packhorse {
namespace {

constexpr std::string_view kSuffix = ".gguf";
constexpr std::string_view kOf = "-of-";
constexpr size_t kDigits = 5;

/// Value of a key as an unsigned integer, `otherwise` when the key is missing.
uint64_t unsigned_key(const Json& metadata, std::string_view key, const File& file, uint64_t otherwise) {
  const Json* value = find_member(metadata, key);
  return value ? require_unsigned(*value, fmt::format("{}: key '{}'", printable(file.name()), key)) : otherwise;
}

/// The keys of a part must agree with its name. Files that were merged from parts count 0.
void check_split_keys(const Json& metadata, const File& file, const GgufSplitName& name) {
  const uint64_t count = std::max<uint64_t>(unsigned_key(metadata, "split.count", file, 1), 1);
  const uint64_t number = unsigned_key(metadata, "split.no", file, 0);
  if (count != name.count || number != name.part - 1) {
    fail_model("{}: keys 'split.no' {} and 'split.count' {} disagree with the file's name: part {} of {}",
               printable(file.name()), number, count, name.part, name.count);
  }
}

/// Adapters, projectors and the like are GGUF files too.
void check_is_model(const Json& metadata, const File& file) {
  const auto text = [&](std::string_view key) {
    const Json* value = find_member(metadata, key);
    return value && value->is_string() ? value->get<std::string>() : std::string();
  };
  const std::string type = text("general.type");
  if (!type.empty() && type != "model") {
    const std::string_view what = type == "adapter" ? "an adapter" : type == "mmproj" ? "a projector" : "not a model";
    fail_model("{}: this file is {} (general.type = {})", printable(file.name()), what, printable(type));
  }
  if (const std::string adapter = text("adapter.type"); !adapter.empty()) {
    fail_model("{}: this file is an adapter (adapter.type = {})", printable(file.name()), printable(adapter));
  }
  if (text("general.architecture") == "clip") {
    fail_model("{}: this file is a projector (general.architecture = clip)", printable(file.name()));
  }
}

void add_tensors(TensorMap&& tensors, File&& file, CheckpointView& view) {
  const auto index = static_cast<uint32_t>(view.files.size());
  for (auto& [name, tensor] : tensors) {
    tensor.file = index;
    const auto [entry, is_new] = view.tensors.try_emplace(name, std::move(tensor));
    if (!is_new) {
      fail_model("{}: tensor '{}' is in {} too", printable(file.name()), printable(name),
                 printable(view.files[entry->second.file].name()));
    }
  }
  view.files.push_back(std::move(file));
  view.file_metadata.push_back(Json::object());
}

/// A part after the first: it must say that it belongs where its name puts it.
void add_part(const GgufSplitName& name, CheckpointView& view) {
  const std::string path = format_gguf_split_name(name);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    fail_model("{}: part {} of {} is missing", printable(path.substr(path.rfind('/') + 1)), name.part, name.count);
  }
  File file(path);
  GgufHeader header = read_gguf_header(file);
  check_split_keys(header.metadata, file, name);
  for (const std::string_view key : {"general.architecture", "split.tensors.count"}) {
    const Json* here = find_member(header.metadata, key);
    const Json* first = find_member(view.gguf, key);
    if (here && (!first || *here != *first)) {
      fail_model("{}: key '{}': {} in this part, {} in the first", printable(file.name()), key, preview(*here),
                 first ? preview(*first) : "missing");
    }
  }
  add_tensors(std::move(header.tensors), std::move(file), view);
}

}  // namespace

GgufSplitName parse_gguf_split_name(std::string_view path) {
  const std::string_view stem = path.ends_with(kSuffix) ? path.substr(0, path.size() - kSuffix.size()) : path;
  const GgufSplitName single{.base = std::string(stem)};
  constexpr size_t kTail = 1 + kDigits + kOf.size() + kDigits;  // -00001-of-00005
  if (stem.size() == path.size() || stem.size() <= kTail) return single;
  const std::string_view tail = stem.substr(stem.size() - kTail);
  const auto number = [&](size_t at) {
    uint64_t n = 0;
    const auto [end, error] = std::from_chars(tail.data() + at, tail.data() + at + kDigits, n);
    return error == std::errc() && end == tail.data() + at + kDigits ? n : 0;
  };
  const uint64_t part = number(1), count = number(1 + kDigits + kOf.size());
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf || part < 1 || part > count) return single;
  return {.base = std::string(stem.substr(0, stem.size() - kTail)), .part = part, .count = count};
}

std::string format_gguf_split_name(const GgufSplitName& name) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", name.base, name.part, name.count);
}

void open_gguf(const std::string& path, CheckpointView& view) {
  GgufSplitName name = parse_gguf_split_name(path);
  File file(path);
  GgufHeader header = read_gguf_header(file);
  check_is_model(header.metadata, file);
  if (name.part != 1) {
    fail_model("{}: this is part {} of {}; open the first part", printable(file.name()), name.part, name.count);
  }
  check_split_keys(header.metadata, file, name);
  view.gguf = std::move(header.metadata);
  add_tensors(std::move(header.tensors), std::move(file), view);
  while (name.part < name.count) {
    ++name.part;
    add_part(name, view);
  }
  const uint64_t n_expected = unsigned_key(view.gguf, "split.tensors.count", view.files[0], view.tensors.size());
  if (n_expected != view.tensors.size()) {
    fail_model("{}: key 'split.tensors.count' is {}, but the parts hold {} tensors", printable(view.files[0].name()),
               n_expected, view.tensors.size());
  }
}

}  // namespace packhorse
