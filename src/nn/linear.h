#pragma once
// A linear layer of one or more checkpoint modules that read the same input, and the embedding table.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nn/act.h"
#include "nn/model.h"

namespace packhorse {

/// A packed weight that writes columns [first_output, first_output + n) of its layer's output. Modules of equal
/// encoding share one.
struct LinearPart {
  const PackedWeight* weight = nullptr;  // owned below, or by an embedding whose table a tied head shares
  std::unique_ptr<PackedWeight> owned;
  int64_t first_output = 0;
  std::vector<ModuleRows> modules;
};

class Linear {
 public:
  Linear() = default;
  Linear(std::vector<LinearPart> parts, std::vector<float> bias, const CommonKernels& kernels);
  /// y[m, n()] = x[m, k()] W^T + bias; y is new memory of the workspace.
  float* operator()(const float* x, int64_t m, ForwardCtx& ctx) const;
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  void visit(const WeightVisitor& visit) const;

 private:
  std::vector<LinearPart> parts_;
  std::vector<InputRule> rules_;  // distinct ones
  std::vector<size_t> rule_of_;   // of each part
  std::vector<float> bias_;       // [n] or empty
  CommonKernels kernels_;
  int64_t n_ = 0, k_ = 0;
};

/// Token embeddings of any encoding.
class Embedding {
 public:
  Embedding() = default;
  Embedding(std::string module, std::string format, std::unique_ptr<PackedWeight> table)
      : module_(std::move(module)), format_(std::move(format)), table_(std::move(table)) {}
  /// y[tokens.size(), k]; ids were checked when the request was admitted.
  float* operator()(std::span<const int32_t> tokens, ForwardCtx& ctx) const;
  void visit(const WeightVisitor& visit) const;
  const PackedWeight& table() const { return *table_; }
  const std::string& format() const { return format_; }

 private:
  std::string module_, format_;
  std::unique_ptr<PackedWeight> table_;
};

/// RMS norm over the last axis.
class RmsNorm {
 public:
  RmsNorm() = default;
  RmsNorm(std::vector<float> weight, float eps, const CommonKernels& kernels)
      : weight_(std::move(weight)), eps_(eps), kernels_(kernels) {}
  float* operator()(const float* x, int64_t m, ForwardCtx& ctx) const;

 private:
  std::vector<float> weight_;
  float eps_ = 0;
  CommonKernels kernels_;
};

/// y[m, n] = silu(gate) * up of gate_up[m, 2n].
float* silu_mul(const float* gate_up, int64_t m, int64_t n, const CommonKernels& kernels, ForwardCtx& ctx);

/// x += y, both [m, n].
void add_in_place(float* x, const float* y, int64_t m, int64_t n, ForwardCtx& ctx);

}  // namespace packhorse
