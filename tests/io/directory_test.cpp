#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <functional>

#include "base/error.h"
#include "io/checkpoint.h"
#include "io/gguf_writer.h"
#include "testing.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using testing::write_text;

/// One file of one-byte tensors, in order of name.
std::string safetensors(const std::vector<std::string>& names) {
  Json header = Json::object();
  for (size_t i = 0; i < names.size(); ++i) {
    header[names[i]] = {{"dtype", "U8"}, {"shape", {1}}, {"data_offsets", {i, i + 1}}};
  }
  std::string bytes;
  const std::string text = header.dump();
  testing::put_string(bytes, text);
  for (size_t i = 0; i < names.size(); ++i) bytes.push_back(static_cast<char>('0' + i));
  return bytes;
}

std::string gguf() {
  testing::GgufFile file;
  file.keys = {testing::string_key("general.architecture", "llama")};
  file.tensors = {{"t", {8}, 0, 32}};
  return file.write();
}

std::string failure(const fs::path& path, ErrorKind kind = ErrorKind::model) {
  try {
    open_checkpoint(path.string());
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos);
    return error.what();
  }
  ADD_FAILURE() << "loaded";
  return "";
}

void expect_failure(const fs::path& path, std::string_view part) {
  const std::string message = failure(path);
  EXPECT_NE(message.find(part), message.npos) << "got: " << message << "\nexpected: " << part;
}

/// A folder with config.json and two shards under an index.
class Directory : public ::testing::Test {
 protected:
  Directory() {
    write("config.json", R"({"model_type": "llama"})");
    write("s1.safetensors", safetensors({"a", "b"}));
    write("s2.safetensors", safetensors({"c"}));
    write_index({{"a", "s1.safetensors"}, {"b", "s1.safetensors"}, {"c", "s2.safetensors"}});
  }
  void SetUp() override { ASSERT_EQ(open().tensors.size(), 3u); }

  fs::path path(std::string_view name) const { return root() / name; }
  fs::path root() const { return dir_.path() / "model"; }
  void write(std::string_view name, std::string_view text) {
    fs::create_directories(root());
    fs::remove_all(path(name));
    write_text(path(name), text);
  }
  void write_index(const Json& weight_map) {
    write("model.safetensors.index.json", Json({{"metadata", {{"total_size", 3}}}, {"weight_map", weight_map}}).dump());
  }
  void remove(std::string_view name) { fs::remove_all(path(name)); }
  void remove_index() { remove("model.safetensors.index.json"); }
  CheckpointView open() const { return open_checkpoint(root().string()); }

  testing::TempDir dir_;
};

TEST_F(Directory, shards_are_found_by_the_index) {
  write("other.safetensors", "not read");
  const CheckpointView view = open();
  EXPECT_EQ(view.config["model_type"], "llama");
  EXPECT_TRUE(view.quantization_config.is_null());
  EXPECT_FALSE(view.is_gguf());
  EXPECT_TRUE(view.notes.empty());
  EXPECT_EQ(view.files.size(), 2u);
  EXPECT_EQ(view.describe("c"), "s2.safetensors: tensor 'c'");
  EXPECT_EQ(view.read_all(view.at("b")), std::vector<std::byte>{std::byte{'1'}});
  EXPECT_EQ(view.find("d"), nullptr);
  EXPECT_THROW(view.at("d"), Error);
}

TEST_F(Directory, reads_beyond_a_tensor_are_refused) {
  const CheckpointView view = open();
  std::byte bytes[2];
  EXPECT_THROW(view.read(view.at("a"), 0, bytes), Error);
  EXPECT_THROW(view.read(view.at("a"), UINT64_MAX, bytes), Error);
}

TEST_F(Directory, without_an_index_every_safetensors_file_counts) {
  remove_index();
  write("pytorch_model.bin", "never opened");
  write("._s1.safetensors", "hidden");
  EXPECT_EQ(open().tensors.size(), 3u);
  write("weights-x.safetensors", safetensors({"a"}));
  expect_failure(root(), "weights-x.safetensors: tensor 'a' is in s1.safetensors too");
}

TEST_F(Directory, consolidated_is_ignored_beside_model) {
  remove_index();
  remove("s1.safetensors");
  remove("s2.safetensors");
  write("consolidated.safetensors", safetensors({"a"}));
  EXPECT_EQ(open().tensors.size(), 1u);
  write("model-00001-of-00001.safetensors", safetensors({"a", "b"}));
  const CheckpointView view = open();
  EXPECT_EQ(view.files.size(), 1u);
  EXPECT_EQ(view.tensors.size(), 2u);
  EXPECT_EQ(view.notes.size(), 1u);
}

TEST_F(Directory, model_in_one_file_stands_alone) {
  remove_index();
  write("model.safetensors", safetensors({"a", "b"}));
  write("reference.safetensors", "not read");
  const CheckpointView view = open();
  EXPECT_EQ(view.files.size(), 1u);
  EXPECT_EQ(view.tensors.size(), 2u);
  EXPECT_TRUE(view.notes.empty());
}

TEST_F(Directory, hub_cache_layout) {
  const fs::path repo = dir_.path() / "models--a--b";
  fs::create_directories(repo / "blobs");
  fs::create_directories(repo / "snapshots" / "main");
  for (const auto& entry : fs::directory_iterator(root())) {
    const std::string name = entry.path().filename();
    fs::copy(entry.path(), repo / "blobs" / ("hash-" + name));
    fs::create_symlink("../../blobs/hash-" + name, repo / "snapshots" / "main" / name);
  }
  EXPECT_EQ(open_checkpoint(repo / "snapshots" / "main").tensors.size(), 3u);
  write_text(repo / "secret", safetensors({"c"}));
  fs::remove(repo / "snapshots" / "main" / "s2.safetensors");
  fs::create_symlink("../../secret", repo / "snapshots" / "main" / "s2.safetensors");
  expect_failure(repo / "snapshots" / "main", "shard name must be a plain file name, and no link out of the folder");
}

TEST_F(Directory, fault_028_file_changes_while_loading) {
  const CheckpointView view = open();
  view.check_unchanged();
  std::vector<std::byte> bytes(1);
  fs::resize_file(path("s2.safetensors"), 8);
  try {
    view.read_all(view.at("c"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_STREQ(error.what(), "s2.safetensors: file changed while loading");
  }
  EXPECT_THROW(view.check_unchanged(), Error);
  const File grown(path("s1.safetensors"));
  grown.check_unchanged();
  const auto modified = fs::last_write_time(grown.path());
  fs::resize_file(grown.path(), grown.size() + 1);
  fs::last_write_time(grown.path(), modified);
  EXPECT_THROW(grown.check_unchanged(), Error);
  fs::resize_file(grown.path(), grown.size());
  fs::last_write_time(grown.path(), modified);
  grown.check_unchanged();
  fs::last_write_time(grown.path(), modified + std::chrono::seconds(1));
  EXPECT_THROW(grown.check_unchanged(), Error);
}

TEST_F(Directory, fault_042_shard_names) {
  write_text(dir_.file("x.safetensors"), safetensors({"c"}));
  fs::create_directories(path("a"));
  const std::string absolute = dir_.file("x.safetensors");
  for (const std::string& name : std::vector<std::string>{
           "../x.safetensors", "../../x.safetensors", absolute, "a/../../x.safetensors", "a/../s2.safetensors",
           "./s2.safetensors", "", "a\\s2.safetensors", std::string("s2.safetensors\0", 15),
           std::string("s2\0.safetensors", 15), "..", "s2.bin", ".safetensors"}) {
    write_index({{"a", "s1.safetensors"}, {"b", "s1.safetensors"}, {"c", name}});
    expect_failure(root(), "model.safetensors.index.json: tensor 'c': shard name must be a plain file name");
  }
  write_index({{"c", "link.safetensors"}});
  fs::create_symlink(absolute, path("link.safetensors"));
  expect_failure(root(), "shard name must be a plain file name, and no link out of the folder");
  fs::remove(path("link.safetensors"));
  fs::create_symlink("s2.safetensors", path("link.safetensors"));
  EXPECT_EQ(open().tensors.size(), 1u);
}

TEST_F(Directory, fault_043_index_and_shards_disagree) {
  write_index({{"a", "s1.safetensors"}, {"b", "s1.safetensors"}, {"c", "s3.safetensors"}});
  expect_failure(root(), "tensor 'c': shard 's3.safetensors' is missing");
  write_index({{"a", "s1.safetensors"}, {"c", std::string(300, 's') + ".safetensors"}});
  expect_failure(root(), "is missing");
  write_index({{"a", "s1.safetensors"}, {"b", "s2.safetensors"}, {"c", "s2.safetensors"}});
  expect_failure(root(), "s2.safetensors: tensor 'b' is missing");
  write_index({{"a", "s1.safetensors"}, {"c", "s2.safetensors"}});
  const CheckpointView view = open();
  ASSERT_EQ(view.notes.size(), 1u);
  EXPECT_EQ(view.notes[0],
            "s1.safetensors: 1 tensors that model.safetensors.index.json does not expect there, first 'b'");
  EXPECT_EQ(view.tensors.size(), 3u);
}

TEST_F(Directory, index_decides_between_shards) {
  write("s2.safetensors", safetensors({"b", "c"}));
  const CheckpointView view = open();
  EXPECT_EQ(view.describe("b"), "s1.safetensors: tensor 'b'");
  EXPECT_EQ(view.notes.size(), 1u);
}

TEST_F(Directory, index_of_another_shape) {
  for (const char* text : {"{}", R"({"weight_map": []})", R"({"weight_map": {}})", R"({"weight_map": null})"}) {
    write("model.safetensors.index.json", text);
    expect_failure(root(), "weight_map: expected an object");
  }
  write("model.safetensors.index.json", R"({"weight_map": {"a": 1}})");
  expect_failure(root(), "tensor 'a': expected a file name (got 1)");
}

/// Runs `body` without the right of a superuser to read what permissions forbid.
std::string without_override(const std::function<std::string()>& body) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct given[2] = {};
  EXPECT_EQ(::syscall(SYS_capget, &header, given), 0);
  __user_cap_data_struct less[2] = {given[0], given[1]};
  less[0].effective &= ~((1u << CAP_DAC_OVERRIDE) | (1u << CAP_DAC_READ_SEARCH));
  EXPECT_EQ(::syscall(SYS_capset, &header, less), 0);
  std::string out = body();
  EXPECT_EQ(::syscall(SYS_capset, &header, given), 0);
  return out;
}

TEST_F(Directory, fault_044_odd_config_and_index) {
  for (const char* name : {"config.json", "model.safetensors.index.json"}) {
    const std::string good = testing::read_text(path(name));
    write(name, "");
    expect_failure(root(), fmt::format("{}: byte 0: ", name));
    write(name, "[]");
    expect_failure(root(), fmt::format("{}: expected an object (got an array of 0)", name));
    fs::remove(path(name));
    fs::create_directory(path(name));
    expect_failure(root(), fmt::format("{}: not a regular file", name));
    fs::remove(path(name));
    ASSERT_EQ(::mkfifo(path(name).c_str(), 0600), 0);
    expect_failure(root(), fmt::format("{}: not a regular file", name));
    fs::remove(path(name));
    fs::create_symlink("/dev/zero", path(name));
    expect_failure(root(), fmt::format("{}: not a regular file", name));
    write(name, "{");
    fs::resize_file(path(name), uint64_t{2} << 30);  // sparse
    expect_failure(root(), fmt::format("{}: file is too large (got 2147483648 bytes, limit 67108864)", name));
    write(name, good);
    fs::permissions(path(name), fs::perms::none);
    const std::string message = without_override([&] { return failure(root(), ErrorKind::io); });
    EXPECT_NE(message.find(fmt::format("{}: cannot open: Permission denied", name)), std::string::npos) << message;
    write(name, good);
  }
}

TEST_F(Directory, fault_045_pickle_only) {
  remove_index();
  remove("s1.safetensors");
  remove("s2.safetensors");
  for (const char* name : {"pytorch_model.bin", "model.pt", "model.ckpt", "consolidated.00.pth"}) {
    ASSERT_EQ(::mkfifo(path(name).c_str(), 0600), 0);  // opening it would hang
    expect_failure(root(), fmt::format("pickle checkpoints are not loaded; convert to safetensors ({})", name));
    remove(name);
  }
}

TEST_F(Directory, fault_046_code_is_ignored) {
  for (const char* key : {"auto_map", "trust_remote_code", "custom_pipeline"}) {
    write("config.json", Json({{key, "m.py"}}).dump());
    EXPECT_EQ(open().notes, std::vector{fmt::format("config.json: {}: ignored, code of a checkpoint never runs", key)});
  }
  write("config.json", R"({"auto_map": {"AutoModel": "m.M"}, "trust_remote_code": true})");
  EXPECT_EQ(open().notes.size(), 1u);
}

TEST_F(Directory, fault_123_no_model) {
  expect_failure(root() / "none", "cannot open: No such file or directory");
  expect_failure(path("config.json"), "not a GGUF file");
  remove("config.json");
  expect_failure(root(), "no config.json beside model.safetensors.index.json");
  remove_index();
  expect_failure(root(), "no config.json beside s1.safetensors, s2.safetensors");
  remove("s1.safetensors");
  remove("s2.safetensors");
  expect_failure(root(), "no model in this folder (looked for config.json, ");
}

TEST_F(Directory, fault_123_gguf_in_a_folder) {
  fs::remove_all(root());
  write("a.gguf", gguf());
  EXPECT_TRUE(open().is_gguf());
  write("mmproj-a.gguf", gguf());
  write("reference.safetensors", safetensors({"logits"}));
  EXPECT_EQ(open().tensors.size(), 1u);
  write("b.gguf", gguf());
  expect_failure(root(), "2 .gguf files that are not one complete split set; open one by its path (a.gguf, b.gguf)");
}

TEST_F(Directory, quantization_config_places) {
  const auto method = [&] { return open().quantization_config.value("quant_method", "none"); };
  write("quantization_config.json", R"({"quant_method": "side3"})");
  EXPECT_EQ(method(), "side3");
  write("quant_config.json", R"({"quantization_config": {"quant_method": "side2"}})");
  EXPECT_EQ(method(), "side2");
  write("quantize_config.json", R"({"quant_method": "side1"})");
  EXPECT_EQ(method(), "side1");
  write("hf_quant_config.json", R"({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}})");
  EXPECT_EQ(open().quantization_config["quantization"]["quant_algo"], "FP8");
  write("config.json", R"({"text_config": {"compression_config": {"quant_method": "text2"}}})");
  EXPECT_EQ(method(), "text2");
  write("config.json", R"({"text_config": {"quantization_config": {"quant_method": "text1"}}})");
  EXPECT_EQ(method(), "text1");
  write("config.json",
        R"({"compression_config": {"quant_method": "Compressed_Tensors"}, "quantization_config": null})");
  EXPECT_EQ(method(), "compressed-tensors");
  write("config.json", R"({"compression_config": {}, "quantization_config": {"quant_method": "AWQ", "bits": 4}})");
  EXPECT_EQ(method(), "awq");
  write("config.json", R"({"quantization_config": {"fp8_config": "E4M3"}})");
  EXPECT_EQ(method(), "none");
  write("config.json", R"({"quantization_config": "awq"})");
  expect_failure(root(), "config.json: quantization_config: expected an object (got \"awq\")");
  write("config.json", R"({"text_config": {"quantization_config": {"quant_method": 4}}})");
  expect_failure(root(), "config.json: text_config.quantization_config: quant_method: expected a string (got 4)");
}

/// Everything that real tools wrote must open.
TEST(Checkpoints, all_shared_ones_open) {
  size_t n_opened = 0, n_gguf = 0, n_quantized = 0;
  for (const char* group : {"formats", "arch"}) {
    const fs::path root = testing::checkpoints_dir() / group;
    if (!fs::exists(root)) GTEST_SKIP() << root << " is missing";
    for (const auto& entry : fs::directory_iterator(root)) {
      SCOPED_TRACE(entry.path());
      const CheckpointView view = open_checkpoint(entry.path().string());
      EXPECT_GT(view.tensors.size(), 10u);
      EXPECT_EQ(view.files.size(), view.file_metadata.size());
      const auto& [name, tensor] = *view.tensors.begin();
      EXPECT_EQ(view.read_all(tensor).size(), tensor.n_bytes) << name;
      ++n_opened;
      n_gguf += view.is_gguf();
      n_quantized += !view.quantization_config.is_null();
      EXPECT_EQ(view.quantization_config.is_null(), group == std::string_view("arch") || view.is_gguf());
    }
  }
  EXPECT_GT(n_gguf, 30u);
  EXPECT_GT(n_quantized, 100u);
  RecordProperty("opened", static_cast<int>(n_opened));
}

}  // namespace
}  // namespace packhorse
