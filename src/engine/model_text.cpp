#include "engine/model_text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kMaxTextFile = uint64_t{64} << 20;

std::optional<std::string> read_if_there(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return std::nullopt;
  return File(file.string()).read_all(kMaxTextFile);
}

std::optional<Json> json_if_there(const fs::path& file) {
  const auto text = read_if_there(file);
  if (!text) return std::nullopt;
  return parse_json(*text, printable(file.filename().string()));
}

const Json* find_key(const Json& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &*found;
}

/// True when the number can be taken as a T without changing what it means.
template <class T>
bool fits(const Json& value) {
  if constexpr (std::is_integral_v<T>) {
    if (value.is_number_unsigned()) return std::in_range<T>(value.get<uint64_t>());
    return value.is_number_integer() && std::in_range<T>(value.get<int64_t>());
  } else {
    return value.is_number();
  }
}

/// Views of a GGUF vocabulary's metadata; a key of another type is an error that names it.
class VocabReader {
 public:
  explicit VocabReader(const CheckpointView& view) : metadata_(view.gguf), file_(printable(view.files[0].name())) {}

  std::optional<std::string_view> text(const char* key) const {
    const Json* value = find_key(metadata_, key);
    if (!value) return std::nullopt;
    if (!value->is_string()) wrong(key, "a string");
    return std::string_view(value->get_ref<const std::string&>());
  }
  std::optional<int64_t> id(const char* key) const {
    const Json* value = find_key(metadata_, key);
    if (!value) return std::nullopt;
    if (!value->is_number_integer() || (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX))
      wrong(key, "a token id");
    return value->get<int64_t>();
  }
  std::optional<bool> flag(const char* key) const {
    const Json* value = find_key(metadata_, key);
    if (!value) return std::nullopt;
    if (!value->is_boolean()) wrong(key, "true or false");
    return value->get<bool>();
  }
  std::vector<std::string_view> texts(const char* key) const {
    std::vector<std::string_view> out;
    for (const Json& entry : array(key)) {
      if (!entry.is_string()) wrong(key, "an array of strings");
      out.emplace_back(entry.get_ref<const std::string&>());
    }
    return out;
  }
  template <class T>
  std::vector<T> numbers(const char* key) const {
    std::vector<T> out;
    for (const Json& entry : array(key)) {
      if (!fits<T>(entry)) wrong(key, std::is_integral_v<T> ? "an array of 32-bit integers" : "an array of numbers");
      out.push_back(entry.get<T>());
    }
    return out;
  }

 private:
  const Json& array(const char* key) const {
    static const Json kEmpty = Json::array();
    const Json* value = find_key(metadata_, key);
    if (value && !value->is_array()) wrong(key, "an array");
    return value ? *value : kEmpty;
  }
  [[noreturn]] void wrong(const char* key, const char* what) const {
    fail_model("{}: key '{}': expected {}", file_, key, what);
  }
  const Json& metadata_;
  std::string file_;
};

Tokenizer tokenizer_of_gguf(const CheckpointView& view) {
  const VocabReader read(view);
  const auto model = read.text("tokenizer.ggml.model");
  if (!model || *model == "no_vocab" || *model == "none")
    fail_model("{}: 'tokenizer.ggml.model': the file holds no tokenizer", printable(view.path));
  const GgufVocab vocab{.model = *model,
                        .pre = read.text("tokenizer.ggml.pre"),
                        .tokens = read.texts("tokenizer.ggml.tokens"),
                        .scores = read.numbers<float>("tokenizer.ggml.scores"),
                        .token_types = read.numbers<int32_t>("tokenizer.ggml.token_type"),
                        .merges = read.texts("tokenizer.ggml.merges"),
                        .bos_id = read.id("tokenizer.ggml.bos_token_id"),
                        .eos_id = read.id("tokenizer.ggml.eos_token_id"),
                        .eot_id = read.id("tokenizer.ggml.eot_token_id"),
                        .eom_id = read.id("tokenizer.ggml.eom_token_id"),
                        .unk_id = read.id("tokenizer.ggml.unknown_token_id"),
                        .pad_id = read.id("tokenizer.ggml.padding_token_id"),
                        .add_bos = read.flag("tokenizer.ggml.add_bos_token"),
                        .add_eos = read.flag("tokenizer.ggml.add_eos_token"),
                        .add_space_prefix = read.flag("tokenizer.ggml.add_space_prefix")};
  return Tokenizer::from_gguf(vocab, printable(fs::path(view.path).filename().string()));
}

Tokenizer tokenizer_of_directory(const fs::path& directory) {
  const Json config = json_if_there(directory / "tokenizer_config.json").value_or(Json());
  if (const auto tokenizer = json_if_there(directory / "tokenizer.json"))
    return Tokenizer::from_tokenizer_json(*tokenizer, config, "tokenizer.json");
  if (const auto bytes = read_if_there(directory / "tokenizer.model"))
    return Tokenizer::from_sentencepiece_model(*bytes, config, "tokenizer.model");
  fail_model("{}: neither tokenizer.json nor tokenizer.model found", printable(directory.string(), 4096));
}

/// "chat_template" of tokenizer_config.json: a string, or a list of named ones of which "default" counts.
std::string template_of(const Json& config, const char* source) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array()) {
    for (const Json& entry : *found) {
      const Json* name = find_member(entry, "name");
      const Json* text = find_member(entry, "template");
      if (name && *name == "default" && text && text->is_string()) return *text;
    }
    return "";
  }
  fail_model("{}: 'chat_template': expected a string or a list", source);
}

/// Calls visit(key, member) for what a generation config may say about sampling.
template <class Visitor>
void visit_sampling(SamplingParams& params, int64_t& max_new_tokens, Visitor&& visit) {
  visit("repetition_penalty", params.repetition_penalty);
  visit("temperature", params.temperature);
  visit("top_k", params.top_k);
  visit("top_p", params.top_p);
  visit("min_p", params.min_p);
  visit("max_new_tokens", max_new_tokens);
}

/// `source` is what the error names.
void read_sampling(const Json& config, const char* source, SamplingParams& params, int64_t& max_new_tokens) {
  visit_sampling(params, max_new_tokens, [&](const char* key, auto& member) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) return;
    using Member = std::remove_reference_t<decltype(member)>;
    if (!fits<Member>(*found)) {
      fail_model("{}: key '{}': expected a {} (got {})", source, key,
                 std::is_integral_v<Member> ? "whole number" : "number", preview(*found));
    }
    member = found->template get<Member>();
  });
}

constexpr const char* kGenerationFile = "generation_config.json";

/// Throws for a key that is none, and a value that no request could have.
void check_overrides(const Json& overrides, const char* source) {
  if (!overrides.is_object()) fail_model("{}: not a JSON object (got {})", source, preview(overrides));
  SamplingParams params;
  int64_t max_new_tokens = 1;
  std::vector<std::string> known;
  visit_sampling(params, max_new_tokens, [&](const char* key, const auto&) { known.emplace_back(key); });
  for (const auto& [key, value] : overrides.items()) {
    if (std::ranges::find(known, key) == known.end())
      fail_model("{}: no key '{}' (allowed: {})", source, printable(key), fmt::join(known, ", "));
  }
  read_sampling(overrides, source, params, max_new_tokens);
  if (max_new_tokens < 1) fail_model("{}: max_new_tokens must be at least 1 (got {})", source, max_new_tokens);
  try {
    params.validate_and_normalize();
  } catch (const Error& e) {
    fail_model("{}: {}", source, e.what());
  }
}

}  // namespace

Tokenizer load_tokenizer(const CheckpointView& view, const std::string& path) {
  std::error_code error;
  if (path.empty()) return view.is_gguf() ? tokenizer_of_gguf(view) : tokenizer_of_directory(view.path);
  if (fs::is_directory(path, error)) return tokenizer_of_directory(path);
  if (path.ends_with(".gguf")) return tokenizer_of_gguf(open_checkpoint(path));
  return tokenizer_of_directory(fs::path(path).parent_path());
}

std::string find_chat_template(const CheckpointView& view, const std::string& option) {
  std::error_code error;
  if (!option.empty()) {
    if (fs::is_regular_file(option, error)) return File(option).read_all(kMaxTextFile);
    if (option.find_first_of("{\n") == std::string::npos)
      fail(ErrorKind::usage, "chat_template: '{}' is neither a file nor a template", printable(option));
    return option;
  }
  if (view.is_gguf()) return std::string(VocabReader(view).text("tokenizer.chat_template").value_or(""));
  const fs::path directory = view.path;
  if (const auto text = read_if_there(directory / "chat_template.jinja")) return *text;
  for (const char* file : {"chat_template.json", "tokenizer_config.json"}) {
    if (const auto config = json_if_there(directory / file); config && config->is_object()) {
      if (std::string text = template_of(*config, file); !text.empty()) return text;
    }
  }
  return "";
}

Json parse_generation_overrides(const std::string& text) {
  if (text.empty()) return Json::object();
  constexpr const char* kName = "override_generation_config";
  try {
    Json overrides = parse_json(text, kName);
    check_overrides(overrides, kName);
    return overrides;
  } catch (const Error& e) {
    throw Error(ErrorKind::usage, e.what());
  }
}

Json load_generation_config(const CheckpointView& view, const EngineOptions& options) {
  const std::string& option = options.generation_config;
  const bool own = option.empty() || option == "auto";
  Json config = Json::object();
  if (option != "vllm" && !(own && view.is_gguf())) {
    auto file = json_if_there(fs::path(own ? view.path : option) / kGenerationFile);
    if (!file && !own)
      fail(ErrorKind::usage, "generation_config: '{}' holds no {}", printable(option), kGenerationFile);
    if (file && !file->is_object()) fail_model("{}: not an object", kGenerationFile);
    if (file) config = *std::move(file);
  }
  config.update(parse_generation_overrides(options.override_generation_config));
  return config;
}

SamplingParams default_sampling_params(const Json& config) {
  SamplingParams params;
  int64_t max_tokens = 0;
  read_sampling(config, kGenerationFile, params, max_tokens);
  if (max_tokens > 0) params.max_tokens = max_tokens;
  return params;
}

std::optional<int64_t> max_new_tokens(const Json& config) {
  SamplingParams params;
  int64_t max_tokens = 0;
  read_sampling(config, kGenerationFile, params, max_tokens);
  return max_tokens > 0 ? std::optional(max_tokens) : std::nullopt;
}

std::vector<int32_t> eos_token_ids(const CheckpointView& view, const Json& generation_config,
                                   const Tokenizer* tokenizer, int64_t vocab_size) {
  std::vector<int32_t> ids = tokenizer ? tokenizer->eos_ids() : std::vector<int32_t>{};
  const auto add = [&](const Json& value, std::string_view file, const char* key) {
    if (!fits<int32_t>(value) || value.get<int32_t>() < 0 || value.get<int32_t>() >= vocab_size) {
      fail_model("{}: key '{}': not a token id (got {}, vocabulary {})", printable(file), key, preview(value),
                 vocab_size);
    }
    const auto id = value.get<int32_t>();
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  };
  const auto add_all = [&](const Json& config, const char* file) {
    constexpr const char* kKey = "eos_token_id";
    const Json* value = find_member(config, kKey);
    if (!value) return;
    if (!value->is_array()) return add(*value, file, kKey);
    for (const Json& entry : *value) add(entry, file, kKey);
  };
  add_all(generation_config, "generation_config.json");
  if (ids.empty()) add_all(view.config, "config.json");
  if (ids.empty() && view.is_gguf()) {
    constexpr const char* kKey = "tokenizer.ggml.eos_token_id";
    if (const Json* id = find_key(view.gguf, kKey)) add(*id, view.files[0].name(), kKey);
  }
  return ids;
}

}  // namespace packhorse
