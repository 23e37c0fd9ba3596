#include "nn/loader.h"

#include <algorithm>

#include "base/error.h"
#include "codec/widen.h"
#include "formats/source.h"

namespace packhorse {
namespace {

using Numbers = std::vector<std::string_view>;

/// What stands for each "{}" of the pattern, when that is what else sets the path apart from it.
std::optional<Numbers> match(std::string_view pattern, std::string_view path) {
  Numbers numbers;
  for (;;) {
    const size_t hole = pattern.find("{}");
    if (hole == pattern.npos) return pattern == path ? std::optional(numbers) : std::nullopt;
    if (!path.starts_with(pattern.substr(0, hole))) return std::nullopt;
    pattern.remove_prefix(hole + 2);
    path.remove_prefix(hole);
    const size_t n_digits = std::min(path.find_first_not_of("0123456789"), path.size());
    if (n_digits == 0) return std::nullopt;
    numbers.push_back(path.substr(0, n_digits));
    path.remove_prefix(n_digits);
  }
}

std::string fill(std::string_view pattern, const Numbers& numbers) {
  std::string out;
  for (const std::string_view number : numbers) {
    const size_t hole = pattern.find("{}");
    out.append(pattern.substr(0, hole)).append(number);
    pattern.remove_prefix(hole + 2);
  }
  return out.append(pattern);
}

/// The GGUF name of a module, by the table; "{}" takes the numbers of the layer and the expert.
std::optional<std::string> gguf_name(std::span<const ModuleName> table, std::string_view path) {
  for (const ModuleName& entry : table) {
    if (const std::optional<Numbers> numbers = match(entry.hf, path)) return fill(entry.gguf, *numbers);
  }
  return std::nullopt;
}

/// Row of an interleaved-pairs file that holds row r of the rotate-half order: pairs (i, i + half) stand as (2i, 2i +
/// 1) there.
int64_t interleaved_row(int64_t r, int64_t head_dim) {
  const int64_t head = r / head_dim * head_dim, i = r % head_dim, half = head_dim / 2;
  return head + (i < half ? 2 * i : 2 * (i - half) + 1);
}

uint64_t tensor_bytes(const CheckpointView& view) {
  uint64_t n_bytes = 0;
  for (const auto& [name, tensor] : view.tensors) n_bytes += tensor.n_bytes;
  return n_bytes;
}

}  // namespace

Loader::Loader(const CheckpointView& view, const Arch& arch, const KernelSelector& selector, ThreadPool& pool,
               LoadOptions options)
    : view_(view),
      arch_(arch),
      selector_(selector),
      pool_(pool),
      options_(std::move(options)),
      kernels_(selector),
      progress_(options_.on_progress, tensor_bytes(view)) {}

std::optional<std::string> Loader::find_source(std::string_view path) const {
  return view_.is_gguf() ? gguf_name(arch_.gguf.modules, path) : std::string(path);
}

std::string Loader::source_name(std::string_view path) const {
  std::optional<std::string> source = find_source(path);
  if (!source) fail(ErrorKind::internal, "module '{}' has no GGUF name", path);
  return *std::move(source);
}

void Loader::expect(std::string source) { expected_.insert(std::move(source)); }

std::vector<std::string> Loader::unused_tensors() const {
  // Checkpoints of the first Llama hold its rotary frequencies, which are computed here.
  const auto is_used = [this](const std::string& name) {
    if (name.ends_with(".rotary_emb.inv_freq") || is_kv_scale_name(name)) return true;
    for (size_t dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
      if (expected_.contains(std::string_view(name).substr(0, dot))) return true;
    }
    return false;
  };
  std::vector<std::string> unused;
  for (const auto& [name, tensor] : view_.tensors) {
    if (!is_used(name)) unused.push_back(view_.describe(name));
  }
  return unused;
}

bool Loader::exists(const Module& module) const { return has_weight(view_, module) || view_.find(weight_name(module)); }

Module Loader::locate(const Scope& module) const {
  const auto named = [&](std::string source) {
    return Module{.name = module.path(), .source = std::move(source), .source_row = {}};
  };
  if (module.n_experts() > 0) {
    // Where neither is there, the error is to name what the container would have.
    const std::optional<std::string> own = find_source(module.path()), stack = find_source(module.stack());
    const bool is_stacked = stack && !(own && exists(named(*own))) && (view_.is_gguf() || exists(named(*stack)));
    if (is_stacked) {
      Module part = named(*stack);
      part.expert = module.expert();
      part.n_experts = module.n_experts();
      return part;
    }
  }
  return named(source_name(module.path()));
}

Module Loader::describe(const Scope& scope, int64_t n, int64_t k, int64_t rotary_heads) {
  Module module = locate(scope);
  module.n = n;
  module.k = k;
  expect(module.source);
  if (view_.is_gguf() && arch_.gguf.interleaved_rope && rotary_heads > 0) {
    module.source_row = [head_dim = n / rotary_heads](int64_t r) { return interleaved_row(r, head_dim); };
  }
  return module;
}

bool Loader::has(const Scope& module) const {
  if (!find_source(module.path()) && !find_source(module.stack())) return false;
  return exists(locate(module));
}

std::string Loader::where(const Scope& module) const { return view_.describe(source_name(module.path()) + ".weight"); }

std::vector<float> Loader::vector(const std::string& name, int64_t n) {
  const TensorInfo* found = view_.find(name);
  if (!found) fail_model("{}: missing tensor '{}' (expected [{}])", printable(view_.path), printable(name), n);
  const TensorInfo& tensor = *found;
  if (!is_plain_float(tensor.dtype))
    fail_model("{}: dtype {} where F32, F16 or BF16 is needed", view_.describe(name), info(tensor.dtype).name);
  if (tensor.n_elements() != static_cast<uint64_t>(n)) {
    fail_model("{}: shape does not fit the model (got {}, expected [{}])", view_.describe(name), shape_text(tensor), n);
  }
  const std::vector<std::byte> bytes = view_.read_all(tensor);
  std::vector<float> out(static_cast<size_t>(n));
  widen(float_encoding(tensor.dtype).element, reinterpret_cast<const uint8_t*>(bytes.data()), n, out.data());
  return out;
}

std::string Loader::format_of(const Module& module, const WeightPlan& plan, bool quantize) const {
  const QuantizationPlan& quantization = options_.quantization;
  if (quantize && quantization.in_flight && !is_float(plan.encoding.element)) {
    return quantization.config.at("quant_method").get<std::string>();
  }
  const auto claims = [&](const Format* format) { return format->claims && format->claims(view_, module); };
  return std::string((*std::ranges::find_if(formats(), claims))->name);  // there is one: it made the plan
}

std::unique_ptr<PackedWeight> Loader::pack(const WeightPlan& plan, bool exact) {
  const bool scheme = options_.format_act && plan.encoding.act.code == ActScheme::Code::llm_int8;
  const PackedWeight::Options how{.fast = !exact && (options_.fast || scheme),
                                  .on_read = [this](uint64_t n_bytes) { progress_.add(n_bytes); }};
  return std::make_unique<PackedWeight>(plan, selector_, pool_, how);
}

Linear Loader::linear(const std::vector<Module>& modules, bool quantize, bool exact) {
  std::vector<LinearPart> parts;
  std::vector<WeightPlan> group;  // neighbours of equal encoding become one part
  std::vector<ModuleRows> rows;
  std::vector<float> bias;
  int64_t n = 0, group_begin = 0;
  const auto close_group = [&] {
    if (group.empty()) return;
    LinearPart part;
    part.owned = pack(concat_rows(std::move(group)), exact);
    part.weight = part.owned.get();
    part.first_output = group_begin;
    part.modules = std::move(rows);
    parts.push_back(std::move(part));
    group.clear(), rows.clear();
    group_begin = n;
  };
  int64_t total = 0;
  for (const Module& module : modules) total += module.n;
  for (const Module& module : modules) {
    WeightPlan plan = plan_weight(view_, module, options_.quantization, quantize);
    if (!group.empty() && !(plan.encoding == group.back().encoding && plan.input == group.back().input)) close_group();
    if (group.empty()) group_begin = n;
    rows.push_back({.module = module.name,
                    .first_row = n - group_begin,
                    .n_rows = module.n,
                    .format = format_of(module, plan, quantize)});
    group.push_back(std::move(plan));
    if (view_.find(module.source + ".bias")) {
      const std::vector<float> values = vector(module.source + ".bias", module.n);
      bias.resize(static_cast<size_t>(total));
      for (int64_t r = 0; r < module.n; ++r) {
        bias[static_cast<size_t>(n + r)] = values[static_cast<size_t>(module.source_row ? module.source_row(r) : r)];
      }
    }
    n += module.n;
  }
  close_group();
  return {std::move(parts), std::move(bias), kernels_};
}

Linear Loader::column(const Scope& parent, std::initializer_list<Output> outputs, int64_t k) {
  std::vector<Module> modules;
  for (const Output& output : outputs)
    modules.push_back(describe(parent / output.name, output.rows, k, output.rotary_heads));
  return linear(modules, true);
}

Linear Loader::row(const Scope& module, int64_t n, int64_t k) { return linear({describe(module, n, k, 0)}, true); }

Linear Loader::router(const Scope& module, int64_t n, int64_t k) {
  return linear({describe(module, n, k, 0)}, false, true);
}

Embedding Loader::embedding(const Scope& module, int64_t vocab_size, int64_t k) {
  const Module table = describe(module, vocab_size, k, 0);
  const WeightPlan plan = plan_weight(view_, table, options_.quantization, false);
  return {module.path(), format_of(table, plan, false), pack(plan)};
}

Linear Loader::head(const Scope& module, const Embedding& embedding, bool tied) {
  const PackedWeight& table = embedding.table();
  expect(source_name(module.path()));  // a tied head may be there too
  if (!tied && has(module)) return linear({describe(module, table.n(), table.k(), 0)}, false);
  if (!tied && !view_.is_gguf())
    fail_model("{}: missing tensor '{}.weight' (expected [{}, {}]; the config does not tie it to the embedding)",
               printable(view_.path), module.path(), table.n(), table.k());
  std::vector<LinearPart> parts(1);
  parts[0].weight = &table;
  parts[0].modules = {{.module = module.path(), .n_rows = table.n(), .format = embedding.format()}};
  return {std::move(parts), {}, kernels_};
}

RmsNorm Loader::rms_norm(const Scope& module, int64_t n, double eps) {
  const std::string source = source_name(module.path());
  expect(source);
  return {vector(source + ".weight", n), static_cast<float>(eps), kernels_};
}

KvScales Loader::kv_scales(const Scope& attention, int64_t n_kv_heads) {
  if (options_.kv_dtype != KvDType::fp8_e4m3) return {};
  const int64_t layer = n_fp8_caches_++;
  if (std::optional<KvScales> scales = read_kv_scales(view_, attention.path(), n_kv_heads)) return *std::move(scales);
  layers_without_kv_scales_.push_back(layer);
  return {};
}

int64_t Loader::vocab_rows() const {
  const std::string name = source_name("model.embed_tokens") + ".weight";
  const TensorInfo& tensor = view_.at(name);
  if (tensor.shape.size() != 2 || tensor.shape[0] > INT32_MAX) {
    fail_model("{}: not a matrix with a row per token (got {}, limit {} rows)", view_.describe(name),
               shape_text(tensor), INT32_MAX);
  }
  return static_cast<int64_t>(tensor.shape[0]);
}

std::vector<float> Loader::rope_divisors() {
  if (view_.is_gguf()) expect("rope_freqs");
  const TensorInfo* tensor = view_.is_gguf() ? view_.find("rope_freqs.weight") : nullptr;
  return tensor ? vector("rope_freqs.weight", static_cast<int64_t>(tensor->n_elements())) : std::vector<float>{};
}

}  // namespace packhorse
