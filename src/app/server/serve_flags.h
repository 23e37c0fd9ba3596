#pragma once
// Every option of the server, once: name, meaning and range, in the style of app/engine_flags.h. The command line, its
// help, the environment and the configuration file all visit this table.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "app/engine_flags.h"
#include "app/server/context.h"
#include "app/server/http/http_server.h"

namespace packhorse::server {

/// What the flags say, in their own units.
struct ServeFlags {
  std::string host = "127.0.0.1", uds;
  int64_t port = 8000;
  std::string root_path, ssl_keyfile, ssl_certfile, ssl_ca_certs, ssl_keyfile_password, ssl_ciphers;
  int64_t ssl_cert_reqs = 0;
  std::vector<std::string> api_keys, allowed_origins, allowed_methods, allowed_headers, served_model_names;
  bool allow_credentials = false;

  std::string chat_template_content_format = "auto", default_chat_template_kwargs, response_role = "assistant";
  std::string tool_call_parser, reasoning_parser, structured_outputs_config, pooler_config;
  bool enable_auto_tool_choice = true, trust_request_chat_template = false, return_tokens_as_token_ids = false;
  bool enable_prompt_tokens_details = false, enable_force_include_usage = false, enable_request_id_headers = false;
  bool enable_tokenizer_info_endpoint = true;

  int64_t max_queue = 1024, max_n = 128, max_prompts = 1024;
  int64_t max_connections = 4096, max_body_mb = 32, max_bodies_mb = 256, max_header_kb = 64, max_send_buffer_kb = 4096,
          http_workers = 2;
  double header_timeout = 10, body_timeout = 60, send_timeout = 30, idle_timeout = 75;
  double sse_keep_alive_interval = 15, shutdown_timeout = 30;

  int64_t template_steps = EngineOptions().template_steps, template_output_mb = EngineOptions().template_output_mb;

  bool enable_log_requests = false, disable_access_log = false, disable_log_stats = false;
  int64_t max_log_len = 0;
  std::string access_log_format = "text", log_level = "info";
  std::string disable_access_log_for_endpoints;
  bool shows_info() const { return log_level == "trace" || log_level == "debug" || log_level == "info"; }
  bool shows_warnings() const { return log_level != "error" && log_level != "critical"; }
};

/// Headings of the help.
inline constexpr std::string_view kNetworkGroup = "Server", kApiGroup = "API", kLimitGroup = "Limits",
                                  kLogGroup = "Logs";

/// Calls visit(Flag, group, member) for each option; members are std::string, bool, int64_t, double and vectors of
/// std::string: options that may stand several times.
template <class Flags, class Visitor>
void visit_serve_flags(Flags& o, Visitor&& visit) {
  using app::Flag;
  constexpr double kMaxSeconds = 86400, kMaxCount = 1 << 20;
  std::string_view group = kNetworkGroup;
  const auto add = [&](const Flag& flag, auto& member) { visit(flag, group, member); };
  const auto flag = [](std::string_view name, std::string_view metavar, std::string_view help) {
    return Flag{name, metavar, help};
  };

  add(flag("host", "ADDRESS", "address to listen at; 0.0.0.0 is all of them"), o.host);
  add(flag("port", "PORT", "port to listen at; 0 is any free one").within(0, 65535), o.port);
  add(flag("uds", "PATH", "Unix socket to listen at, instead of host and port"), o.uds);
  add(flag("served-model-name", "NAME", "names that requests call the model by; the first one stands in answers")
          .or_else("MODEL"),
      o.served_model_names);
  add(flag("api-key", "KEY", "keys of which clients have to show one; also VLLM_API_KEY").or_else("open to all"),
      o.api_keys);
  add(flag("ssl-certfile", "FILE", "PEM file with the certificate: TLS").or_else("no TLS"), o.ssl_certfile);
  add(flag("ssl-keyfile", "FILE", "PEM file with its key"), o.ssl_keyfile);
  add(flag("ssl-keyfile-password", "TEXT", "password of the key"), o.ssl_keyfile_password);
  add(flag("ssl-ca-certs", "FILE", "PEM file with the authorities of clients' certificates"), o.ssl_ca_certs);
  add(flag("ssl-cert-reqs", "N", "clients' certificates: 0 none, 1 optional, 2 required").within(0, 2),
      o.ssl_cert_reqs);
  add(flag("ssl-ciphers", "NAMES", "ciphers of TLS 1.2, in OpenSSL's notation").or_else("OpenSSL's choice"),
      o.ssl_ciphers);
  add(flag("allowed-origins", "JSON", "list of origins whose pages may call the server (CORS), [\"*\"] is all")
          .or_else("no CORS headers"),
      o.allowed_origins);
  add(flag("allowed-methods", "JSON", "list of their methods").or_else("[\"*\"]"), o.allowed_methods);
  add(flag("allowed-headers", "JSON", "list of their headers").or_else("[\"*\"]"), o.allowed_headers);
  add(flag("allow-credentials", "", "such pages may send cookies and keys that the browser holds"),
      o.allow_credentials);
  add(flag("root-path", "PATH", "prefix that a proxy leaves on paths"), o.root_path);
  add(flag("sse-keep-alive-interval", "SECONDS", "a stream without news sends a comment after so long; 0 is never")
          .within(0, kMaxSeconds),
      o.sse_keep_alive_interval);
  add(flag("enable-request-id-headers", "", "X-Request-Id on every answer"), o.enable_request_id_headers);
  add(flag("http-workers", "N", "threads that read and check requests").within(1, 256), o.http_workers);

  group = kApiGroup;
  add(flag("chat-template-content-format", "FORMAT",
           "whether templates get contents as texts or as lists of parts: auto, string or openai"),
      o.chat_template_content_format);
  add(flag("default-chat-template-kwargs", "JSON", "template variables of chats that do not set them"),
      o.default_chat_template_kwargs);
  add(flag("trust-request-chat-template", "", "chats may bring a template of their own"),
      o.trust_request_chat_template);
  add(flag("response-role", "ROLE", "role of the answers"), o.response_role);
  add(flag("enable-auto-tool-choice", "", "answers may call tools where tool_choice is auto"),
      o.enable_auto_tool_choice);
  add(flag("tool-call-parser", "NAME", "how tool calls are found in answers").or_else("what the template suggests"),
      o.tool_call_parser);
  add(flag("reasoning-parser", "NAME", "how reasoning is told from answers; none: it is not")
          .or_else("what the template suggests"),
      o.reasoning_parser);
  add(flag("structured-outputs-config", "JSON",
           "structured output: {\"disable_any_whitespace\": true} leaves no room for spaces in JSON, "
           "\"enable_in_reasoning\" holds from the first token on, without reasoning; also reasoning_parser")
          .or_else("{}"),
      o.structured_outputs_config);
  add(flag("pooler-config", "JSON", "how embeddings are made: {\"pooling_type\": \"LAST\"} or \"MEAN\"")
          .or_else("LAST"),
      o.pooler_config);
  add(flag("return-tokens-as-token-ids", "", "log-probabilities name tokens as token_id:N"),
      o.return_tokens_as_token_ids);
  add(flag("enable-prompt-tokens-details", "", "usage tells of cached tokens"), o.enable_prompt_tokens_details);
  add(flag("enable-force-include-usage", "", "every stream ends with usage"), o.enable_force_include_usage);
  add(flag("enable-tokenizer-info-endpoint", "", "/tokenizer_info"), o.enable_tokenizer_info_endpoint);

  group = kLimitGroup;
  add(flag("max-queue", "N", "prompts that may wait; more are answered by 503").within(0, kMaxCount), o.max_queue);
  add(flag("max-n", "N", "answers to one prompt").within(1, 16384), o.max_n);
  add(flag("max-prompts", "N", "prompts of one request").within(1, kMaxCount), o.max_prompts);
  add(flag("max-connections", "N", "open connections").within(1, kMaxCount), o.max_connections);
  add(flag("max-body-mb", "MB", "size of a request's body").within(1, 1024), o.max_body_mb);
  add(flag("max-bodies-mb", "MB", "size of all requests' bodies at a time; more are answered by 503")
          .within(1, kMaxCount),
      o.max_bodies_mb);
  add(flag("max-header-kb", "KB", "size of a request's headers").within(1, 1024), o.max_header_kb);
  add(flag("max-send-buffer-kb", "KB", "what a slow client may leave unread before it is dropped")
          .within(16, kMaxCount),
      o.max_send_buffer_kb);
  add(flag("template-steps", "N", "what the chat template may evaluate for one chat").within(1, 1 << 30),
      o.template_steps);
  add(flag("template-output-mb", "MB", "size of the prompt that it makes").within(1, 1024), o.template_output_mb);
  add(flag("header-timeout", "SECONDS", "for the headers of a request").within(0.1, kMaxSeconds), o.header_timeout);
  add(flag("body-timeout", "SECONDS", "for the body of a request").within(0.1, kMaxSeconds), o.body_timeout);
  add(flag("send-timeout", "SECONDS", "a client that reads nothing for so long is dropped").within(0.1, kMaxSeconds),
      o.send_timeout);
  add(flag("idle-timeout", "SECONDS", "for the next request on an open connection").within(0.1, kMaxSeconds),
      o.idle_timeout);
  add(flag("shutdown-timeout", "SECONDS", "for running requests after SIGTERM").within(0, kMaxSeconds),
      o.shutdown_timeout);

  group = kLogGroup;
  add(flag("access-log-format", "FORMAT", "text or json"), o.access_log_format);
  add(flag("disable-access-log", "", "no line for each request"), o.disable_access_log);
  add(flag("disable-access-log-for-endpoints", "PATHS", "no line for these either, as /health,/metrics"),
      o.disable_access_log_for_endpoints);
  add(flag("disable-log-stats", "", "no line of throughput every 10 s"), o.disable_log_stats);
  add(flag("enable-log-requests", "", "log prompts and parameters, which may be private"), o.enable_log_requests);
  add(flag("max-log-len", "CHARACTERS", "of a prompt in the log; 0 is all").within(0, 1 << 30), o.max_log_len);
  add(flag("log-level", "LEVEL", "trace, debug, info, warning, error or critical; above info there is no access log"),
      o.log_level);
}

/// A list: JSON, or one text that is added.
void set_from_text(const app::Flag& flag, std::string_view label, std::string_view text,
                   std::vector<std::string>& member);
using app::set_from_text;

/// The flags as the parts of the server take them. Throw Error{usage} for values that no range tells.
HttpOptions http_options(const ServeFlags& flags);
ApiOptions api_options(const ServeFlags& flags, const EngineOptions& engine);
/// `engine` with what the server's flags say of it.
EngineOptions engine_options(const ServeFlags& flags, EngineOptions engine);

}  // namespace packhorse::server
