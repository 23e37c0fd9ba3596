// Every model directory of the fixtures: read by the dialect that wrote it, each weight as that dialect's tool reads
// it. A new folder needs no code.

#include <algorithm>
#include <cctype>

#include "fixture_rows.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

/// The dialect by the begin of a folder's name.
constexpr std::pair<std::string_view, std::string_view> kDialects[] = {
    {"autoround-export-awq", "awq"},
    {"autoround-export-gptq", "gptq"},
    {"autoround-llm_compressor", "compressed-tensors"},
    {"autoround-", "auto-round"},
    {"awq-", "awq"},
    {"bitblas-", "bitblas"},
    {"bnb-", "bitsandbytes"},
    {"ct-", "compressed-tensors"},
    {"fp8-", "fp8"},
    {"gptq-", "gptq"},
    {"hqq-", "hqq"},
    {"inc-fp8", "inc"},
    {"inc-", "gptq"},
    {"modelopt-", "modelopt"},
    {"quark-", "quark"},
    {"torchao-", "torchao"},
};

struct Folder {
  fs::path path;
  std::string_view dialect;
  friend void PrintTo(const Folder& folder, std::ostream* out) { *out << folder.path; }
};

std::vector<Folder> folders() {
  std::vector<Folder> out;
  for (const fs::path& root : {testing::checkpoints_dir() / "formats", testing::golden_dir() / "formats"}) {
    if (!fs::exists(root)) continue;
    for (const auto& entry : fs::directory_iterator(root)) {
      const std::string name = entry.path().filename().string();
      const auto is_same = [&](const Folder& folder) { return folder.path.filename() == name; };
      const auto dialect =
          std::ranges::find_if(kDialects, [&](const auto& row) { return name.starts_with(row.first); });
      if (dialect != std::end(kDialects) && std::ranges::none_of(out, is_same))
        out.push_back({entry.path(), dialect->second});
    }
  }
  std::ranges::sort(out, {}, &Folder::path);
  return out;
}

/// N of a module, as the model's config has it.
int64_t rows_of(const Json& config, std::string_view module) {
  const std::string_view leaf = module.substr(module.rfind('.') + 1);
  const int64_t hidden = config.at("hidden_size"), heads = config.at("num_attention_heads");
  const int64_t head_dim = config.value("head_dim", hidden / heads);
  if (leaf == "q_proj") return heads * head_dim;
  if (leaf == "k_proj" || leaf == "v_proj") return config.at("num_key_value_heads").get<int64_t>() * head_dim;
  if (leaf == "o_proj" || leaf == "down_proj" || leaf == "w2") return hidden;
  return config.at(leaf == "lm_head" ? "vocab_size" : "intermediate_size");
}

class Fixtures : public ::testing::TestWithParam<Folder> {};

TEST_P(Fixtures, rows_equal_the_reference) {
  const auto& [path, dialect] = GetParam();
  const CheckpointView view = open_checkpoint(path.string());
  EXPECT_EQ(plan_quantization(view, {}).description, fmt::format("{} (checkpoint)", dialect));
  const int n = testing::for_each_reference_row(path, [&](const std::string& name, const TensorInfo& tensor,
                                                          const std::vector<float>& rows) {
    const Module module = testing::module_of(name, rows_of(view.config, name), static_cast<int64_t>(tensor.shape[1]));
    testing::expect_first_rows(plan_weight(view, module, {}, true), rows);
  });
  const Json about = Json::parse(testing::read_text(path / "reference.json"));
  EXPECT_EQ(n, about.at("quantized_modules"));
}

INSTANTIATE_TEST_SUITE_P(Formats, Fixtures, ::testing::ValuesIn(folders()), [](const auto& test) {
  std::string name = test.param.path.filename().string();
  std::ranges::replace_if(
      name, [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
});

}  // namespace
}  // namespace packhorse
