// Logits of a sequence are the same bits alone in one prefill, in chunks, token by token, and batched with others in
// any interleaving.

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>

#include "engine/loaded_model.h"
#include "formats/format_testing.h"
#include "kernels/cpu/cpu_features.h"
#include "testing.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

/// Sequences that share a pool, each with blocks of its own in scattered order.
class Runner {
 public:
  Runner(LoadedModel& loaded, std::vector<std::vector<int32_t>> sequences)
      : loaded_(loaded),
        sequences_(std::move(sequences)),
        kv_(loaded.model->cache_specs(), 16 * static_cast<int64_t>(sequences_.size())),
        logits_(sequences_.size()) {
    const auto n = static_cast<int32_t>(sequences_.size());
    for (int32_t s = 0; s < n; ++s) {
      blocks_.emplace_back();
      for (int32_t b = 0; b < 16; ++b) blocks_.back().push_back(((b * 7 + 3) % 16) * n + s);
    }
  }
  /// One forward pass over the next `counts[s]` tokens of each sequence s.
  void step(const std::vector<int64_t>& counts) {
    Batch batch;
    std::vector<size_t> owners;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const auto done = static_cast<int64_t>(logits_[s].size());
      const int64_t count = std::min(counts[s], static_cast<int64_t>(sequences_[s].size()) - done);
      if (count <= 0) continue;
      batch.spans.push_back({.first_token = static_cast<int64_t>(batch.tokens.size()),
                             .n_tokens = count,
                             .first_position = done,
                             .block_table = blocks_[s]});
      for (int64_t i = 0; i < count; ++i) {
        batch.logit_rows.push_back(static_cast<int32_t>(batch.tokens.size()));
        batch.tokens.push_back(sequences_[s][static_cast<size_t>(done + i)]);
        owners.push_back(s);
      }
    }
    if (batch.tokens.empty()) return;
    ForwardCtx ctx{.pool = loaded_.pool, .workspace = workspace_, .kv = kv_};
    const Logits logits = loaded_.model->forward(batch, ctx);
    for (size_t i = 0; i < owners.size(); ++i) {
      const auto row = logits.row(static_cast<int64_t>(i));
      logits_[owners[i]].emplace_back(row.begin(), row.end());
    }
  }
  bool done() const {
    for (size_t s = 0; s < sequences_.size(); ++s) {
      if (logits_[s].size() < sequences_[s].size()) return false;
    }
    return true;
  }
  const std::vector<std::vector<float>>& logits(size_t s) const { return logits_[s]; }

 private:
  LoadedModel& loaded_;
  std::vector<std::vector<int32_t>> sequences_;
  KvPool kv_;
  std::vector<std::vector<int32_t>> blocks_;
  std::vector<std::vector<std::vector<float>>> logits_;  // [sequence][position][vocab]
  Workspace workspace_;
};

const std::string kKvTypes[] = {"float32",  "bfloat16",           "float16", "fp8",
                                "fp8_e5m2", "fp8_per_token_head", "int8",    "int4_per_token_head"};

using Case = std::tuple<std::string, std::string, std::string>;  // fixture, dtype, KV dtype
class BitEqual : public ::testing::TestWithParam<Case> {};

TEST_P(BitEqual, chunks_decode_and_random_interleavings) {
  const auto& [name, dtype, kv] = GetParam();
  const fs::path directory = testing::fixture(name);
  if (directory.empty()) GTEST_SKIP() << "no fixture " << name;
  EngineOptions options;
  options.model = directory.string();
  options.dtype = dtype;
  options.kv_cache_dtype = kv;
  options.calculate_kv_scales = kv == "fp8";
  options.threads = 3;
  LoadedModel loaded(options, options.model);
  EngineOptions single = options;
  single.threads = 1;
  LoadedModel alone(single, single.model);

  std::mt19937 random(42);
  std::vector<std::vector<int32_t>> sequences(5);
  for (auto& sequence : sequences) {
    sequence.resize(20 + random() % 150);
    for (int32_t& token : sequence)
      token = static_cast<int32_t>(random() % static_cast<uint64_t>(loaded.model->vocab_size()));
  }
  std::vector<std::vector<std::vector<float>>> want;
  for (const auto& sequence : sequences) {
    Runner runner(alone, {sequence});
    runner.step({static_cast<int64_t>(sequence.size())});
    want.push_back(runner.logits(0));
  }
  const auto check = [&](const Runner& runner, size_t s, size_t at, const char* how) {
    ASSERT_EQ(runner.logits(at).size(), want[s].size());
    for (size_t p = 0; p < want[s].size(); ++p) {
      ASSERT_EQ(std::memcmp(want[s][p].data(), runner.logits(at)[p].data(), want[s][p].size() * 4), 0)
          << how << ": sequence " << s << " position " << p;
    }
  };
  for (const int64_t chunk : {1, 7, 33}) {
    Runner runner(loaded, {sequences[0]});
    while (!runner.done()) runner.step({chunk});
    check(runner, 0, 0, "chunks");
  }
  for (int round = 0; round < 3; ++round) {
    Runner runner(loaded, sequences);
    while (!runner.done()) {
      std::vector<int64_t> counts(sequences.size());
      for (int64_t& count : counts) count = std::array{0, 1, 1, 5, 16, 60}[random() % 6];
      runner.step(counts);
    }
    for (size_t s = 0; s < sequences.size(); ++s) check(runner, s, s, "interleaved");
  }
}

/// The repository's own checkpoints.
std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(testing::golden_dir() / "formats"))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

std::string label(const ::testing::TestParamInfo<Case>& test) {
  std::string out = std::get<0>(test.param) + "_" + std::get<1>(test.param) + "_" + std::get<2>(test.param);
  for (char& c : out) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Golden, BitEqual,
                         ::testing::Combine(::testing::ValuesIn(golden_names()),
                                            ::testing::Values("auto", "bfloat16", "float32"),
                                            ::testing::Values("auto")),
                         label);
INSTANTIATE_TEST_SUITE_P(KvTypes, BitEqual,
                         ::testing::Combine(::testing::Values("gguf-q4_0"), ::testing::Values("auto"),
                                            ::testing::ValuesIn(kKvTypes)),
                         label);
// Which tokens share an expert depends on the batch.
INSTANTIATE_TEST_SUITE_P(Experts, BitEqual,
                         ::testing::Combine(::testing::Values("gguf-q4_0-mixtral", "ct-mixtral-w4a16"),
                                            ::testing::Values("auto", "bfloat16", "float32"),
                                            ::testing::Values("auto")),
                         label);

// Rows of all instruction sets do the same float operations in the same order, but for those that round activations to
// bfloat16: these are in one set alone, and serve no model that is to run in float32.
constexpr std::string_view kOtherArithmetic = "avx512_bf16";

std::vector<const KernelSet*> usable_sets() {
  std::vector<const KernelSet*> out;
  for (const KernelSet* set : kernel_sets()) {
    if ((set->needs & ~cpu::features()) == 0 && std::string_view(set->name) != "ref") out.push_back(set);
  }
  return out;
}

class SameBits : public ::testing::TestWithParam<std::tuple<const KernelSet*, std::string, std::string>> {};

TEST_P(SameBits, on_every_instruction_set) {
  const auto& [set, name, kv] = GetParam();
  for (const char* dtype : {"float32", "auto"}) {
    if (set->name == kOtherArithmetic && std::string_view(dtype) == "auto") continue;
    EngineOptions options;
    options.model = (testing::golden_dir() / "formats" / name).string();
    options.dtype = dtype;
    options.kv_cache_dtype = kv;
    options.threads = 2;
    options.isa =
        usable_sets().front()->name == kOtherArithmetic ? usable_sets()[1]->name : usable_sets().front()->name;
    LoadedModel best(options, options.model);
    options.isa = set->name;
    LoadedModel limited(options, options.model);
    std::vector<int32_t> tokens(75);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 131 % 1000);
    Runner want(best, {tokens}), got(limited, {tokens});
    want.step({75}), got.step({75});
    for (size_t p = 0; p < tokens.size(); ++p) {
      ASSERT_EQ(std::memcmp(want.logits(0)[p].data(), got.logits(0)[p].data(), want.logits(0)[p].size() * 4), 0)
          << dtype << " position " << p;
    }
  }
}

std::string set_label(const ::testing::TestParamInfo<SameBits::ParamType>& test) {
  std::string out =
      std::string(std::get<0>(test.param)->name) + "_" + std::get<1>(test.param) + "_" + std::get<2>(test.param);
  for (char& c : out) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Golden, SameBits,
                         ::testing::Combine(::testing::ValuesIn(usable_sets()),
                                            ::testing::Values("bnb-nf4-double", "bnb-int8", "gguf-q4_k_m-mix",
                                                              "gguf-q3_k_m-qwen2"),
                                            ::testing::Values("auto")),
                         set_label);
INSTANTIATE_TEST_SUITE_P(KvTypes, SameBits,
                         ::testing::Combine(::testing::ValuesIn(usable_sets()), ::testing::Values("gguf-q4_0"),
                                            ::testing::ValuesIn(kKvTypes)),
                         set_label);

}  // namespace
}  // namespace packhorse
