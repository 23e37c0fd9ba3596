// The server over TLS: certificates, keys, and clients that show certificates of their own.
#include <gmock/gmock.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <memory>

#include "formats/format_testing.h"
#include "http_client.h"
#include "testing.h"

namespace packhorse::server::testing {
namespace {

using ::packhorse::testing::failure_of;
using ::packhorse::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kPem = PACKHORSE_SOURCE_DIR "/tests/python/localhost.pem";  // certificate, its own authority, and key

template <auto Free>
struct FreedBy {
  void operator()(auto* object) const { Free(object); }
};
using Context = std::unique_ptr<SSL_CTX, FreedBy<SSL_CTX_free>>;
using Tls = std::unique_ptr<SSL, FreedBy<SSL_free>>;
using Session = std::unique_ptr<SSL_SESSION, FreedBy<SSL_SESSION_free>>;

HttpOptions tls_options() {
  HttpOptions options = local_options();
  options.ssl_certfile = kPem;
  return options;
}

std::string refusal(const HttpOptions& options) {
  return failure_of(ErrorKind::usage, [&] { const HttpServer server(options, error_response); });
}

struct TlsAnswer {
  std::string text;  // empty when the server refused the client
  Session session;
  bool was_resumed = false, has_end = false;
};

/// Sends `request`; shows the certificate and key of `certificate`, if there is one, and resumes `session` likewise.
TlsAnswer ask(const TestServer& server, std::string_view request, const std::string& certificate = "",
              SSL_SESSION* session = nullptr) {
  const Client client = server.connect();
  const Context context(SSL_CTX_new(TLS_client_method()));
  if (!certificate.empty()) {
    EXPECT_EQ(SSL_CTX_use_certificate_file(context.get(), certificate.c_str(), SSL_FILETYPE_PEM), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context.get(), certificate.c_str(), SSL_FILETYPE_PEM), 1);
  }
  const Tls tls(SSL_new(context.get()));
  SSL_set_fd(tls.get(), client.fd());
  if (session) SSL_set_session(tls.get(), session);
  TlsAnswer answer;
  if (SSL_connect(tls.get()) != 1) return answer;
  SSL_write(tls.get(), request.data(), static_cast<int>(request.size()));
  char bytes[16384];
  for (int n; (n = SSL_read(tls.get(), bytes, sizeof bytes)) > 0;) answer.text.append(bytes, static_cast<size_t>(n));
  answer.session.reset(SSL_get1_session(tls.get()));
  answer.was_resumed = SSL_session_reused(tls.get()) == 1;
  answer.has_end = (SSL_get_shutdown(tls.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
  SSL_shutdown(tls.get());  // a session that ends otherwise is not resumed
  return answer;
}

std::string health() { return "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"; }

TEST(Tls, large_bodies_and_the_end) {
  TestServer server(tls_options());
  EXPECT_THAT(server.server.url(), StartsWith("https://127.0.0.1:"));
  Client plain = server.connect();
  plain.send(health());
  EXPECT_EQ(plain.read_answer().status, 0);
  plain.close();
  const std::string body(3 << 20, 'x');
  const TlsAnswer answer = ask(server, post("/echo", body, "Connection: close\r\n"));
  EXPECT_TRUE(answer.has_end);
  EXPECT_TRUE(answer.text.ends_with("\r\n\r\n" + body)) << answer.text.substr(0, 300);
  EXPECT_TRUE(wait_until([&] { return server.server.num_connections() == 0; }));
}

TEST(Tls, options_that_do_not_fit) {
  HttpOptions options = tls_options();
  options.ssl_ciphers = "ECDHE-RSA-AES256-GCM-SHA384";
  EXPECT_NO_THROW(HttpServer(options, error_response));
  options.ssl_ciphers = "nonsense";
  EXPECT_EQ(refusal(options), "--ssl-ciphers: none of TLS 1.2 is known (got 'nonsense')");
  options = tls_options();
  options.ssl_keyfile = PACKHORSE_SOURCE_DIR "/README.md";
  EXPECT_THAT(refusal(options), AllOf(StartsWith("--ssl-keyfile: cannot use "), HasSubstr("README.md")));
  options = tls_options();
  options.ssl_ca_certs = "missing-ca.pem";
  EXPECT_THAT(refusal(options), StartsWith("--ssl-ca-certs: cannot use missing-ca.pem: "));
  options = tls_options();
  options.ssl_cert_reqs = 3;
  EXPECT_EQ(refusal(options), "--ssl-cert-reqs: expected 0, 1 or 2 (got 3)");
  options = tls_options();
  options.ssl_certfile = "missing.pem";
  EXPECT_THAT(refusal(options), StartsWith("--ssl-certfile: cannot use missing.pem: "));
}

TEST(Tls, all_else_needs_a_certificate) {
  const auto expect_needed = [](const std::string& flag, auto HttpOptions::*member, auto value) {
    HttpOptions options = local_options();
    options.*member = value;
    EXPECT_EQ(refusal(options), "--ssl-certfile: needed with " + flag);
  };
  expect_needed("--ssl-keyfile", &HttpOptions::ssl_keyfile, kPem);
  expect_needed("--ssl-keyfile-password", &HttpOptions::ssl_keyfile_password, "secret");
  expect_needed("--ssl-ca-certs", &HttpOptions::ssl_ca_certs, kPem);
  expect_needed("--ssl-cert-reqs", &HttpOptions::ssl_cert_reqs, 1);
  expect_needed("--ssl-ciphers", &HttpOptions::ssl_ciphers, "ECDHE-RSA-AES256-GCM-SHA384");
}

TEST(Tls, keys_with_a_password) {
  const TempDir dir;
  HttpOptions options = tls_options();
  options.ssl_keyfile = dir.file("key.pem");
  std::FILE* file = std::fopen(kPem.c_str(), "r");
  ASSERT_NE(file, nullptr);
  EVP_PKEY* key = PEM_read_PrivateKey(file, nullptr, nullptr, nullptr);
  std::fclose(file);
  file = std::fopen(options.ssl_keyfile.c_str(), "w");
  ASSERT_NE(file, nullptr);
  char password[] = "secret";
  ASSERT_EQ(PEM_write_PKCS8PrivateKey(file, key, EVP_aes_128_cbc(), password, 6, nullptr, nullptr), 1);
  std::fclose(file);
  EVP_PKEY_free(key);

  EXPECT_THAT(refusal(options), StartsWith("--ssl-keyfile: cannot use "));
  options.ssl_keyfile_password = "wrong";
  EXPECT_THAT(refusal(options), StartsWith("--ssl-keyfile: cannot use "));
  options.ssl_keyfile_password = "secret";
  EXPECT_THAT(ask(TestServer(options), health()).text, StartsWith("HTTP/1.1 200"));
}

TEST(Tls, certificates_of_clients) {
  HttpOptions options = tls_options();
  for (const int cert_reqs : {0, 1, 2}) {
    options.ssl_cert_reqs = cert_reqs;
    options.ssl_ca_certs = kPem;
    TestServer server(options);
    EXPECT_THAT(ask(server, health(), kPem).text, StartsWith("HTTP/1.1 200")) << cert_reqs;
    EXPECT_EQ(ask(server, health()).text.empty(), cert_reqs == 2) << cert_reqs;
    EXPECT_TRUE(wait_until([&] { return server.server.num_connections() == 0; }));
  }
  options.ssl_ca_certs.clear();  // nobody signed it that the server knows
  for (const int cert_reqs : {0, 1, 2}) {
    options.ssl_cert_reqs = cert_reqs;
    EXPECT_EQ(ask(TestServer(options), health(), kPem).text.empty(), cert_reqs > 0) << cert_reqs;
  }
}

TEST(Tls, clients_with_certificates_may_resume) {
  HttpOptions options = tls_options();
  options.ssl_ca_certs = kPem;
  options.ssl_cert_reqs = 2;
  TestServer server(options);
  const TlsAnswer first = ask(server, health(), kPem);
  ASSERT_TRUE(first.session);
  EXPECT_FALSE(first.was_resumed);
  const TlsAnswer second = ask(server, health(), kPem, first.session.get());
  EXPECT_THAT(second.text, StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(second.was_resumed);
}

}  // namespace
}  // namespace packhorse::server::testing
