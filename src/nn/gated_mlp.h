#pragma once
// The feed-forward part of a decoder block, dense or one expert's.

#include <string_view>

#include "nn/loader.h"

namespace packhorse {

/// What a checkpoint calls the three projections.
struct GatedMlpNames {
  std::string_view gate = "gate_proj", up = "up_proj", down = "down_proj";
};

/// down(silu(gate(x)) * up(x)).
class GatedMlp {
 public:
  /// Reads the projections that are children of `module`.
  GatedMlp(const Scope& module, int64_t hidden, int64_t intermediate, const GatedMlpNames& names = {});
  /// y[m, hidden] of x[m, hidden]; y is new memory of the workspace.
  float* operator()(const float* x, int64_t m, ForwardCtx& ctx) const;
  void visit(const WeightVisitor& visit) const;

 private:
  Linear gate_up_, down_;
  CommonKernels kernels_;
};

}  // namespace packhorse
