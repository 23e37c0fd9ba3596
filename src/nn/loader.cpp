#include "nn/loader.h"

#include <algorithm>

#include "base/error.h"
#include "codec/widen.h"

namespace packhorse {
namespace {

/// The GGUF name of a module, by the table; "{}" in both takes the layer number.
std::string gguf_name(std::span<const ModuleName> table, std::string_view path) {
  for (const ModuleName& entry : table) {
    const size_t hole = entry.hf.find("{}");
    if (hole == std::string_view::npos) {
      if (entry.hf == path) return std::string(entry.gguf);
      continue;
    }
    const std::string_view before = entry.hf.substr(0, hole), after = entry.hf.substr(hole + 2);
    if (path.size() <= before.size() + after.size() || !path.starts_with(before) || !path.ends_with(after)) continue;
    const std::string_view layer = path.substr(before.size(), path.size() - before.size() - after.size());
    if (!std::ranges::all_of(layer, [](char c) { return c >= '0' && c <= '9'; })) continue;
    const size_t gguf_hole = entry.gguf.find("{}");
    return fmt::format("{}{}{}", entry.gguf.substr(0, gguf_hole), layer, entry.gguf.substr(gguf_hole + 2));
  }
  fail(ErrorKind::internal, "module '{}' has no GGUF name", path);
}

/// Row of an interleaved-pairs file that holds row r of the rotate-half order: pairs (i, i + half) stand as (2i, 2i +
/// 1) there.
int64_t interleaved_row(int64_t r, int64_t head_dim) {
  const int64_t head = r / head_dim * head_dim, i = r % head_dim, half = head_dim / 2;
  return head + (i < half ? 2 * i : 2 * (i - half) + 1);
}

}  // namespace

Loader::Loader(const CheckpointView& view, const Arch& arch, const KernelSelector& selector, ThreadPool& pool,
               LoadOptions options)
    : view_(view), arch_(arch), selector_(selector), pool_(pool), options_(std::move(options)), kernels_(selector) {
  for (const auto& [name, tensor] : view_.tensors) bytes_total_ += tensor.n_bytes;
}

void Loader::finish_progress() const {
  if (options_.on_progress) options_.on_progress(bytes_total_, bytes_total_);
}

std::string Loader::source_name(std::string_view path) const {
  return view_.is_gguf() ? gguf_name(arch_.gguf.modules, path) : std::string(path);
}

Module Loader::describe(std::string_view path, int64_t n, int64_t k, int64_t rotary_heads) const {
  Module module{.name = std::string(path), .source = source_name(path), .n = n, .k = k, .source_row = {}};
  if (view_.is_gguf() && arch_.gguf.interleaved_rope && rotary_heads > 0) {
    module.source_row = [head_dim = n / rotary_heads](int64_t r) { return interleaved_row(r, head_dim); };
  }
  return module;
}

bool Loader::has(const Scope& module) const { return view_.find(source_name(module.path()) + ".weight") != nullptr; }

std::vector<float> Loader::vector(const std::string& name, int64_t n) {
  const TensorInfo& tensor = view_.at(name);
  if (!is_plain_float(tensor.dtype))
    fail_model("{}: dtype {} where F32, F16 or BF16 is needed", view_.describe(name), info(tensor.dtype).name);
  if (tensor.n_elements() != static_cast<uint64_t>(n)) {
    fail_model("{}: {} elements where the config asks for {}", view_.describe(name), tensor.n_elements(), n);
  }
  const std::vector<std::byte> bytes = view_.read_all(tensor);
  std::vector<float> out(static_cast<size_t>(n));
  const Element element = tensor.dtype == DType::f32   ? Element::f32
                          : tensor.dtype == DType::f16 ? Element::f16
                                                       : Element::bf16;
  widen(element, reinterpret_cast<const uint8_t*>(bytes.data()), n, out.data());
  return out;
}

std::unique_ptr<PackedWeight> Loader::pack(const WeightPlan& plan) {
  const bool scheme = options_.format_act && plan.encoding.act.code != ActScheme::Code::none;
  PackedWeight::Options how{.fast = options_.fast || scheme, .on_read = {}};
  auto packed = std::make_unique<PackedWeight>(plan, selector_, pool_, how);
  bytes_done_ += plan.source_bytes;
  if (options_.on_progress) options_.on_progress(std::min(bytes_done_.load(), bytes_total_), bytes_total_);
  return packed;
}

Linear Loader::linear(const std::vector<Module>& modules, bool quantize) {
  std::vector<LinearPart> parts;
  std::vector<WeightPlan> group;  // neighbours of equal encoding become one part
  std::vector<ModuleRows> rows;
  std::vector<float> bias;
  int64_t n = 0, group_begin = 0;
  const auto close_group = [&] {
    if (group.empty()) return;
    LinearPart part;
    part.owned = pack(concat_rows(std::move(group)));
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
    if (!group.empty() && !(plan.encoding == group.back().encoding)) close_group();
    if (group.empty()) group_begin = n;
    rows.push_back({module.name, n - group_begin, module.n});
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
    modules.push_back(describe((parent / output.name).path(), output.rows, k, output.rotary_heads));
  return linear(modules, true);
}

Linear Loader::row(const Scope& module, int64_t n, int64_t k) {
  return linear({describe(module.path(), n, k, 0)}, true);
}

Embedding Loader::embedding(const Scope& module, int64_t vocab_size, int64_t k) {
  return {module.path(),
          pack(plan_weight(view_, describe(module.path(), vocab_size, k, 0), options_.quantization, false))};
}

Linear Loader::head(const Scope& module, const Embedding& embedding, bool tied) {
  const PackedWeight& table = embedding.table();
  if (!tied && has(module)) return linear({describe(module.path(), table.n(), table.k(), 0)}, false);
  if (!tied && !view_.is_gguf())
    fail_model("{}: missing tensor '{}.weight' (the config does not tie it to the embedding)", view_.path,
               module.path());
  std::vector<LinearPart> parts(1);
  parts[0].weight = &table;
  parts[0].modules = {{module.path(), 0, table.n()}};
  return {std::move(parts), {}, kernels_};
}

RmsNorm Loader::rms_norm(const Scope& module, int64_t n, double eps) {
  return {vector(source_name(module.path()) + ".weight", n), static_cast<float>(eps), kernels_};
}

int64_t Loader::vocab_rows() const {
  const std::string name = source_name("model.embed_tokens") + ".weight";
  const TensorInfo& tensor = view_.at(name);
  if (tensor.shape.size() != 2 || tensor.shape[0] > INT32_MAX)
    fail_model("{}: not a matrix with a row per token", view_.describe(name));
  return static_cast<int64_t>(tensor.shape[0]);
}

std::vector<float> Loader::rope_divisors() {
  const TensorInfo* tensor = view_.is_gguf() ? view_.find("rope_freqs.weight") : nullptr;
  return tensor ? vector("rope_freqs.weight", static_cast<int64_t>(tensor->n_elements())) : std::vector<float>{};
}

}  // namespace packhorse
