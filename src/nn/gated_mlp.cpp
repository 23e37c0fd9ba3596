#include "nn/gated_mlp.h"

namespace packhorse {

GatedMlp::GatedMlp(const Scope& module, int64_t hidden, int64_t intermediate, const GatedMlpNames& names)
    : gate_up_(module.loader().column(module, {{names.gate, intermediate}, {names.up, intermediate}}, hidden)),
      down_(module.loader().row(module / names.down, hidden, intermediate)),
      kernels_(module.loader().kernels()) {}

float* GatedMlp::operator()(const float* x, int64_t m, ForwardCtx& ctx) const {
  const float* gated = silu_mul(gate_up_(x, m, ctx), m, down_.k(), kernels_, ctx);
  return down_(gated, m, ctx);
}

void GatedMlp::visit(const WeightVisitor& visit) const {
  gate_up_.visit(visit);
  down_.visit(visit);
}

}  // namespace packhorse
