#pragma once
// Builds layers from a checkpoint: names to plans, plans to packed weights.

#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "formats/format.h"
#include "formats/kv_scales.h"
#include "nn/arch.h"
#include "nn/linear.h"
#include "nn/load_progress.h"

namespace packhorse {

/// Everything that decides how weights are loaded.
struct LoadOptions {
  QuantizationPlan quantization;
  bool fast = true;         // int8 activations where a kernel has them; false = exact float32
  bool format_act = false;  // with fast = false: still quantize activations where the format itself does (tests)
  KvDType kv_dtype = KvDType::f16;
  int64_t max_model_len = 0;         // 0 = the model's own limit
  LoadProgress::Report on_progress;  // may be empty
};

/// A place in the module tree: `loader / "model" / "layers" / 3`.
class Scope {
 public:
  Scope(Loader& loader, std::string path) : loader_(loader), path_(std::move(path)), stack_(path_) {}
  Scope operator/(std::string_view child) const {
    Scope out = *this;
    for (std::string* path : {&out.path_, &out.stack_}) (*path += path->empty() ? "" : ".") += child;
    return out;
  }
  Scope operator/(int64_t index) const { return *this / std::to_string(index); }
  /// Expert `index` of `count` below this. Its modules have tensors of their own, <here>.<index>.<child>, or a part of
  /// one for all experts, <here>.<child> of [count, n, k].
  Scope expert(int64_t index, int64_t count) const {
    Scope out = *this / index;
    out.stack_ = stack_, out.expert_ = index, out.n_experts_ = count;
    return out;
  }
  Loader& loader() const { return loader_; }
  const std::string& path() const { return path_; }
  const std::string& stack() const { return stack_; }
  int64_t expert() const { return expert_; }
  int64_t n_experts() const { return n_experts_; }  // 0 = not within an expert

 private:
  Loader& loader_;
  std::string path_;
  std::string stack_;  // the path without the expert's number
  int64_t expert_ = 0, n_experts_ = 0;
};

/// A projection of a column-parallel group: child module name and its output rows.
struct Output {
  std::string_view name;
  int64_t rows;
  int64_t rotary_heads = 0;  // query and key: heads whose rows GGUF may hold in another order
};

class Loader {
 public:
  Loader(const CheckpointView& view, const Arch& arch, const KernelSelector& selector, ThreadPool& pool,
         LoadOptions options);

  void finish_progress() const { progress_.finish(); }
  /// Tensors of modules that no layer asked for, as "file: tensor 'name'".
  std::vector<std::string> unused_tensors() const;

  Scope root() { return {*this, ""}; }
  const LoadOptions& options() const { return options_; }
  const KernelSelector& selector() const { return selector_; }
  const CommonKernels& kernels() const { return kernels_; }

  bool has(const Scope& module) const;
  /// "m.gguf: tensor 'blk.0.attn_q.weight'": for messages about a module's weight.
  std::string where(const Scope& module) const;
  /// Modules below `parent` that read the same input [k]; each finds its bias by itself. Column and row say how tensor
  /// parallelism will cut them.
  Linear column(const Scope& parent, std::initializer_list<Output> outputs, int64_t k);
  Linear row(const Scope& module, int64_t n, int64_t k);
  /// A layer whose outputs are compared with each other: exact, and never quantized in flight.
  Linear router(const Scope& module, int64_t n, int64_t k);
  Embedding embedding(const Scope& module, int64_t vocab_size, int64_t k);
  /// The head: of its own, or sharing the embedding's table when tied or absent from a GGUF file.
  Linear head(const Scope& module, const Embedding& embedding, bool tied);
  RmsNorm rms_norm(const Scope& module, int64_t n, double eps);
  /// Scales of an attention module for an FP8 cache: the checkpoint's, or none.
  KvScales kv_scales(const Scope& attention, int64_t n_kv_heads);
  /// Layers whose attention has an FP8 cache and no scales in the checkpoint, numbered in the order of kv_scales calls.
  const std::vector<int64_t>& layers_without_kv_scales() const { return layers_without_kv_scales_; }
  /// Rows of the embedding tensor: the vocabulary of a GGUF file that does not say it.
  int64_t vocab_rows() const;
  /// GGUF's rope_freqs, or nothing.
  std::vector<float> rope_divisors();

 private:
  Module describe(const Scope& scope, int64_t n, int64_t k, int64_t rotary_heads);
  /// The module with the tensors that it has: of its own, else those for all experts.
  Module locate(const Scope& module) const;
  bool exists(const Module& module) const;
  /// The module of this name in the checkpoint; nothing where its container has no name for it.
  std::optional<std::string> find_source(std::string_view path) const;
  std::string source_name(std::string_view path) const;
  /// Notes that the tensors below this source name ("blk.0.attn_q") are those of a layer.
  void expect(std::string source);
  /// A vector of floats by full source name ("blk.0.attn_norm.weight").
  std::vector<float> vector(const std::string& name, int64_t n);
  /// What the codes of a module's plan are from: a dialect of the checkpoint, or the method in flight.
  std::string format_of(const Module& module, const WeightPlan& plan, bool quantize) const;
  std::unique_ptr<PackedWeight> pack(const WeightPlan& plan, bool exact = false);
  Linear linear(const std::vector<Module>& modules, bool quantize, bool exact = false);

  const CheckpointView& view_;
  const Arch& arch_;
  const KernelSelector& selector_;
  ThreadPool& pool_;
  LoadOptions options_;
  CommonKernels kernels_;
  std::set<std::string, std::less<>> expected_;  // source names of modules
  LoadProgress progress_;
  int64_t n_fp8_caches_ = 0;
  std::vector<int64_t> layers_without_kv_scales_;
};

}  // namespace packhorse
