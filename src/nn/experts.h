#pragma once
// A mixture of experts: a router gives each token to a few of many feed-forward networks.

#include <span>
#include <variant>
#include <vector>

#include "nn/gated_mlp.h"

namespace packhorse {

struct ExpertSizes {
  int64_t n_experts = 0, n_used = 0;  // n_used of them serve a token
  int64_t hidden = 0, intermediate = 0;
};

/// What a checkpoint calls a layer's mixture: the router is <block>.gate, expert 3's down <block>.experts.3.<mlp.down>.
struct ExpertNames {
  std::string_view block;
  GatedMlpNames mlp;
};

/// A token's result is the sum over its experts, ascending, so it depends on nothing else in the batch.
class ExpertSet {
 public:
  /// Reads the mixture of `layer` under the first of the namings that the checkpoint has for it.
  ExpertSet(const Scope& layer, const ExpertSizes& sizes, std::span<const ExpertNames> namings);
  /// y[m, hidden] of x[m, hidden]; y is new memory of the workspace.
  float* operator()(const float* x, int64_t m, ForwardCtx& ctx) const;
  void visit(const WeightVisitor& visit) const;

 private:
  struct Routing;
  Routing route(const float* x, int64_t m, ForwardCtx& ctx) const;

  ExpertSizes sizes_;
  Linear router_;
  std::vector<GatedMlp> experts_;
};

/// The feed-forward part of a block.
using FeedForward = std::variant<GatedMlp, ExpertSet>;

}  // namespace packhorse
