#include "engine/evaluate.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "io/safetensors.h"

namespace packhorse {
namespace {

constexpr int64_t kRowsPerStep = 64;  // rows of logits held at a time

/// Runs token sequences through a model with a cache of its own.
class Scorer {
 public:
  Scorer(LoadedModel& loaded, int64_t max_tokens)
      : loaded_(loaded),
        kv_(loaded.model->cache_specs(), (max_tokens + kKvBlockTokens - 1) / kKvBlockTokens),
        blocks_(static_cast<size_t>(kv_.n_blocks())) {
    std::iota(blocks_.begin(), blocks_.end(), 0);
  }
  /// Feeds tokens at `position`; logits of all of them when `want_logits`. They hold until the next call.
  Logits feed(std::span<const int32_t> tokens, int64_t position, bool want_logits) {
    Batch batch{.tokens = {tokens.begin(), tokens.end()}, .spans = {}, .logit_rows = {}};
    batch.spans.push_back({.first_token = 0,
                           .n_tokens = static_cast<int64_t>(tokens.size()),
                           .first_position = position,
                           .block_table = blocks_});
    if (want_logits) {
      batch.logit_rows.resize(tokens.size());
      std::iota(batch.logit_rows.begin(), batch.logit_rows.end(), 0);
    }
    ForwardCtx ctx{.pool = loaded_.pool, .workspace = workspace_, .kv = kv_};
    return loaded_.model->forward(batch, ctx);
  }

 private:
  LoadedModel& loaded_;
  KvPool kv_;
  std::vector<int32_t> blocks_;
  Workspace workspace_;
};

/// log(sum(exp(row))) in double.
double log_sum_exp(std::span<const float> row) {
  const double largest = *std::ranges::max_element(row);
  double sum = 0;
  for (const float x : row) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

double kl_divergence(std::span<const float> p, double p_norm, std::span<const float> q, double q_norm) {
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double log_p = p[i] - p_norm;
    kl += std::exp(log_p) * (log_p - (q[i] - q_norm));
  }
  return kl;
}

void check_finite(std::span<const float> row) {
  for (const float x : row) {
    if (!std::isfinite(x)) fail_model("the model gives logits that are not finite");
  }
}

struct Sums {
  double nll = 0, nll_squares = 0, kl = 0, max_kl = 0;
  int64_t n = 0, agree = 0;
};

/// Scores of rows of logits against the tokens that follow and, if given, another model's logits.
void score_rows(const Logits& logits, const Logits* other, std::span<const int32_t> targets, ThreadPool& pool,
                Sums& sums) {
  struct Row {
    double nll = 0, kl = 0;
    bool agree = false;
  };
  std::vector<Row> rows(targets.size());
  pool.run(static_cast<int64_t>(targets.size()), [&](int64_t i) {
    const std::span<const float> mine = logits.row(i);
    check_finite(mine);
    const double norm = log_sum_exp(mine);
    Row& row = rows[static_cast<size_t>(i)];
    row.nll = norm - mine[static_cast<size_t>(targets[static_cast<size_t>(i)])];
    if (!other) return;
    const std::span<const float> theirs = other->row(i);
    check_finite(theirs);
    row.kl = kl_divergence(theirs, log_sum_exp(theirs), mine, norm);
    row.agree = std::ranges::max_element(mine) - mine.begin() == std::ranges::max_element(theirs) - theirs.begin();
  });
  for (const Row& row : rows) {
    sums.nll += row.nll;
    sums.nll_squares += row.nll * row.nll;
    sums.kl += row.kl;
    sums.max_kl = std::max(sums.max_kl, row.kl);
    sums.agree += row.agree;
    ++sums.n;
  }
}

/// Feeds a window and scores the predictions made at positions from `first` on.
void score_window(std::span<const int32_t> window, int64_t first, Scorer& scorer, Scorer* other, ThreadPool& pool,
                  Sums& sums) {
  const auto last = static_cast<int64_t>(window.size()) - 1;  // nothing follows the last token
  const auto feed = [&](int64_t begin, int64_t end, bool score) {
    const auto tokens = window.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    const Logits logits = scorer.feed(tokens, begin, score);
    const Logits theirs = other ? other->feed(tokens, begin, score) : Logits{};
    if (score)
      score_rows(logits, other ? &theirs : nullptr, window.subspan(static_cast<size_t>(begin) + 1, tokens.size()), pool,
                 sums);
  };
  if (first > 0) feed(0, first, false);
  for (int64_t begin = first; begin < last; begin += kRowsPerStep)
    feed(begin, std::min(begin + kRowsPerStep, last), true);
}

/// Distance in representable floats.
double ulp_distance(float a, float b) {
  const auto ordered = [](float f) -> int64_t {
    const auto bits = std::bit_cast<int32_t>(f);
    return bits < 0 ? static_cast<int64_t>(INT32_MIN) - bits : bits;
  };
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) == std::isnan(b) ? 0 : INFINITY;
  return std::fabs(static_cast<double>(ordered(a) - ordered(b)));
}

/// A reference file's tensors, checked for what comparison needs.
class ReferenceFile {
 public:
  explicit ReferenceFile(const std::string& path) : file_(path), header_(read_safetensors_header(file_)) {}

  template <class T>
  std::vector<T> read(const std::string& name, DType dtype, size_t n_dims, std::vector<uint64_t>& shape) const {
    const auto found = header_.tensors.find(name);
    if (found == header_.tensors.end()) fail_model("{}: missing tensor '{}'", file_.name(), printable(name));
    const TensorInfo& tensor = found->second;
    if (tensor.dtype != dtype || tensor.shape.size() != n_dims) {
      fail_model("{}: tensor '{}': expected {} with {} dimensions", file_.name(), printable(name), info(dtype).name,
                 n_dims);
    }
    shape = tensor.shape;
    std::vector<T> out(tensor.n_bytes / sizeof(T));
    file_.read(tensor.offset, std::as_writable_bytes(std::span(out)));
    return out;
  }
  std::vector<std::string> row_modules() const {
    std::vector<std::string> out;
    for (const auto& [name, tensor] : header_.tensors) {
      if (name.starts_with("rows.")) out.push_back(name.substr(5));
    }
    return out;
  }
  std::string_view name() const { return file_.name(); }

 private:
  File file_;
  SafetensorsHeader header_;
};

void compare_rows(const LoadedModel& loaded, const ReferenceFile& reference, ReferenceScore& score) {
  for (const std::string& module : reference.row_modules()) {
    std::vector<uint64_t> shape;
    const std::vector<float> want = reference.read<float>("rows." + module, DType::f32, 2, shape);
    bool found = false;
    loaded.model->visit_weights([&](const ModuleRows& rows, const PackedWeight& weight) {
      if (rows.module != module || found) return;
      found = true;
      if (shape[1] != static_cast<uint64_t>(weight.k()) || shape[0] > static_cast<uint64_t>(rows.n_rows)) {
        fail_model("{}: 'rows.{}' is [{}, {}], the model's weight [{}, {}]", reference.name(), printable(module),
                   shape[0], shape[1], rows.n_rows, weight.k());
      }
      std::vector<float> got(shape[1]);
      for (uint64_t r = 0; r < shape[0]; ++r) {
        weight.decode_row(rows.first_row + static_cast<int64_t>(r), got.data());
        for (uint64_t k = 0; k < shape[1]; ++k) {
          const double ulp = ulp_distance(want[r * shape[1] + k], got[k]);
          if (!score.worst_row_ulp || ulp > *score.worst_row_ulp) score.worst_row_ulp = ulp, score.worst_row = module;
        }
      }
    });
    if (!found) fail_model("{}: 'rows.{}': the model has no such module", reference.name(), printable(module));
  }
}

struct PositionScore {
  double worst_top20 = 0, kl = 0;
};

PositionScore compare_position(std::span<const float> want, std::span<const float> got) {
  check_finite(got);
  const double want_norm = log_sum_exp(want), got_norm = log_sum_exp(got);
  std::vector<int32_t> order(want.size());
  std::iota(order.begin(), order.end(), 0);
  const auto top = static_cast<std::ptrdiff_t>(std::min<size_t>(20, order.size()));
  std::partial_sort(order.begin(), order.begin() + top, order.end(),
                    [&](int32_t a, int32_t b) { return want[static_cast<size_t>(a)] > want[static_cast<size_t>(b)]; });
  PositionScore score;
  for (std::ptrdiff_t i = 0; i < top; ++i) {
    const auto token = static_cast<size_t>(order[static_cast<size_t>(i)]);
    score.worst_top20 = std::max(score.worst_top20, std::fabs((want[token] - want_norm) - (got[token] - got_norm)));
  }
  score.kl = kl_divergence(want, want_norm, got, got_norm);
  return score;
}

}  // namespace

TextScore score_text(LoadedModel& loaded, const Tokenizer& tokenizer, const TextScoreOptions& options,
                     LoadedModel* against) {
  if (options.ctx < 2 || options.stride < 1 || options.stride > options.ctx) {
    fail(ErrorKind::usage, "eval: ctx {} and stride {}: 2 <= ctx and 1 <= stride <= ctx are needed", options.ctx,
         options.stride);
  }
  if (options.ctx > loaded.max_model_len)
    fail(ErrorKind::usage, "eval: ctx {} is greater than the model's context {}", options.ctx, loaded.max_model_len);
  if (against && against->model->vocab_size() != loaded.model->vocab_size()) {
    fail_model("eval: the models' vocabularies differ ({} and {} tokens)", loaded.model->vocab_size(),
               against->model->vocab_size());
  }
  const bool add_bos = options.add_bos.value_or(tokenizer.adds_bos()) && tokenizer.bos_id();
  std::vector<int32_t> tokens = tokenizer.encode(options.text, false, false);
  if (add_bos) tokens.insert(tokens.begin(), *tokenizer.bos_id());
  if (options.max_tokens > 0 && static_cast<int64_t>(tokens.size()) > options.max_tokens)
    tokens.resize(static_cast<size_t>(options.max_tokens));
  const auto n_tokens = static_cast<int64_t>(tokens.size());
  if (n_tokens < 2) fail(ErrorKind::usage, "eval: the text has {} tokens, 2 are needed", n_tokens);
  const int64_t ctx = std::min(options.ctx, n_tokens), stride = std::min(options.stride, ctx);
  const int64_t first = stride == ctx ? ctx / 2 : ctx - stride;

  Scorer scorer(loaded, ctx);
  std::optional<Scorer> other;
  if (against) other.emplace(*against, ctx);
  Sums sums;
  for (int64_t begin = 0; begin + ctx <= n_tokens; begin += stride) {
    std::vector<int32_t> window(tokens.begin() + begin, tokens.begin() + begin + ctx);
    if (add_bos) window[0] = *tokenizer.bos_id();
    score_window(window, first, scorer, other ? &*other : nullptr, loaded.pool, sums);
    if (loaded.options.on_progress)
      loaded.options.on_progress("Scoring", static_cast<uint64_t>(begin + ctx), static_cast<uint64_t>(n_tokens));
  }
  const auto n = static_cast<double>(sums.n);
  const double mean = sums.nll / n, variance = std::max(0.0, sums.nll_squares / n - mean * mean);
  TextScore score{.n_tokens = n_tokens,
                  .n_scored = sums.n,
                  .perplexity = std::exp(mean),
                  .perplexity_stderr = 0,
                  .mean_kl = {},
                  .max_kl = {},
                  .top1_agreement = {}};
  score.perplexity_stderr = sums.n > 1 ? std::sqrt(variance / (n - 1)) * score.perplexity : 0;
  if (against) {
    score.mean_kl = sums.kl / n;
    score.max_kl = sums.max_kl;
    score.top1_agreement = static_cast<double>(sums.agree) / n;
  }
  return score;
}

ReferenceScore score_reference(LoadedModel& loaded, const ReferenceOptions& options) {
  const ReferenceFile reference(options.path);
  std::vector<uint64_t> token_shape, logit_shape;
  const std::vector<int32_t> tokens = reference.read<int32_t>("tokens", DType::i32, 2, token_shape);
  const std::vector<float> logits = reference.read<float>(options.logits, DType::f32, 3, logit_shape);
  const auto length = static_cast<int64_t>(token_shape[1]), vocab = loaded.model->vocab_size();
  if (logit_shape[0] != token_shape[0] || logit_shape[1] != token_shape[1] ||
      logit_shape[2] != static_cast<uint64_t>(vocab)) {
    fail_model("{}: '{}' is [{}, {}, {}] where tokens and vocabulary ask for [{}, {}, {}]", reference.name(),
               printable(options.logits), logit_shape[0], logit_shape[1], logit_shape[2], token_shape[0], length,
               vocab);
  }
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocab)
      fail_model("{}: token {} is outside the vocabulary of {}", reference.name(), token, vocab);
  }
  if (options.chunk < 0) fail(ErrorKind::usage, "eval: chunk {} is negative", options.chunk);
  const int64_t chunk = options.chunk > 0 ? options.chunk : length;
  std::vector<PositionScore> scores(token_shape[0] * token_shape[1]);
  for (uint64_t b = 0; b < token_shape[0]; ++b) {
    Scorer scorer(loaded, length);
    for (int64_t begin = 0; begin < length; begin += chunk) {
      const int64_t count = std::min(chunk, length - begin);
      const auto at = b * token_shape[1] + static_cast<uint64_t>(begin);
      const Logits got = scorer.feed(std::span(tokens).subspan(at, static_cast<size_t>(count)), begin, true);
      loaded.pool.run(count, [&](int64_t i) {
        const size_t position = at + static_cast<size_t>(i);
        const auto want = std::span(logits).subspan(position * static_cast<size_t>(vocab), static_cast<size_t>(vocab));
        scores[position] = compare_position(want, got.row(i));
      });
    }
  }
  ReferenceScore out{.n_positions = static_cast<int64_t>(scores.size()), .worst_row_ulp = {}, .worst_row = {}};
  for (const PositionScore& score : scores) {
    out.worst_top20 = std::max(out.worst_top20, score.worst_top20);
    out.share_within += score.worst_top20 <= options.tolerance;
    out.mean_kl += score.kl;
    out.max_kl = std::max(out.max_kl, score.kl);
  }
  const auto n = static_cast<double>(scores.size());
  out.share_within /= n;
  out.mean_kl /= n;
  compare_rows(loaded, reference, out);
  return out;
}

}  // namespace packhorse
