#include "nn/experts.h"

#include <algorithm>
#include <cmath>

namespace packhorse {
namespace {

/// Turns a token's router logits[n] into probabilities.
void softmax(float* logits, int64_t n) {
  const float max = *std::max_element(logits, logits + n);
  float sum = 0;
  for (int64_t e = 0; e < n; ++e) sum += logits[e] = std::exp(logits[e] - max);
  for (int64_t e = 0; e < n; ++e) logits[e] /= sum;
}

/// The n_used most probable of n experts as chosen[n_used], best first, and their shares, which add up to 1. Of equal
/// ones, and where numbers have become NaN, the first are taken.
void choose(const float* probability, int64_t n, int64_t n_used, int32_t* chosen, float* share) {
  const auto is_better = [&](int32_t a, int32_t b) { return probability[a] > probability[b]; };
  for (int64_t count = 0; count < n_used; ++count) {
    int32_t best = -1;
    for (int32_t e = 0; e < n; ++e) {
      const bool taken = std::find(chosen, chosen + count, e) != chosen + count;
      if (!taken && (best < 0 || is_better(e, best))) best = e;
    }
    chosen[count] = best;
  }
  float sum = 0;
  for (int64_t i = 0; i < n_used; ++i) sum += share[i] = probability[chosen[i]];
  for (int64_t i = 0; i < n_used; ++i) share[i] /= sum;
}

/// The first naming whose first expert is there. None: the error of the first will name what is missing.
const ExpertNames& find_naming(const Scope& layer, int64_t n_experts, std::span<const ExpertNames> namings) {
  for (const ExpertNames& names : namings) {
    const Scope expert = (layer / names.block / "experts").expert(0, n_experts);
    if (layer.loader().has(expert / names.mlp.gate)) return names;
  }
  return namings.front();
}

}  // namespace

/// Who serves whom: expert e has the tokens [first[e], first[e + 1]) of `token`, ascending, at these shares.
struct ExpertSet::Routing {
  int64_t* first;  // [n_experts + 1]
  int32_t* token;  // [m * n_used]
  float* share;    // [m * n_used]
};

ExpertSet::ExpertSet(const Scope& layer, const ExpertSizes& sizes, std::span<const ExpertNames> namings)
    : sizes_(sizes) {
  const ExpertNames& names = find_naming(layer, sizes.n_experts, namings);
  const Scope block = layer / names.block;
  router_ = layer.loader().router(block / "gate", sizes.n_experts, sizes.hidden);
  for (int64_t e = 0; e < sizes.n_experts; ++e) {
    experts_.emplace_back((block / "experts").expert(e, sizes.n_experts), sizes.hidden, sizes.intermediate, names.mlp);
  }
}

ExpertSet::Routing ExpertSet::route(const float* x, int64_t m, ForwardCtx& ctx) const {
  const int64_t n = sizes_.n_experts, n_used = sizes_.n_used;
  Workspace& memory = ctx.workspace;
  const Routing out{.first = memory.allocate<int64_t>(n + 1),
                    .token = memory.allocate<int32_t>(m * n_used),
                    .share = memory.allocate<float>(m * n_used)};
  const Workspace::Mark mark = memory.mark();
  auto* chosen = memory.allocate<int32_t>(m * n_used);
  auto* share = memory.allocate<float>(m * n_used);
  float* logits = router_(x, m, ctx);
  for_tokens(ctx.pool, m, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      softmax(logits + t * n, n);
      choose(logits + t * n, n, n_used, chosen + t * n_used, share + t * n_used);
    }
  });
  // A counting sort by expert. first[e + 1] begins as the place of e's first token and moves to behind its last.
  std::fill_n(out.first, n + 1, 0);
  for (int64_t i = 0; i < m * n_used; ++i) {
    if (chosen[i] + 2 <= n) ++out.first[chosen[i] + 2];
  }
  for (int64_t e = 2; e <= n; ++e) out.first[e] += out.first[e - 1];
  for (int64_t i = 0; i < m * n_used; ++i) {
    const int64_t at = out.first[chosen[i] + 1]++;
    out.token[at] = static_cast<int32_t>(i / n_used);
    out.share[at] = share[i];
  }
  memory.release(mark);
  return out;
}

float* ExpertSet::operator()(const float* x, int64_t m, ForwardCtx& ctx) const {
  const int64_t width = sizes_.hidden;
  float* y = ctx.workspace.allocate<float>(m * width);
  std::fill_n(y, m * width, 0.0f);
  const Workspace::Mark mark = ctx.workspace.mark();
  const Routing routing = route(x, m, ctx);
  for (int64_t e = 0; e < sizes_.n_experts; ++e) {
    const int64_t first = routing.first[e], count = routing.first[e + 1] - first;
    if (count == 0) continue;
    const int32_t* token = routing.token + first;
    const float* share = routing.share + first;
    const Workspace::Mark before = ctx.workspace.mark();
    float* rows = ctx.workspace.allocate<float>(count * width);
    for_tokens(ctx.pool, count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) std::copy_n(x + token[i] * width, width, rows + i * width);
    });
    const float* result = experts_[static_cast<size_t>(e)](rows, count, ctx);
    for_tokens(ctx.pool, count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t k = 0; k < width; ++k) y[token[i] * width + k] += share[i] * result[i * width + k];
      }
    });
    ctx.workspace.release(before);
  }
  ctx.workspace.release(mark);
  return y;
}

void ExpertSet::visit(const WeightVisitor& visit) const {
  router_.visit(visit);
  const double used = static_cast<double>(sizes_.n_used) / static_cast<double>(sizes_.n_experts);
  for (const GatedMlp& expert : experts_) {
    expert.visit([&](const ModuleRows& rows, const PackedWeight& weight) {
      ModuleRows shared = rows;
      shared.read_share = used;
      visit(shared, weight);
    });
  }
}

}  // namespace packhorse
