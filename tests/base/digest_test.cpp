#include "base/digest.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "testing.h"

namespace packhorse {
namespace {

std::string digest(DigestKind kind, std::string_view text, size_t step = SIZE_MAX) {
  Digest sum(kind);
  while (!text.empty()) {
    const std::string_view part = text.substr(0, step);
    sum.update(std::as_bytes(std::span(part)));
    text.remove_prefix(part.size());
  }
  return sum.hex();
}

std::string sha256(std::string_view text, size_t step = SIZE_MAX) { return digest(DigestKind::sha256, text, step); }

// The examples of FIPS 180-4's companion document.
TEST(Digest, standard_examples) {
  EXPECT_EQ(digest(DigestKind::sha1, "abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Digest, pieces_give_the_digest_of_the_whole) {
  for (const size_t n : {1, 55, 56, 63, 64, 65, 119, 120, 128, 1000}) {
    std::string text(n, ' ');
    std::generate(text.begin(), text.end(), [i = 0]() mutable { return static_cast<char>(i++ * 7); });
    for (const size_t step : {1, 3, 63, 64, 65}) EXPECT_EQ(sha256(text, step), sha256(text)) << n << " " << step;
  }
}

TEST(Digest, of_a_file) {
  const testing::TempDir folder;
  testing::write_text(folder.path() / "file", "abc");
  EXPECT_EQ(sha256_of_file(folder.file("file")), sha256("abc"));
  try {
    sha256_of_file(folder.file("none"));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::io);
  }
}

}  // namespace
}  // namespace packhorse
