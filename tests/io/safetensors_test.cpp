#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "testing.h"

namespace packhorse {
namespace {

using testing::TempDir;

/// The format's own layout, written by hand: u64 length, header, data.
std::string with_header(std::string_view header, size_t n_data_bytes = 33) {
  uint64_t n = header.size();
  std::string bytes(sizeof n, '\0');
  std::memcpy(bytes.data(), &n, sizeof n);
  bytes += header;
  for (size_t i = 0; i < n_data_bytes; ++i) bytes.push_back(static_cast<char>(i));
  return bytes;
}

constexpr std::string_view kGoodHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"none":{"dtype":"I8","shape":[0,7],"data_offsets":[32,32]},)"
    R"("s":{"dtype":"U8","shape":[],"data_offsets":[32,33]}}  )";

/// kGoodHeader with `from` replaced.
std::string changed(std::string_view from, std::string_view to) {
  std::string header(kGoodHeader);
  const size_t at = header.find(from);
  EXPECT_NE(at, header.npos) << from;
  return header.replace(at, from.size(), to);
}

SafetensorsHeader load(const std::string& bytes) {
  static const TempDir dir;
  testing::write_text(dir.file("m.safetensors"), bytes);
  return read_safetensors_header(File(dir.file("m.safetensors")));
}

/// Message of the Error{model} that loading must throw.
std::string failure(const std::string& bytes) {
  try {
    load(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model) << error.what();
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    EXPECT_EQ(message.rfind("m.safetensors: ", 0), 0u) << message;
    return message;
  }
  ADD_FAILURE() << "loaded";
  return "";
}

void expect_failure(const std::string& bytes, std::string_view part) {
  const std::string message = failure(bytes);
  EXPECT_NE(message.find(part), message.npos) << "got: " << message << "\nexpected: " << part;
}

/// Every fault starts from a file that loads.
class Safetensors : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(load(with_header(kGoodHeader)).tensors.size(), 4u); }
};

TEST_F(Safetensors, good_file_tells_everything) {
  const SafetensorsHeader header = load(with_header(kGoodHeader));
  EXPECT_EQ(header.metadata, Json({{"format", "pt"}}));
  const TensorInfo& a = header.tensors.at("a");
  EXPECT_EQ(a.dtype, DType::f32);
  EXPECT_EQ(a.shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(a.offset, 8 + kGoodHeader.size());
  EXPECT_EQ(a.n_bytes, 24u);
  EXPECT_EQ(a.n_elements(), 6u);
  const TensorInfo& b = header.tensors.at("b");
  EXPECT_EQ(b.dtype, DType::bf16);
  EXPECT_EQ(b.offset, a.offset + 24);
  EXPECT_EQ(header.tensors.at("none").n_bytes, 0u);
  EXPECT_EQ(header.tensors.at("s").n_elements(), 1u);
  EXPECT_TRUE(load(with_header("{}", 0)).tensors.empty());
}

TEST_F(Safetensors, tensors_may_be_listed_in_any_order) {
  const auto header = load(with_header(R"({"z":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]},)"
                                       R"("a":{"data_offsets":[1,5],"shape":[2,4],"dtype":"F4"}})",
                                       5));
  EXPECT_EQ(header.tensors.at("a").dtype, DType::f4);
  EXPECT_EQ(header.tensors.at("a").offset, header.tensors.at("z").offset + 1);
}

TEST_F(Safetensors, every_cut_is_an_error) {
  const std::string good = with_header(kGoodHeader);
  for (size_t n = 0; n < good.size(); ++n) failure(good.substr(0, n));
}

TEST_F(Safetensors, fault_031_header_length) {
  for (size_t n = 0; n < 8; ++n) {
    expect_failure(std::string(n, '\0'), fmt::format("header length needs 8 bytes, file has {}", n));
  }
  std::string bytes = with_header(kGoodHeader);
  const uint64_t n_left = bytes.size() - 8;
  for (const uint64_t n : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 7,
                           uint64_t{bytes.size()}, n_left + 1, uint64_t{100'000'001}}) {
    std::memcpy(bytes.data(), &n, sizeof n);
    expect_failure(bytes, fmt::format("header length {}, file has {} bytes", n, bytes.size()));
  }
}

TEST_F(Safetensors, fault_031_header_over_100_mb) {
  const TempDir dir;
  const std::string path = dir.file("m.safetensors");
  const uint64_t n = 100'000'001;
  testing::write_text(path, std::string(reinterpret_cast<const char*>(&n), sizeof n) + "{");
  std::filesystem::resize_file(path, 8 + n);  // sparse
  try {
    read_safetensors_header(File(path));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "m.safetensors: header length 100000001, file has 100000009 bytes (limit 100000000)");
  }
}

TEST_F(Safetensors, fault_032_header_not_json) {
  expect_failure(with_header(changed("format", "f\xffrmat")), "header: byte 19: ");
  expect_failure(with_header("not JSON"), "header: byte 0: ");
  expect_failure(with_header("[1, 2]"), "header: byte 0: expected '{' (got 0x5b)");
  expect_failure(with_header(" {}", 0), "header: byte 0: ");
  expect_failure(with_header(std::string(kGoodHeader) + "x"), fmt::format("header: byte {}: ", kGoodHeader.size()));
  expect_failure(with_header(std::string(kGoodHeader) + "{}"), fmt::format("header: byte {}: ", kGoodHeader.size()));
  std::string with_nul(kGoodHeader);
  with_nul.back() = '\0';
  expect_failure(with_header(with_nul), fmt::format("header: byte {}: NUL", with_nul.size() - 1));
  expect_failure(with_header(changed("format", std::string_view("for\0mat", 7))), "header: byte 21: NUL");
  expect_failure(with_header("{\"a\": "), "header: byte 6: ");
}

TEST_F(Safetensors, fault_033_depth_and_numbers) {
  expect_failure(with_header("{\"a\":" + std::string(100'000, '[')), "nested deeper than 64 levels");
  for (const char* dim : {"-0", "1.5", "1e999", "2.0", "12345678901234567890123", "18446744073709551616", "-1", "\"2\"",
                          "null", "true", "[2]"}) {
    expect_failure(with_header(changed("[2,3]", fmt::format("[{},3]", dim))), "not an unsigned integer");
    expect_failure(with_header(changed("[0,24]", fmt::format("[{},24]", dim))), "not an unsigned integer");
  }
  expect_failure(with_header(changed("[2,3]", "[1.5,3]")), "tensor 'a': shape[0]: not an unsigned integer (got 1.5)");
}

TEST_F(Safetensors, fault_034_duplicate_keys) {
  expect_failure(with_header(changed("\"b\":", "\"a\":")), "duplicate key 'a'");
  expect_failure(with_header(changed("\"shape\":[4],", "\"shape\":[4],\"shape\":[4],")), "duplicate key 'shape'");
  expect_failure(with_header(changed("\"none\":", "\"\\u0073\":")), "duplicate key 's'");
}

TEST_F(Safetensors, fault_035_data_offsets) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("data_offsets":[0,24])", R"("offsets":[0,24])"},
      {"[0,24]", "[24]"},
      {"[0,24]", "[0,24,24]"},
      {"[0,24]", "[24,0]"},
      {"[0,24]", "[-24,0]"},
      {"[0,24]", "[\"0\",24]"},
      {"[0,24]", "[]"},
      {"[0,24]", "{\"0\":24}"},
      {"[0,24]", "null"},
      {"[0,24]", "[0,\"24\"]"},
      {"[0,24]", "[[0],[24]]"},
  };
  for (const auto& [from, to] : cases) expect_failure(with_header(changed(from, to)), "tensor 'a': data_offsets");
  expect_failure(with_header(changed("[0,24]", "[24,0]")), "tensor 'a': data_offsets are reversed (24, 0)");
}

TEST_F(Safetensors, fault_036_size_differs_from_shape) {
  expect_failure(with_header(changed("[2,3]", "[2,4]")),
                 "tensor 'a': data_offsets span 24 bytes, shape [2,4] of F32 needs 32");
  expect_failure(with_header(changed("[2,3]", "[2,2]")),
                 "tensor 'a': data_offsets span 24 bytes, shape [2,2] of F32 needs 16");
  expect_failure(with_header(changed("\"F32\"", "\"F16\"")), "span 24 bytes, shape [2,3] of F16 needs 12");
  expect_failure(with_header(changed("[0,7]", "[1,7]")), "span 0 bytes, shape [1,7] of I8 needs 7");
  expect_failure(with_header(changed("\"shape\":[]", "\"shape\":[0]")), "span 1 bytes, shape [0] of U8 needs 0");
}

TEST_F(Safetensors, fault_037_offsets_past_the_end) {
  expect_failure(with_header(kGoodHeader, 32), "tensor 's': data_offsets 32..33, file has 32 bytes of data");
  expect_failure(with_header(changed("[32,33]", "[33,34]")), "tensor 's': data_offsets 33..34, file has 33");
  expect_failure(with_header(changed("[32,33]", "[18446744073709551614,18446744073709551615]")),
                 "tensor 's': data_offsets");
  expect_failure(with_header(changed("[32,32]", "[40,40]")), "tensor 'none': data_offsets 40..40, file has 33");
}

TEST_F(Safetensors, fault_038_shape_product_wraps_to_zero) {
  expect_failure(with_header(changed("[0,7]", "[4294967296,4294967296]")), "tensor 'none': shape");
  expect_failure(with_header(changed("[0,7]", "[9223372036854775808,2]")), "too many elements");
  expect_failure(with_header(changed("[0,7]", "[9223372036854775808,2,0]")), "too many elements");
  expect_failure(with_header(changed("[2,3]", "[4611686018427387910,1]")), "tensor 'a': shape");  // bytes wrap to 24
}

TEST_F(Safetensors, fault_039_overlap_hole_rest) {
  expect_failure(with_header(changed("[24,32]", "[20,28]")), "tensor 'b': data_offsets 20..28 overlap another tensor");
  expect_failure(with_header(changed("[24,32]", "[0,8]")), "overlap another tensor (expected begin 8)");
  expect_failure(with_header(changed("[24,32]", "[25,33]"), 34),
                 "tensor 'b': data_offsets 25..33 leave a hole (expected begin 24)");
  expect_failure(with_header(kGoodHeader, 34), "1 bytes follow the last tensor");
  expect_failure(with_header("{}", 1), "1 bytes follow the last tensor");
  expect_failure(with_header(changed("[32,32]", "[12,12]")), "tensor 'none': data_offsets 12..12");
}

TEST_F(Safetensors, fault_040_dtype) {
  for (const char* dtype : {"\"F6\"", "\"f32\"", "\"\"", "\"Q4_0\"", "32", "null", "[\"F32\"]"}) {
    expect_failure(with_header(changed("\"F32\"", dtype)), "tensor 'a': dtype");
  }
  expect_failure(with_header(changed("\"F32\"", "\"F6\"")), "dtype \"F6\" is unknown");
  const std::string odd = R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})";
  expect_failure(with_header(odd, 1), "tensor 'a': shape [3] of F4 does not fill whole bytes");
}

TEST_F(Safetensors, fault_041_metadata) {
  expect_failure(with_header(changed("{\"format\":\"pt\"}", "[]")), "__metadata__: expected an object of strings");
  expect_failure(with_header(changed("\"pt\"", "1")), "__metadata__: expected an object of strings");
  expect_failure(with_header(changed("\"pt\"", "{}")), "__metadata__: expected an object of strings");
  const std::string large(50'000'000, 'x');
  EXPECT_EQ(load(with_header(changed("\"pt\"", "\"" + large + "\""))).metadata["format"], large);
}

// The most expensive megabyte: what a parser keeps of it is many times larger.
TEST_F(Safetensors, small_hostile_headers_stay_below_64_mb) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer keeps freed memory";
#endif
  for (const char* value : {"0,", "[],", "{},", "\"\",", "[[]],"}) {
    std::string header = "{\"a\":[";
    while (header.size() < 1'000'000) header += value;
    header.back() = ']';
    const long before = testing::peak_kib(true);
    if (before < 0) GTEST_SKIP() << "no /proc/self/clear_refs";
    expect_failure(with_header(header + "}"), "tensor 'a': expected an object");
    EXPECT_LT(testing::peak_kib(false) - before, 64 << 10) << value;
  }
}

TEST_F(Safetensors, entries_of_another_kind_are_errors) {
  expect_failure(with_header(R"({"a":[]})", 0), "tensor 'a': expected an object (got an array of 0)");
  expect_failure(with_header(R"({"a":{}})", 0), "tensor 'a': dtype is missing");
  expect_failure(with_header(R"({"a\u001b[31m":7})", 0), "tensor 'a\\x1b[31m': expected an object (got 7)");
  std::string shape = "1";
  for (int i = 0; i < 64; ++i) shape += ",1";
  expect_failure(with_header(R"({"a":{"dtype":"U8","shape":[)" + shape + R"(],"data_offsets":[0,1]}})", 1),
                 "tensor 'a': shape has too many dimensions (got 65, limit 64)");
}

}  // namespace
}  // namespace packhorse
