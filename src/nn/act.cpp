#include "nn/act.h"

namespace packhorse {

CommonKernels::CommonKernels(const KernelSelector& selector)
    : round_act(selector.choose({.op = Op::round_act}, "round_act")),
      quantize_act(selector.choose({.op = Op::quantize_act}, "quantize_act")),
      rms_norm(selector.choose({.op = Op::rms_norm}, "rms_norm")),
      silu_mul(selector.choose({.op = Op::silu_mul}, "silu_mul")) {}

LayerInput apply(const InputRule& rule, const float* x, int64_t m, int64_t k, const CommonKernels& kernels,
                 ForwardCtx& ctx) {
  const auto& [input, act] = rule;
  const bool rounds = act.code != ActScheme::Code::none && act.code != ActScheme::Code::llm_int8;
  if (!rounds && input.scale.empty() && input.order.empty()) return {x};
  RoundActArgs args{.x = x,
                    .y = ctx.workspace.allocate<float>(m * k),
                    .scale = input.scale.empty() ? nullptr : input.scale.data(),
                    .order = input.order.empty() ? nullptr : input.order.data(),
                    .k = k,
                    .scheme = act,
                    .act_scale = input.act_scale,
                    .act_zero = input.act_zero};
  if (rounds) args.steps = ctx.workspace.allocate<float>(m * args.n_groups());
  for_tokens(ctx.pool, m,
             [&](int64_t begin, int64_t end) { kernels.round_act.kernel->run.round_act(args, begin, end); });
  return {args.y, args.steps, args.group()};
}

ActView Activations::get(ActForm form, float threshold) {
  const auto index = static_cast<size_t>(form);
  if (has_[index] && (form != ActForm::int8_token || threshold == threshold_)) return made_[index];
  const int64_t stride = padded_k(k_), n_blocks = stride / kBlockK;
  QuantizeActArgs args{.x = input_.x,
                       .x_stride = k_,
                       .k = k_,
                       .stride = stride,
                       .outlier_threshold = threshold,
                       .steps = input_.steps,
                       .step_group = input_.step_group};
  if (form == ActForm::f32 && k_ == stride) {
    made_[index] = {.f32 = input_.x, .stride = stride};
    has_[index] = true;
    return made_[index];
  }
  Workspace& memory = ctx_.workspace;
  if (form == ActForm::f32 || form == ActForm::int8_token || k_ != stride)
    args.f32 = memory.allocate<float>(m_ * stride);
  if (form == ActForm::bf16) args.bf16 = memory.allocate<uint16_t>(m_ * stride);
  if (form == ActForm::int8_block || form == ActForm::int8_token) {
    args.q = memory.allocate<int8_t>(act_block_count(m_, n_blocks) * kBlockK);
    args.blocks = memory.allocate<ActBlock>(act_block_count(m_, n_blocks));
  }
  if (form == ActForm::int8_token) {
    args.token_max = memory.allocate<float>(m_);
    args.outliers = memory.allocate<Outlier>(m_ * stride);
    args.n_outliers = memory.allocate<int32_t>(m_);
    threshold_ = threshold;
  }
  for_tokens(ctx_.pool, m_,
             [&](int64_t begin, int64_t end) { kernels_.quantize_act.kernel->run.quantize_act(args, begin, end); });
  made_[index] = {.f32 = args.f32,
                  .bf16 = args.bf16,
                  .q = args.q,
                  .blocks = args.blocks,
                  .token_max = args.token_max,
                  .outliers = args.outliers,
                  .n_outliers = args.n_outliers,
                  .stride = stride};
  has_[index] = true;
  return made_[index];
}

}  // namespace packhorse
