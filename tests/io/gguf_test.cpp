#include "io/gguf.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "io/gguf_writer.h"
#include "testing.h"

namespace packhorse {
namespace {

using testing::GgufFile;
using testing::GgufKey;
using testing::poke;
using testing::put;
using testing::TempDir;

GgufHeader load(const std::string& bytes) {
  static const TempDir dir;
  testing::write_text(dir.file("m.gguf"), bytes);
  return read_gguf_header(File(dir.file("m.gguf")));
}

/// Message of the Error{model} that loading must throw.
std::string failure(const std::string& bytes) {
  try {
    load(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model) << error.what();
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    EXPECT_EQ(message.rfind("m.gguf: ", 0), 0u) << message;
    EXPECT_LT(message.size(), 400u);
    return message;
  }
  ADD_FAILURE() << "loaded";
  return "";
}

void expect_failure(const std::string& bytes, std::string_view part) {
  const std::string message = failure(bytes);
  EXPECT_NE(message.find(part), message.npos) << "got: " << message << "\nexpected: " << part;
}

/// A small legal file; every fault test loads it, then breaks one thing.
class Gguf : public ::testing::Test {
 protected:
  Gguf() {
    good_.keys = {
        testing::string_key("general.architecture", "llama"),
        testing::u32_key("general.alignment", 32),
        testing::f32_key("llama.rope.freq_base", 10000.5f),
        {"llama.flag", 7, std::string(1, '\1')},
        testing::strings_key("tokenizer.ggml.tokens", {"<s>", "", "\xc4\xa0the"}),
        testing::array_key<float>("tokenizer.ggml.scores", 6, {0.0f, -1.5f, -2.0f}),
        testing::array_key<int32_t>("tokenizer.ggml.token_type", 5, {3, 1, -1}),
        testing::array_key<uint8_t>("charsmap", 0, {0, 127, 255}),
    };
    good_.tensors = {
        {"token_embd.weight", {64, 3}, 8, 2 * 34 * 3}, {"norm.weight", {5}, 0, 20}, {"exps", {32, 2, 3}, 2, 18 * 6}};
  }
  void SetUp() override {
    bytes_ = good_.write();
    ASSERT_EQ(load(bytes_).tensors.size(), 3u);
  }
  /// The good file with one more key.
  std::string with_key(GgufKey key) const {
    GgufFile file = good_;
    file.keys.push_back(std::move(key));
    return file.write();
  }
  template <class T>
  std::string poked(const std::string& what, T value, size_t skip = 0) const {
    return poke(bytes_, good_.at.at(what) + skip, value);
  }

  GgufFile good_;
  std::string bytes_;
};

TEST_F(Gguf, good_file_tells_everything) {
  const GgufHeader header = load(bytes_);
  EXPECT_EQ(header.metadata, Json::parse(R"({"general.architecture": "llama", "general.alignment": 32,
      "llama.rope.freq_base": 10000.5, "llama.flag": true, "tokenizer.ggml.tokens": ["<s>", "", "\u0120the"],
      "tokenizer.ggml.scores": [0.0, -1.5, -2.0], "tokenizer.ggml.token_type": [3, 1, -1], "charsmap": [0, 127, 255]})"));
  const TensorInfo& embeddings = header.tensors.at("token_embd.weight");
  EXPECT_EQ(embeddings.dtype, DType::q8_0);
  EXPECT_EQ(embeddings.shape, (std::vector<uint64_t>{3, 64}));
  EXPECT_EQ(embeddings.n_bytes, 204u);
  EXPECT_EQ(embeddings.offset, good_.at.at("data"));
  EXPECT_EQ(header.tensors.at("norm.weight").shape, (std::vector<uint64_t>{5}));
  EXPECT_EQ(header.tensors.at("norm.weight").offset, embeddings.offset + 224);
  EXPECT_EQ(header.tensors.at("exps").shape, (std::vector<uint64_t>{3, 2, 32}));
}

TEST_F(Gguf, integers_are_unsigned_where_they_can_be) {
  GgufKey i64{"k", 11, {}};
  put<int64_t>(i64.value, 5);
  EXPECT_EQ(as_unsigned(load(with_key(i64)).metadata["k"]), 5u);
  EXPECT_EQ(as_unsigned(load(with_key(testing::i32_key("k", -5))).metadata["k"]), std::nullopt);
  GgufKey u64{"k", 10, {}};
  put<uint64_t>(u64.value, UINT64_MAX);
  EXPECT_EQ(load(with_key(u64)).metadata["k"].get<uint64_t>(), UINT64_MAX);
  GgufKey f64{"k", 12, {}};
  put<double>(f64.value, 0.1);
  EXPECT_EQ(load(with_key(f64)).metadata["k"].get<double>(), 0.1);
}

TEST_F(Gguf, version_2_and_other_alignments_load) {
  good_.version = 2;
  EXPECT_EQ(load(good_.write()).tensors.size(), 3u);
  for (const uint32_t alignment : {8u, 64u, 4096u, 1u << 20}) {
    good_.keys[1] = testing::u32_key("general.alignment", alignment);
    good_.alignment = alignment;
    EXPECT_EQ(load(good_.write()).tensors.at("token_embd.weight").offset % alignment, 0u);
  }
  good_.keys.clear();
  good_.alignment = 32;
  EXPECT_EQ(load(good_.write()).tensors.size(), 3u);
}

TEST_F(Gguf, values_larger_than_the_read_buffer_load) {
  const std::string text(1'000'000, 'x');
  const std::vector<std::string> many(130'000, "token");
  good_.keys.push_back(testing::string_key("long", text));
  good_.keys.push_back(testing::strings_key("many", many));
  const GgufHeader header = load(good_.write());
  EXPECT_EQ(header.metadata["long"], text);
  EXPECT_EQ(header.metadata["many"].size(), many.size());
}

TEST_F(Gguf, fault_001_cut_at_every_byte) {
  for (size_t n = 0; n < good_.at.at("data"); ++n) {
    const std::string message = failure(bytes_.substr(0, n));
    const bool in_header = message.find(fmt::format("file ends at byte {}, in ", n)) != message.npos;
    const bool in_data = message.find(fmt::format("file has {}", n)) != message.npos;
    const bool too_large = message.find("more bytes than the file has") != message.npos;
    EXPECT_TRUE(in_header || in_data || too_large) << n << ": " << message;
  }
  for (size_t n = good_.at.at("data"); n < bytes_.size(); ++n) failure(bytes_.substr(0, n));
  expect_failure("", "file ends at byte 0, in header");
  expect_failure("GGU", "file ends at byte 3, in header");
  expect_failure("GGUF", "file ends at byte 4, in header");
  expect_failure(bytes_.substr(0, good_.at.at("tokenizer.ggml.tokens") + 4), "in key 4");
  expect_failure(bytes_.substr(0, good_.at.at("exps") + 4), "in tensor 2");
}

TEST_F(Gguf, fault_002_magic) {
  expect_failure("FUGG" + bytes_.substr(4), "not a GGUF file (magic 46 55 47 47)");
  expect_failure("ggjt" + bytes_.substr(4), "a ggml file from before GGUF");
  expect_failure("PK\3\4" + bytes_.substr(4), "a ZIP archive");
  expect_failure("<!DOCTYPE html>", "looks like an HTML page");
  expect_failure("version https://git-lfs.github.com/spec/v1", "looks like a Git LFS pointer");
}

TEST_F(Gguf, fault_003_version) {
  for (const uint32_t version : {0u, 1u, 4u, UINT32_MAX}) {
    expect_failure(poke(bytes_, 4, version), fmt::format("GGUF version {} is not supported (2..3)", version));
  }
}

TEST_F(Gguf, fault_004_big_endian) {
  expect_failure(poke<uint32_t>(bytes_, 4, 0x03000000), "big-endian GGUF is not supported");
}

TEST_F(Gguf, fault_005_tensor_count) {
  for (const uint64_t n : {uint64_t{1} << 63, UINT64_MAX, uint64_t{1} << 32, uint64_t{bytes_.size()} / 24 + 1}) {
    expect_failure(poked("n_tensors", n), fmt::format("(got {}, limit {})", n, bytes_.size() / 24));
  }
  expect_failure(poked<uint64_t>("n_tensors", 4), "tensor 3");
}

TEST_F(Gguf, fault_006_key_count) {
  for (const uint64_t n : {uint64_t{1} << 63, UINT64_MAX, uint64_t{bytes_.size()} / 12 + 1}) {
    expect_failure(poked("n_kv", n), fmt::format("(got {}, limit {})", n, bytes_.size() / 12));
  }
  failure(poked<uint64_t>("n_kv", 9));
}

TEST_F(Gguf, fault_007_gguf_string_len_max) {
  const size_t at = good_.at.at("general.architecture.value");
  const uint64_t n_left = bytes_.size() - at - 8;
  for (const uint64_t n : {UINT64_MAX, uint64_t{1} << 63, n_left + 1}) {
    expect_failure(poke(bytes_, at, n), fmt::format("in key 0: string of {} bytes, {} left", n, n_left));
  }
  expect_failure(poked("general.alignment", UINT64_MAX), "in key 1: string of 18446744073709551615 bytes");
  expect_failure(poked("norm.weight", UINT64_MAX - 7), "in tensor 1: string of 18446744073709551608 bytes");
  expect_failure(poked<uint64_t>("tokenizer.ggml.tokens.value", UINT64_MAX, 12), "in key 4: string of");
}

TEST_F(Gguf, fault_008_array_count_wraps) {
  const auto with_count = [&](uint32_t type, uint64_t n) {
    GgufKey key{"a", 9, {}};
    put(key.value, type);
    put(key.value, n);
    return with_key(key);
  };
  expect_failure(with_count(0, uint64_t{1} << 63), "array of 9223372036854775808 elements");
  expect_failure(with_count(10, (uint64_t{1} << 61) + 1), "array of 2305843009213693953 elements");  // * 8 = 8
  expect_failure(with_count(6, uint64_t{1} << 62), "array of");                                      // * 4 = 0
  expect_failure(with_count(8, UINT64_MAX), "array of");
  expect_failure(with_count(8, bytes_.size() / 8), "array of");
}

TEST_F(Gguf, fault_009_small_file_large_declaration) {
  GgufFile small;
  small.keys = {testing::string_key("general.name", std::string(100, 'n'))};
  const std::string bytes = small.write();
  ASSERT_EQ(bytes.size(), 160u);
  ASSERT_EQ(load(bytes).metadata.size(), 1u);
  const size_t value = small.at.at("general.name.value");
  expect_failure(poke(bytes, value, uint64_t{1} << 30), "in key 0: string of 1073741824 bytes");
  std::string array = poke<uint32_t>(bytes, small.at.at("general.name.type"), 9);
  array = poke<uint32_t>(array, value, 0);
  expect_failure(poke(array, value + 4, uint64_t{1} << 30), "in key 0: array of 1073741824 elements");
}

TEST_F(Gguf, fault_010_value_types) {
  for (const uint32_t type : {13u, 255u, UINT32_MAX}) {
    expect_failure(poked("llama.flag.type", type), fmt::format("key 'llama.flag': value type {} is unknown", type));
    expect_failure(poked("charsmap.value", type),
                   fmt::format("key 'charsmap': array element type {} is unknown", type));
  }
  expect_failure(poked<uint32_t>("charsmap.value", 9), "key 'charsmap': nested arrays are not supported");
}

TEST_F(Gguf, fault_011_key_names) {
  expect_failure(with_key(testing::u32_key("", 1)), "key 8: empty name");
  EXPECT_EQ(load(with_key(testing::u32_key(std::string(65535, 'k'), 1))).metadata.size(), 9u);
  expect_failure(with_key(testing::u32_key(std::string(70'000, 'k'), 1)), "is too long (got 70000 bytes, limit 65535)");
  expect_failure(with_key(testing::u32_key(std::string("a\0b", 3), 1)), "key 8: name 'a\\x00b' is not printable");
  expect_failure(with_key(testing::u32_key("a\nb", 1)), "name 'a\\x0ab'");
  expect_failure(with_key(testing::u32_key("\x1b[31m", 1)), "name '\\x1b[31m'");
  expect_failure(with_key(testing::u32_key("\xff", 1)), "name '\\xff'");
}

TEST_F(Gguf, fault_012_duplicate_keys) {
  expect_failure(with_key(testing::u32_key("llama.flag", 1)), "key 'llama.flag': duplicate key");
  constexpr int64_t kMany = 1'000'000;  // comparing each key with each would take hours
  for (int64_t i = 0; i < kMany; ++i)
    good_.keys.push_back({fmt::format("k{}", i * 7919 % kMany), 7, std::string(1, '\0')});
  EXPECT_EQ(load(good_.write()).metadata.size(), kMany + 8u);
}

TEST_F(Gguf, fault_013_booleans_and_finite_numbers) {
  expect_failure(poked<uint8_t>("llama.flag.value", 2), "key 'llama.flag': expected a boolean, 0 or 1 (got 2)");
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    expect_failure(poked("llama.rope.freq_base.value", value), "key 'llama.rope.freq_base': expected a finite number");
  }
  EXPECT_EQ(load(poked<float>("tokenizer.ggml.scores.value", -INFINITY, 12)).tensors.size(), 3u);  // scores may be
}

TEST_F(Gguf, fault_014_alignment) {
  for (const uint32_t alignment : {0u, 3u, 4u, 13u, 1u << 21, 1u << 31, UINT32_MAX - 7}) {
    expect_failure(poked("general.alignment.value", alignment), "must be a power of two in 8..2^20");
  }
  expect_failure(poked<uint32_t>("general.alignment.type", 5), "key 'general.alignment': expected value type 4");
  good_.keys[1] = testing::string_key("general.alignment", "32");
  expect_failure(good_.write(), "key 'general.alignment': expected value type 4");
}

TEST_F(Gguf, fault_018_dimensions) {
  expect_failure(poked<uint32_t>("exps.n_dims", 0), "tensor 'exps': 0 dimensions (expected 1..4)");
  expect_failure(poked<uint32_t>("exps.n_dims", 5), "tensor 'exps': 5 dimensions");
  expect_failure(poked<uint32_t>("exps.n_dims", UINT32_MAX), "tensor 'exps': 4294967295 dimensions");
  for (const uint64_t dim : {uint64_t{0}, uint64_t{1} << 63, UINT64_MAX}) {
    expect_failure(poked("exps.dims", dim, 8), fmt::format("tensor 'exps': dimension 1 is {}", dim));
  }
}

TEST_F(Gguf, fault_019_dimension_product) {
  const auto with_dims = [&](std::vector<uint64_t> dims, uint32_t type) {
    GgufFile file = good_;
    file.tensors.push_back({"t", std::move(dims), type, 32});
    return file.write();
  };
  ASSERT_EQ(load(with_dims({8}, 0)).tensors.size(), 4u);
  const uint64_t k32 = uint64_t{1} << 32, k62 = uint64_t{1} << 62;
  expect_failure(with_dims({k32, k32}, 0), "tensor 't': dimensions");      // elements wrap to 0
  expect_failure(with_dims({k62, 4, 1, 1}, 0), "tensor 't': dimensions");  // the same
  expect_failure(with_dims({k62 + 2, 4}, 24), "tensor 't': dimensions");   // to 8
  expect_failure(with_dims({k62 + 8, 1}, 0), "tensor 't': dimensions");    // elements fit, bytes wrap to 32
  expect_failure(with_dims({k62, 1}, 1), "tensor 't': dimensions");        // bytes fit 64 bits
  expect_failure(with_dims({(k32 << 26) + 32, 7}, 8), "tensor 't': dimensions");
  expect_failure(with_dims({1 << 20, 1 << 20}, 0), "need more bytes than the file has");
}

TEST_F(Gguf, fault_021_tensor_types) {
  for (const uint32_t type : {43u, 255u, UINT32_MAX}) {
    expect_failure(poked("exps.type", type), fmt::format("tensor 'exps': type {} is unknown", type));
  }
  for (const uint32_t type : {4u, 5u, 31u, 38u}) expect_failure(poked("exps.type", type), "was removed from GGUF");
  for (const uint32_t type : {9u, 15u}) expect_failure(poked("exps.type", type), "not supported");
}

TEST_F(Gguf, fault_022_row_length) {
  expect_failure(poked<uint64_t>("exps.dims", 33),
                 "tensor 'exps': rows of 33 elements are not a multiple of Q4_0's block of 32");
  good_.tensors[2] = {"exps", {200, 2}, 12, 144};
  expect_failure(good_.write(), "rows of 200 elements are not a multiple of Q4_K's block of 256");
}

TEST_F(Gguf, fault_023_tensor_range) {
  expect_failure(poked<uint64_t>("norm.weight.offset", 225),
                 "tensor 'norm.weight': offset 225 is not a multiple of 32");
  const uint64_t data = good_.at.at("data");
  expect_failure(
      poked<uint64_t>("exps.offset", 1 << 20),
      fmt::format("tensor 'exps': bytes {}..{}, file has {}", data + (1 << 20), data + (1 << 20) + 108, bytes_.size()));
  expect_failure(poked<uint64_t>("exps.offset", UINT64_MAX - 31), "tensor 'exps': bytes ");
  expect_failure(poked<uint64_t>("exps.offset", uint64_t{1} << 63), "tensor 'exps': bytes ");
  expect_failure(
      bytes_.substr(0, bytes_.size() - 1),
      fmt::format("tensor 'exps': bytes {}..{}, file has {}", bytes_.size() - 108, bytes_.size(), bytes_.size() - 1));
}

TEST_F(Gguf, fault_024_tensors_tile_the_data) {
  expect_failure(poked<uint64_t>("norm.weight.offset", 192), "tensor 'norm.weight': byte ");
  expect_failure(poked<uint64_t>("norm.weight.offset", 192), "overlaps a tensor");
  expect_failure(poked<uint64_t>("exps.offset", 224), "overlaps a tensor");
  good_.data_order = {2, 0, 1};
  EXPECT_EQ(load(good_.write()).tensors.at("exps").offset, good_.at.at("data"));
  good_.tensors.push_back({"gap", {16}, 0, 64});
  good_.data_order = {0, 1, 3, 2};
  std::string bytes = good_.write();
  ASSERT_EQ(load(bytes).tensors.size(), 4u);
  put<uint64_t>(bytes, 0);  // room for the moved end
  bytes.append(200, '\0');
  expect_failure(poke<uint64_t>(bytes, good_.at.at("exps.offset"), 256 + 64 + 64), "unused bytes before byte");
  expect_failure(bytes_ + std::string(33, 'x'), "33 bytes follow the last tensor");
  EXPECT_EQ(load(bytes_ + std::string(20, '\0')).tensors.size(), 3u);  // padding
}

TEST_F(Gguf, fault_025_tensor_names) {
  const auto with_name = [&](std::string name) {
    GgufFile file = good_;
    file.tensors.push_back({std::move(name), {8}, 0, 32});
    return file.write();
  };
  EXPECT_EQ(load(with_name(std::string(63, 't'))).tensors.size(), 4u);
  expect_failure(with_name("exps"), "tensor 'exps': duplicate name");
  expect_failure(with_name(std::string(64, 't')), "is too long (got 64 bytes, limit 63)");
  expect_failure(with_name("../../etc/passwd"), "tensor 3: bad name '../../etc/passwd'");
  expect_failure(with_name("a\x1b"), "tensor 3: bad name 'a\\x1b'");
  expect_failure(with_name(""), "tensor 3: empty name");
}

TEST_F(Gguf, array_elements_are_limited) {
  good_.keys = {testing::array_key<uint8_t>("a", 0, {1, 2}),
                testing::array_key("b", 0, std::vector<uint8_t>(kMaxJsonValues - 1))};
  expect_failure(good_.write(), fmt::format("(got {}, limit {})", kMaxJsonValues + 1, kMaxJsonValues));
}

TEST_F(Gguf, small_hostile_files_stay_below_64_mb) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer keeps freed memory";
#endif
  // The most expensive megabyte: arrays of the shortest elements, then a broken tensor table.
  good_.keys.push_back(testing::strings_key("strings", std::vector<std::string>(100'000)));
  good_.keys.push_back(testing::array_key("bytes", 0, std::vector<uint8_t>(150'000)));
  std::string bytes = good_.write();
  ASSERT_LT(bytes.size(), size_t{1'000'000});
  bytes = poke(bytes, good_.at.at("exps.type"), UINT32_MAX);
  const long before = testing::peak_kib(true);
  if (before < 0) GTEST_SKIP() << "no /proc/self/clear_refs";
  expect_failure(bytes, "type 4294967295 is unknown");
  EXPECT_LT(testing::peak_kib(false) - before, 48 << 10);
}

}  // namespace
}  // namespace packhorse
