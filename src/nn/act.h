#pragma once
// Activations of a layer input in the forms that its kernels want, each made once.

#include "kernels/packed_weight.h"
#include "nn/model.h"

namespace packhorse {

/// Kernels that are not tied to a weight, chosen once per model. A few pointers: layers keep copies.
struct CommonKernels {
  Choice round_act, quantize_act, rms_norm, silu_mul;
  CommonKernels() = default;
  explicit CommonKernels(const KernelSelector& selector);
};

/// Calls body(begin, end) over ranges that cover [0, m): inline for few tokens, else on all threads.
template <class F>
void for_tokens(ThreadPool& pool, int64_t m, F&& body) {
  constexpr int64_t kInline = 4;  // below this a hand-over to other threads costs more than the work
  if (m <= kInline || pool.size() == 1) {
    body(int64_t{0}, m);
    return;
  }
  const int64_t n_tasks = std::min<int64_t>(m, pool.size() * 4);
  pool.run(n_tasks, [&](int64_t task) { body(m * task / n_tasks, m * (task + 1) / n_tasks); });
}

/// What a weight's format does to its input, once for all parts of a layer that ask for the same.
struct InputRule {
  WeightInput input;
  ActScheme act;
  explicit InputRule(const PackedWeight& weight) : input(weight.input()), act(weight.view().encoding.act) {}
  friend bool operator==(const InputRule&, const InputRule&) = default;
};

/// What a rule makes of x[m, k].
struct LayerInput {
  const float* x;                // x itself, or new memory of the workspace
  const float* steps = nullptr;  // [m, ceil(k / step_group)], as RoundActArgs says
  int64_t step_group = 0;
};
LayerInput apply(const InputRule& rule, const float* x, int64_t m, int64_t k, const CommonKernels& kernels,
                 ForwardCtx& ctx);

/// One layer input [m, k]; forms are made on first use and share the workspace.
class Activations {
 public:
  Activations(const LayerInput& input, int64_t m, int64_t k, const CommonKernels& kernels, ForwardCtx& ctx)
      : input_(input), m_(m), k_(k), kernels_(kernels), ctx_(ctx) {}
  /// The form; `threshold` is used by int8_token alone.
  ActView get(ActForm form, float threshold);
  int64_t m() const { return m_; }

 private:
  LayerInput input_;
  int64_t m_, k_;
  const CommonKernels& kernels_;
  ForwardCtx& ctx_;
  ActView made_[4];
  bool has_[4] = {};
  float threshold_ = 0;  // of made_[int8_token]
};

}  // namespace packhorse
