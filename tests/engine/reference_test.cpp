// Every checkpoint of the fixtures that this build loads, against the logits and dequantized rows of the tool that made
// it, in both arithmetics and at three chunk sizes. A new folder needs no code; a family that is not supported yet must
// say so in one error.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "engine/evaluate.h"
#include "models/table.h"
#include "testing.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

struct Bounds {
  double share = 1, tolerance = 2e-3, kl = 1e-6, auto_kl = 4e-3;
};

/// bounds.json: "default" (or "arch_default"), overridden by the checkpoint's entry.
Bounds bounds_of(const Json& all, const std::string& name) {
  Bounds out;
  const auto take = [&](const Json& entry) {
    if (const auto exact = entry.find("float32"); exact != entry.end()) {
      out.share = exact->value("share", out.share);
      out.tolerance = exact->value("tol", out.tolerance);
      out.kl = exact->value("kl", out.kl);
    }
    out.auto_kl = entry.value("auto_kl", out.auto_kl);
  };
  take(all.at(name.starts_with("arch/") ? "arch_default" : "default"));
  if (const auto entry = all.at("checkpoints").find(name); entry != all.at("checkpoints").end()) take(*entry);
  return out;
}

struct Fixture {
  std::string name;
  fs::path directory;
  Bounds bounds;

  std::string model() const {
    std::vector<std::string> ggufs;
    for (const auto& entry : fs::directory_iterator(directory)) {
      if (entry.path().extension() == ".gguf") ggufs.push_back(entry.path().string());
    }
    return ggufs.empty() ? directory.string() : *std::ranges::min_element(ggufs);
  }
  std::string reference() const { return (directory / "reference.safetensors").string(); }
};

/// Whether this build should load the checkpoint: every dialect, but not yet every architecture.
bool is_expected(const Fixture& fixture) {
  if (fs::exists(testing::golden_dir() / "formats" / fixture.name)) return true;
  const CheckpointView view = open_checkpoint(fixture.model());
  const bool gguf = view.is_gguf();
  const std::string arch = gguf ? view.gguf.at("general.architecture") : view.config.at("architectures").at(0);
  return std::ranges::any_of(architectures(), [&](const Arch* row) {
    return gguf ? row->gguf.architecture == arch : std::ranges::count(row->hf_architectures, arch) > 0;
  });
}

std::vector<Fixture> fixtures() {
  std::vector<Fixture> out;
  const auto add = [&](const fs::path& root, const fs::path& bounds_file, const std::string& prefix) {
    if (!fs::exists(root) || !fs::exists(bounds_file)) return;
    const Json bounds = Json::parse(testing::read_text(bounds_file));
    for (const auto& entry : fs::directory_iterator(root)) {
      const std::string name = prefix + entry.path().filename().string();
      const auto same = [&](const Fixture& fixture) { return fixture.name == name; };
      if (fs::exists(entry.path() / "reference.safetensors") && std::ranges::none_of(out, same)) {
        out.push_back({name, entry.path(), bounds_of(bounds, name)});
      }
    }
  };
  const fs::path shared_bounds = testing::shared_dir() / "checkpoints" / "bounds.json";
  add(testing::checkpoints_dir() / "formats", shared_bounds, "");
  add(testing::checkpoints_dir() / "arch", shared_bounds, "arch/");
  add(testing::golden_dir() / "formats", testing::golden_dir() / "bounds.json", "");
  std::ranges::sort(out, {}, &Fixture::name);
  return out;
}

EngineOptions options(const Fixture& fixture, const char* dtype) {
  EngineOptions out;
  out.model = fixture.model();
  out.dtype = dtype;
  out.threads = 2;
  if (fixture.name.starts_with("arch/"))
    out.max_model_len = 40;  // dynamic frequencies are those of the reference's length
  return out;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kChunks[] = {7};
#else
constexpr int64_t kChunks[] = {0, 7, 1};
#endif

class Reference : public ::testing::TestWithParam<Fixture> {};

TEST_P(Reference, float32_is_exact_at_any_chunk_size) {
  const Fixture& fixture = GetParam();
  const EngineOptions exact = options(fixture, "float32");
  if (!is_expected(fixture)) {
    try {
      const LoadedModel loaded(exact, exact.model);
      FAIL() << "an architecture that the tables do not have loads";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::model) << e.what();
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << "one line: " << e.what();
    }
    return;
  }
  LoadedModel loaded(exact, exact.model);
  for (const int64_t chunk : kChunks) {
    const ReferenceScore score = score_reference(
        loaded,
        {.path = fixture.reference(), .logits = "logits", .chunk = chunk, .tolerance = fixture.bounds.tolerance});
    EXPECT_GE(score.share_within, fixture.bounds.share) << "worst " << score.worst_top20 << " at chunk " << chunk;
    EXPECT_LE(score.mean_kl, fixture.bounds.kl) << "chunk " << chunk;
    EXPECT_LE(score.worst_row_ulp.value_or(0), 1) << score.worst_row;
  }
}

/// Both 16-bit types: "auto" is one of them. What a weight dequantizes to depends on neither.
TEST_P(Reference, fast_arithmetic_is_close_at_any_chunk_size) {
  const Fixture& fixture = GetParam();
  if (!is_expected(fixture)) return;  // the other test looks at the error
  const std::string logits = fixture.name == "bnb-int8" ? "logits_llm_int8" : "logits";
  for (const char* dtype : {"float16", "bfloat16"}) {
    const EngineOptions fast = options(fixture, dtype);
    LoadedModel loaded(fast, fast.model);
    for (const int64_t chunk : kChunks) {
      const ReferenceScore score =
          score_reference(loaded, {.path = fixture.reference(), .logits = logits, .chunk = chunk});
      EXPECT_LE(score.mean_kl, fixture.bounds.auto_kl) << dtype << " chunk " << chunk;
      EXPECT_LE(score.worst_row_ulp.value_or(0), 1) << dtype << " " << score.worst_row;
    }
  }
}

TEST_P(Reference, no_ref_row_serves_it) {
  const Fixture& fixture = GetParam();
  if (!is_expected(fixture)) return;
  for (const char* dtype : {"auto", "float32"}) {
    const EngineOptions how = options(fixture, dtype);
    const LoadedModel loaded(how, how.model);
    loaded.model->visit_weights([](const ModuleRows& rows, const PackedWeight& weight) {
      EXPECT_FALSE(weight.kernel().name().starts_with("ref.")) << rows.module;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Reference, ::testing::ValuesIn(fixtures()), [](const auto& test) {
  std::string name = test.param.name;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
});

// LLM.int8()'s whole path with float32 activations around it: outliers apart, int8 per token, exact accumulation.
TEST(LlmInt8, follows_the_library_when_only_the_format_quantizes) {
  const fs::path directory = testing::golden_dir() / "formats" / "bnb-int8";
  EngineOptions how;
  how.model = directory.string();
  how.dtype = "float32";
  const std::string reference = (directory / "reference.safetensors").string();
  LoadedModel with_scheme(how, how.model, true), weight_only(how, how.model);
  EXPECT_LE(score_reference(with_scheme, {.path = reference, .logits = "logits_llm_int8"}).mean_kl, 1e-5);
  EXPECT_GT(score_reference(weight_only, {.path = reference, .logits = "logits_llm_int8"}).mean_kl, 1e-4)
      << "the two must differ for the test to mean anything";
}

}  // namespace
}  // namespace packhorse
