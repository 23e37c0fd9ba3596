#pragma once
// A model whose logits are a hash of the tokens that it finds in the KV cache, so that any mistake in block tables,
// positions or reuse of blocks changes them; and what drives it.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <stdexcept>

#include "engine/core.h"

namespace packhorse::testing {

inline constexpr int32_t kFakeVocab = 96;

/// Logits after `tokens`: pseudo-random in [-4, 4).
inline std::vector<float> fake_logits(std::span<const int32_t> tokens) {
  uint64_t state = 0x9e3779b97f4a7c15u;
  const auto mix = [&](uint64_t value) {
    state = (state ^ value) * 0xbf58476d1ce4e5b9u;
    state ^= state >> 29;
    return state;
  };
  for (const int32_t token : tokens) mix(static_cast<uint64_t>(token) + 1);
  std::vector<float> logits(kFakeVocab);
  for (float& logit : logits) logit = static_cast<float>(mix(1) >> 40) * (8.0f / (1 << 24)) - 4.0f;
  return logits;
}

/// Hidden state after `tokens`: four values that depend on all of them.
inline std::vector<float> fake_hidden(std::span<const int32_t> tokens) {
  const std::vector<float> logits = fake_logits(tokens);
  return {logits.begin(), logits.begin() + 4};
}

class FakeModel : public Model {
 public:
  Logits forward(const Batch& batch, ForwardCtx& ctx) const override {
    ++n_calls;
    max_rows = std::max(max_rows, batch.logit_rows.size());
    if (throws_on_call == n_calls) throw std::runtime_error("device lost");
    Logits logits{ctx.workspace.allocate<float>(static_cast<int64_t>(batch.logit_rows.size()) * kFakeVocab),
                  static_cast<int64_t>(batch.logit_rows.size()), kFakeVocab};
    for (const SequenceSpan& span : batch.spans) write(batch, span, ctx.kv);
    int64_t row = 0;
    for (const SequenceSpan& span : batch.spans) {
      while (row < logits.n_rows && batch.logit_rows[static_cast<size_t>(row)] < span.first_token + span.n_tokens) {
        const int64_t in_span = batch.logit_rows[static_cast<size_t>(row)] - span.first_token;
        fill(read(span, span.first_position + in_span + 1, ctx.kv), logits.row(row++));
      }
    }
    EXPECT_EQ(row, logits.n_rows);
    float* hidden = ctx.hidden;
    for (const int32_t index : batch.hidden_rows) {
      const auto span =
          std::ranges::find_if(batch.spans, [&](const SequenceSpan& s) { return index < s.first_token + s.n_tokens; });
      const std::vector<float> state =
          fake_hidden(read(*span, span->first_position + index - span->first_token + 1, ctx.kv));
      hidden = std::copy(state.begin(), state.end(), hidden);
    }
    return logits;
  }
  std::vector<CacheSpec> cache_specs() const override { return {2, CacheSpec{.n_kv_heads = 1, .head_dim = 2}}; }
  int64_t vocab_size() const override { return kFakeVocab; }
  int64_t hidden_size() const override { return 4; }
  int64_t max_positions() const override { return 4096; }

  std::function<int32_t(std::span<const int32_t>)> script;  // next token that gets nearly all probability, or -1
  int32_t poison_token = -1;                                // makes all logits after it NaN
  int64_t throws_on_call = -1;
  mutable int64_t n_calls = 0, n_tokens = 0;
  mutable size_t max_rows = 0;

 private:
  /// Place of one position within a layer's keys, [1][head_dim][16].
  static float* key_at(const KvLayerView& layer, const SequenceSpan& span, int64_t position) {
    const int32_t block = span.block_table[static_cast<size_t>(position / kKvBlockTokens)];
    return reinterpret_cast<float*>(layer.keys + block * layer.block_stride) + position % kKvBlockTokens;
  }
  void write(const Batch& batch, const SequenceSpan& span, KvPool& kv) const {
    for (int64_t i = 0; i < span.n_tokens; ++i, ++n_tokens) {
      for (int64_t layer = 0; layer < 2; ++layer) {
        float* key = key_at(kv.layer(layer), span, span.first_position + i);
        key[0] = static_cast<float>(batch.tokens[static_cast<size_t>(span.first_token + i)]);
        key[kKvBlockTokens] = static_cast<float>(span.first_position + i);
      }
    }
  }
  std::vector<int32_t> read(const SequenceSpan& span, int64_t count, KvPool& kv) const {
    std::vector<int32_t> tokens;
    for (int64_t position = 0; position < count; ++position) {
      const float* key = key_at(kv.layer(position % 2), span, position);
      EXPECT_EQ(key[kKvBlockTokens], static_cast<float>(position)) << "a block of another sequence, or never written";
      tokens.push_back(std::isfinite(key[0]) ? static_cast<int32_t>(key[0]) : -2);
    }
    return tokens;
  }
  void fill(const std::vector<int32_t>& tokens, std::span<float> row) const {
    const std::vector<float> logits = fake_logits(tokens);
    std::copy(logits.begin(), logits.end(), row.begin());
    const int32_t next = script ? script(tokens) : -1;
    if (next >= 0) row[static_cast<size_t>(next)] = 60;
    if (poison_token >= 0 && std::find(tokens.begin(), tokens.end(), poison_token) != tokens.end()) {
      row[0] = std::numeric_limits<float>::quiet_NaN();
    }
  }
};

/// An engine over the fake model. Blocks are poisoned before use, in every build.
struct FakeEngine {
  explicit FakeEngine(int64_t n_blocks = 256, EngineLimits limits = {}, const Tokenizer* tokenizer = nullptr)
      : kv(model.cache_specs(), n_blocks), core(model, kv, pool, tokenizer, complete(std::move(limits))) {}

  static EngineLimits complete(EngineLimits limits) {
    if (limits.max_model_len == 0) limits.max_model_len = 4096;
    limits.poison_blocks = true;
    limits.time_chunks = false;  // steps are the same in every run
    return limits;
  }
  uint64_t add(const std::vector<int32_t>& tokens, const SamplingParams& params, std::string salt = "") {
    Prompt prompt;
    prompt.token_ids.emplace(tokens.begin(), tokens.end());
    prompt.cache_salt = std::move(salt);
    return core.add(prompt, params);
  }
  /// Steps until nothing is left; the last output of each request.
  std::map<uint64_t, RequestOutput> finish() {
    std::map<uint64_t, RequestOutput> last;
    for (int step = 0; core.has_unfinished(); ++step) {
      if (step > 100000) throw std::runtime_error("the engine makes no progress");
      for (RequestOutput& output : core.step()) last[output.request_id] = std::move(output);
    }
    EXPECT_EQ(core.stats().n_free_blocks, core.stats().n_blocks) << "blocks leaked";
    return last;
  }
  RequestOutput run(const std::vector<int32_t>& tokens, const SamplingParams& params, std::string salt = "") {
    const uint64_t id = add(tokens, params, std::move(salt));
    return finish().at(id);
  }

  FakeModel model;
  ThreadPool pool{2};
  KvPool kv;
  EngineCore core;
};

inline SamplingParams greedy(int64_t max_tokens) {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = max_tokens;
  return params;
}

inline std::vector<int32_t> test_prompt(int64_t n_tokens, int32_t salt = 1) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n_tokens; ++i) tokens.push_back(static_cast<int32_t>((i * 7 + salt * 13 + i * i % 11) % 90));
  return tokens;
}

/// What greedy decoding must give, without any engine.
inline std::vector<int32_t> expected_greedy(std::vector<int32_t> tokens, int64_t n_output) {
  const size_t n_prompt = tokens.size();
  for (int64_t i = 0; i < n_output; ++i) {
    const std::vector<float> logits = fake_logits(tokens);
    tokens.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  }
  return {tokens.begin() + static_cast<ptrdiff_t>(n_prompt), tokens.end()};
}

}  // namespace packhorse::testing
