#include "nn/linear.h"

#include <algorithm>

namespace packhorse {

Linear::Linear(std::vector<LinearPart> parts, std::vector<float> bias, const CommonKernels& kernels)
    : parts_(std::move(parts)), bias_(std::move(bias)), kernels_(kernels) {
  for (const LinearPart& part : parts_) {
    n_ += part.weight->n();
    const InputRule rule(*part.weight);
    const auto known = std::ranges::find(rules_, rule);
    rule_of_.push_back(static_cast<size_t>(known - rules_.begin()));
    if (known == rules_.end()) rules_.push_back(rule);
  }
  k_ = parts_.front().weight->k();
}

float* Linear::operator()(const float* x, int64_t m, ForwardCtx& ctx) const {
  float* y = ctx.workspace.allocate<float>(m * n_);
  const Workspace::Mark mark = ctx.workspace.mark();
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    Activations activations(apply(rules_[rule], x, m, k_, kernels_, ctx), m, k_, kernels_, ctx);
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (rule_of_[i] != rule) continue;
      const LinearPart& part = parts_[i];
      const PackedWeight& weight = *part.weight;
      const ActView view = activations.get(weight.kernel().kernel->act, weight.view().encoding.act.outlier_threshold);
      const float* bias = bias_.empty() ? nullptr : bias_.data() + part.first_output;
      weight.multiply(view, m, y + part.first_output, n_, bias, ctx.pool);
    }
  }
  ctx.workspace.release(mark);
  return y;
}

void Linear::visit(const WeightVisitor& visit) const {
  for (const LinearPart& part : parts_) {
    for (const ModuleRows& rows : part.modules) visit(rows, *part.weight);
  }
}

float* Embedding::operator()(std::span<const int32_t> tokens, ForwardCtx& ctx) const {
  const auto m = static_cast<int64_t>(tokens.size());
  float* y = ctx.workspace.allocate<float>(m * table_->k());
  for_tokens(ctx.pool, m, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) table_->decode_row(tokens[static_cast<size_t>(i)], y + i * table_->k());
  });
  return y;
}

void Embedding::visit(const WeightVisitor& visit) const {
  visit({.module = module_, .n_rows = table_->n(), .read_share = 0, .format = format_}, *table_);
}

float* RmsNorm::operator()(const float* x, int64_t m, ForwardCtx& ctx) const {
  const auto n = static_cast<int64_t>(weight_.size());
  const RmsNormArgs args{
      .x = x, .weight = weight_.data(), .y = ctx.workspace.allocate<float>(m * n), .n = n, .eps = eps_};
  for_tokens(ctx.pool, m,
             [&](int64_t begin, int64_t end) { kernels_.rms_norm.kernel->run.rms_norm(args, begin, end); });
  return args.y;
}

float* silu_mul(const float* gate_up, int64_t m, int64_t n, const CommonKernels& kernels, ForwardCtx& ctx) {
  const SiluMulArgs args{.gate_up = gate_up, .y = ctx.workspace.allocate<float>(m * n), .n = n};
  for_tokens(ctx.pool, m, [&](int64_t begin, int64_t end) { kernels.silu_mul.kernel->run.silu_mul(args, begin, end); });
  return args.y;
}

void add_in_place(float* x, const float* y, int64_t m, int64_t n, ForwardCtx& ctx) {
  for_tokens(ctx.pool, m, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * n; i < end * n; ++i) x[i] += y[i];
  });
}

}  // namespace packhorse
