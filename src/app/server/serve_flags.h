#pragma once
// Every option of the server, once: name, meaning and range, in the style of app/engine_flags.h. The command line, its
// help, the environment and the configuration file all visit this table.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "app/engine_flags.h"
#include "app/server/access_log.h"
#include "app/server/context.h"
#include "app/server/http/http_server.h"

namespace packhorse::server {

/// What the flags say: most of them stand in the options that they are for, the others in units and notations of their
/// own, which the functions below translate.
struct ServeFlags {
  HttpOptions http;
  ApiOptions api;
  std::string structured_outputs_config, pooler_config;  // JSON

  int64_t max_body_mb = HttpLimits().max_body_bytes >> 20, max_bodies_mb = HttpLimits().max_bodies_bytes >> 20;
  int64_t max_header_kb = HttpLimits().max_header_bytes >> 10;
  int64_t max_send_buffer_kb = HttpLimits().max_send_buffer_bytes >> 10;
  double header_timeout = seconds(HttpLimits().header_timeout), body_timeout = seconds(HttpLimits().body_timeout);
  double send_timeout = seconds(HttpLimits().send_timeout), idle_timeout = seconds(HttpLimits().idle_timeout);
  double sse_keep_alive_interval = seconds(HttpOptions().sse_keep_alive), shutdown_timeout = 30;

  int64_t template_steps = EngineOptions().template_steps, template_output_mb = EngineOptions().template_output_mb;

  bool disable_access_log = false, disable_log_stats = false;
  std::string access_log_format = "text", log_level = "info";
  std::string disable_access_log_for_endpoints;
  bool shows_info() const { return log_level == "trace" || log_level == "debug" || log_level == "info"; }
  bool shows_warnings() const { return log_level != "error" && log_level != "critical"; }

 private:
  static double seconds(std::chrono::milliseconds time) { return std::chrono::duration<double>(time).count(); }
};

/// Headings of the help.
inline constexpr std::string_view kNetworkGroup = "Server", kApiGroup = "API", kLimitGroup = "Limits",
                                  kLogGroup = "Logs";

/// Calls visit(Flag, group, member) for each option; members are std::string, bool, int, int64_t, double and vectors of
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

  add(flag("host", "ADDRESS", "address to listen at; 0.0.0.0 is all of them"), o.http.host);
  add(flag("port", "PORT", "port to listen at; 0 is any free one").within(0, 65535), o.http.port);
  add(flag("uds", "PATH", "Unix socket to listen at, instead of host and port"), o.http.uds);
  add(flag("served-model-name", "NAME", "names that requests call the model by; the first one stands in answers")
          .or_else("MODEL"),
      o.api.served_model_names);
  add(flag("api-key", "KEY", "keys of which clients have to show one; also VLLM_API_KEY").or_else("open to all"),
      o.http.api_keys);
  add(flag("ssl-certfile", "FILE", "PEM file with the certificate: TLS").or_else("no TLS"), o.http.ssl_certfile);
  add(flag("ssl-keyfile", "FILE", "PEM file with its key").or_else("--ssl-certfile"), o.http.ssl_keyfile);
  add(flag("ssl-keyfile-password", "TEXT", "password of the key"), o.http.ssl_keyfile_password);
  add(flag("ssl-ca-certs", "FILE", "PEM file with the authorities of clients' certificates"), o.http.ssl_ca_certs);
  add(flag("ssl-cert-reqs", "N", "clients' certificates: 0 none, 1 optional, 2 required").within(0, 2),
      o.http.ssl_cert_reqs);
  add(flag("ssl-ciphers", "NAMES", "ciphers of TLS 1.2, in OpenSSL's notation").or_else("OpenSSL's choice"),
      o.http.ssl_ciphers);
  add(flag("allowed-origins", "JSON", "list of origins whose pages may call the server (CORS), [\"*\"] is all")
          .or_else("no CORS headers"),
      o.http.cors.origins);
  add(flag("allowed-methods", "JSON", "list of their methods").or_else("[\"*\"]"), o.http.cors.methods);
  add(flag("allowed-headers", "JSON", "list of their headers").or_else("[\"*\"]"), o.http.cors.headers);
  add(flag("allow-credentials", "", "such pages may send cookies and keys that the browser holds"),
      o.http.cors.allow_credentials);
  add(flag("root-path", "PATH", "prefix that a proxy leaves on paths"), o.http.root_path);
  add(flag("sse-keep-alive-interval", "SECONDS", "a stream without news sends a comment after so long; 0 is never")
          .within(0, kMaxSeconds),
      o.sse_keep_alive_interval);
  add(flag("enable-request-id-headers", "", "X-Request-Id on every answer"), o.http.request_id_headers);
  add(flag("http-workers", "N", "threads that read and check requests").within(1, 256), o.http.n_workers);

  group = kApiGroup;
  add(flag("chat-template-content-format", "FORMAT",
           "whether templates get contents as texts or as lists of parts: auto, string or openai"),
      o.api.chat_template_content_format);
  add(flag("default-chat-template-kwargs", "JSON", "template variables of chats that do not set them"),
      o.api.default_chat_template_kwargs);
  add(flag("trust-request-chat-template", "", "chats may bring a template of their own"),
      o.api.trust_request_chat_template);
  add(flag("response-role", "ROLE", "role of the answers"), o.api.response_role);
  add(flag("enable-auto-tool-choice", "", "answers may call tools where tool_choice is auto"),
      o.api.enable_auto_tool_choice);
  add(flag("exclude-tools-when-tool-choice-none", "", "the model does not see the tools where tool_choice is none"),
      o.api.exclude_tools_when_tool_choice_none);
  add(flag("tool-call-parser", "NAME", "how tool calls are found in answers").or_else("what the template suggests"),
      o.api.tool_call_parser);
  add(flag("reasoning-parser", "NAME", "how reasoning is told from answers; none: it is not")
          .or_else("what the template suggests"),
      o.api.reasoning_parser);
  add(flag("structured-outputs-config", "JSON",
           "structured output: {\"disable_any_whitespace\": true} leaves no room for spaces in JSON, "
           "\"enable_in_reasoning\" holds from the first token on, without reasoning; also reasoning_parser")
          .or_else("{}"),
      o.structured_outputs_config);
  add(flag("guided-decoding-disable-any-whitespace", "",
           "older name of --structured-outputs-config.disable_any_whitespace"),
      o.api.disable_any_whitespace);
  add(flag("pooler-config", "JSON", "how embeddings are made: {\"pooling_type\": \"LAST\"} or \"MEAN\"")
          .or_else("LAST"),
      o.pooler_config);
  add(flag("return-tokens-as-token-ids", "", "log-probabilities name tokens as token_id:N"),
      o.api.return_tokens_as_token_ids);
  add(flag("enable-prompt-tokens-details", "", "usage tells of cached tokens"), o.api.enable_prompt_tokens_details);
  add(flag("enable-force-include-usage", "", "every stream ends with usage"), o.api.enable_force_include_usage);
  add(flag("enable-tokenizer-info-endpoint", "", "/tokenizer_info"), o.api.enable_tokenizer_info_endpoint);

  group = kLimitGroup;
  add(flag("max-queue", "N", "prompts that may wait; more are answered by 503").within(0, kMaxCount), o.api.max_queue);
  add(flag("max-n", "N", "answers to one prompt").within(1, 16384), o.api.max_n);
  add(flag("max-prompts", "N", "prompts of one request").within(1, kMaxCount), o.api.max_prompts);
  add(flag("max-connections", "N", "open connections").within(1, kMaxCount), o.http.limits.max_connections);
  add(flag("max-body-mb", "MB", "size of a request's body").within(1, 1024), o.max_body_mb);
  add(flag("max-bodies-mb", "MB",
           "size of all large bodies at a time, at least --max-body-mb; more are answered by 503")
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
  add(flag("enable-log-requests", "", "log prompts and parameters, which may be private"), o.api.enable_log_requests);
  add(flag("max-log-len", "CHARACTERS", "of a prompt in the log; -1 is all").within(-1, 1 << 30), o.api.max_log_len);
  add(flag("log-level", "LEVEL", "trace, debug, info, warning, error or critical; above info there is no access log"),
      o.log_level);
}

/// A list: JSON, or one text that is added.
void set_from_text(const app::Flag& flag, std::string_view label, std::string_view text,
                   std::vector<std::string>& member);
using app::set_from_text;

/// The flags as the parts of the server take them. Throw Error{usage} for values that no range tells.
HttpOptions http_options(const ServeFlags& flags);
AccessLogFormat access_log_format(const ServeFlags& flags);
ApiOptions api_options(const ServeFlags& flags, const EngineOptions& engine);
/// `engine` with what the server's flags say of it.
EngineOptions engine_options(const ServeFlags& flags, EngineOptions engine);

}  // namespace packhorse::server
