#include <openssl/ssl.h>

#include <boost/asio/ssl/context.hpp>

#include "app/server/http/asio_stream.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

void check(const error_code& error, const std::string& flag, const std::string& file) {
  if (error) throw Error(ErrorKind::usage, flag + ": cannot use " + printable(file) + ": " + error.message());
}

constexpr int kCertOptional = 1, kCertRequired = 2;  // as in Python's ssl module

/// The first flag that makes no sense without a certificate; null when none is given.
const char* flag_without_certificate(const HttpOptions& options) {
  return !options.ssl_keyfile.empty()            ? "--ssl-keyfile"
         : !options.ssl_keyfile_password.empty() ? "--ssl-keyfile-password"
         : !options.ssl_ca_certs.empty()         ? "--ssl-ca-certs"
         : options.ssl_cert_reqs != 0            ? "--ssl-cert-reqs"
         : !options.ssl_ciphers.empty()          ? "--ssl-ciphers"
                                                 : nullptr;
}

}  // namespace

std::unique_ptr<ssl::context> make_tls_context(const HttpOptions& options) {
  if (options.ssl_certfile.empty()) {
    if (const char* flag = flag_without_certificate(options))
      throw Error(ErrorKind::usage, std::string("--ssl-certfile: needed with ") + flag);
    return nullptr;
  }
  if (options.ssl_cert_reqs < 0 || options.ssl_cert_reqs > kCertRequired) {
    throw Error(ErrorKind::usage,
                "--ssl-cert-reqs: expected 0, 1 or 2 (got " + std::to_string(options.ssl_cert_reqs) + ")");
  }
  auto context = std::make_unique<ssl::context>(ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION);
  if (!options.ssl_ciphers.empty() &&
      SSL_CTX_set_cipher_list(context->native_handle(), options.ssl_ciphers.c_str()) != 1) {
    throw Error(ErrorKind::usage,
                "--ssl-ciphers: none of TLS 1.2 is known (got '" + printable(options.ssl_ciphers) + "')");
  }
  error_code error;
  context->set_password_callback([password = options.ssl_keyfile_password](size_t, auto) { return password; }, error);
  context->use_certificate_chain_file(options.ssl_certfile, error);
  check(error, "--ssl-certfile", options.ssl_certfile);
  const std::string& keyfile = options.ssl_keyfile.empty() ? options.ssl_certfile : options.ssl_keyfile;
  context->use_private_key_file(keyfile, ssl::context::pem, error);
  check(error, "--ssl-keyfile", keyfile);
  if (!options.ssl_ca_certs.empty()) {
    context->load_verify_file(options.ssl_ca_certs, error);
    check(error, "--ssl-ca-certs", options.ssl_ca_certs);
  }
  if (options.ssl_cert_reqs >= kCertOptional) {
    constexpr unsigned char kName[] = "packhorse";  // without one, OpenSSL refuses sessions that are resumed
    SSL_CTX_set_session_id_context(context->native_handle(), kName, sizeof kName);
    const auto strictness =
        options.ssl_cert_reqs == kCertRequired ? ssl::verify_fail_if_no_peer_cert : ssl::verify_none;
    context->set_verify_mode(ssl::verify_peer | strictness, error);
  }
  return context;
}

}  // namespace packhorse::server
