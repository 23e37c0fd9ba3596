#include "base/digest.h"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include "base/error.h"

namespace packhorse {

struct Digest::Context {
  Context() : state(EVP_MD_CTX_new()) {
    if (!state) throw std::bad_alloc();
  }
  ~Context() { EVP_MD_CTX_free(state); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  EVP_MD_CTX* state;
};

namespace {

/// A build without an algorithm, or one that a system policy forbids.
void require(int ok) {
  if (ok != 1) fail(ErrorKind::internal, "the cryptographic library refuses to compute a checksum");
}

}  // namespace

Digest::Digest(DigestKind kind) : context_(std::make_unique<Context>()) {
  require(EVP_DigestInit_ex(context_->state, kind == DigestKind::sha1 ? EVP_sha1() : EVP_sha256(), nullptr));
}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::span<const std::byte> data) {
  require(EVP_DigestUpdate(context_->state, data.data(), data.size()));
}

std::string Digest::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
  unsigned n_bytes = 0;
  require(EVP_DigestFinal_ex(context_->state, bytes.data(), &n_bytes));
  std::string text;
  for (unsigned i = 0; i < n_bytes; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

std::string sha256_of_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) fail(ErrorKind::io, "{}: cannot open: {}", printable(path), std::strerror(errno));
  Digest sum(DigestKind::sha256);
  std::vector<std::byte> buffer(size_t{1} << 20);
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), file.get())) sum.update({buffer.data(), n});
  if (std::ferror(file.get())) fail(ErrorKind::io, "{}: cannot read: {}", printable(path), std::strerror(errno));
  return sum.hex();
}

}  // namespace packhorse
