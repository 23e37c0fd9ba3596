#include "app/server/serve_flags.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/server/output_parser.h"

namespace packhorse::server {
namespace {

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

void require_one_of(std::string_view name, std::string_view value, const std::vector<std::string_view>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
  std::vector<std::string_view> shown = allowed;
  std::erase(shown, "");  // what leaves the choice to the server
  app::fail_flag(name, "unknown (got '{}', allowed: {})", printable(value), fmt::join(shown, ", "));
}

std::vector<std::string_view> or_none(std::vector<std::string_view> names) {
  names.insert(names.begin(), {"", "none"});
  return names;
}

/// "last" or "mean".
std::string pooling_type(const std::string& config) {
  constexpr const char* kFlag = "--pooler-config";
  if (config.empty() || config == "null") return "last";
  const auto object = nlohmann::json::parse(config, nullptr, false);
  if (!object.is_object()) app::fail_flag(kFlag, "not a JSON object (got '{}')", printable(config));
  std::string type = "last";
  for (const auto& [key, value] : object.items()) {
    if (key != "pooling_type" && key != "seq_pooling_type") app::fail_flag(kFlag, "no setting '{}'", printable(key));
    if (value == "LAST" || value == "MEAN")
      type = value == "LAST" ? "last" : "mean";
    else
      app::fail_flag(kFlag, "{} must be \"LAST\" or \"MEAN\" (got {})", key, printable(value.dump()));
  }
  return type;
}

/// Reads --structured-outputs-config into the options. What vLLM's other backends can do is refused; of xgrammar,
/// disable_fallback and disable_additional_properties ask for what is the case anyway.
void set_structured_outputs(const std::string& config, ApiOptions& options) {
  constexpr const char* kFlag = "--structured-outputs-config";
  if (config.empty() || config == "null") return;
  const auto object = nlohmann::json::parse(config, nullptr, false);
  if (!object.is_object()) app::fail_flag(kFlag, "not a JSON object (got '{}')", printable(config));
  for (const auto& [key, value] : object.items()) {
    const auto require = [&name = key, &given = value](bool holds, const char* expected) {
      if (!holds) app::fail_flag(kFlag, "{} must be {} (got {})", name, expected, printable(given.dump()));
    };
    if (key == "backend") {
      require(value == "auto" || value == "xgrammar", "\"auto\" or \"xgrammar\"");
    } else if (key == "reasoning_parser") {
      require(
          value.is_string() && (options.reasoning_parser.empty() || value == "" || value == options.reasoning_parser),
          "a text, the same as --reasoning-parser where both are given");
      if (value != "") options.reasoning_parser = value.get<std::string>();
      require_one_of(kFlag, options.reasoning_parser, or_none(reasoning_parser_names()));
    } else if (key == "reasoning_parser_plugin") {
      require(value == "", "empty: there are no plugins");
    } else if (key == "disable_any_whitespace" || key == "enable_in_reasoning" || key == "disable_fallback" ||
               key == "disable_additional_properties") {
      require(value.is_boolean(), "true or false");
      if (key == "disable_any_whitespace") options.disable_any_whitespace = value.get<bool>();
      if (key == "enable_in_reasoning") options.enable_in_reasoning = value.get<bool>();
    } else {
      app::fail_flag(kFlag, "no setting '{}'", printable(key));
    }
  }
}

CorsOptions cors_options(const ServeFlags& flags) {
  const auto or_all = [](const std::vector<std::string>& list) {
    return list.empty() ? std::vector<std::string>{"*"} : list;
  };
  if (flags.allowed_origins.empty()) {
    if (!flags.allowed_methods.empty() || !flags.allowed_headers.empty() || flags.allow_credentials)
      app::fail_flag("--allowed-origins", "needed where other CORS flags are given");
    return {};
  }
  return {flags.allowed_origins, or_all(flags.allowed_methods), or_all(flags.allowed_headers), flags.allow_credentials};
}

}  // namespace

void set_from_text(const app::Flag&, std::string_view label, std::string_view text, std::vector<std::string>& member) {
  if (text.empty()) app::fail_flag(label, "needs a value (got an empty text)");
  if (!text.starts_with('[')) return member.emplace_back(text), void();
  const auto list = nlohmann::json::parse(text, nullptr, false);
  const auto is_text = [](const nlohmann::json& each) {
    return each.is_string() && !each.get_ref<const std::string&>().empty();
  };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_text))
    app::fail_flag(label, "not a JSON list of texts (got '{}')", printable(text));
  for (const auto& each : list) member.push_back(each.get<std::string>());
}

HttpOptions http_options(const ServeFlags& flags) {
  if (flags.ssl_certfile.empty() != flags.ssl_keyfile.empty()) {
    const bool lacks_key = flags.ssl_keyfile.empty();
    app::fail_flag(lacks_key ? "--ssl-keyfile" : "--ssl-certfile", "needed with --ssl-{}file",
                   lacks_key ? "cert" : "key");
  }
  if (flags.ssl_certfile.empty() && (!flags.ssl_ca_certs.empty() || flags.ssl_cert_reqs != 0))
    app::fail_flag("--ssl-certfile", "needed where clients' certificates are asked for");
  if (flags.ssl_certfile.empty() && !flags.ssl_ciphers.empty())
    app::fail_flag("--ssl-certfile", "needed with --ssl-ciphers");
  if (!flags.root_path.empty() && !flags.root_path.starts_with('/'))
    app::fail_flag("--root-path", "does not begin with '/' (got '{}')", printable(flags.root_path));
  if (flags.max_bodies_mb < flags.max_body_mb) {
    app::fail_flag("--max-bodies-mb", "no room for one body of --max-body-mb (got {}, limit {})", flags.max_bodies_mb,
                   flags.max_body_mb);
  }
  HttpOptions options;
  options.host = flags.host;
  options.port = static_cast<int>(flags.port);
  options.uds = flags.uds;
  options.ssl_certfile = flags.ssl_certfile;
  options.ssl_keyfile = flags.ssl_keyfile;
  options.ssl_keyfile_password = flags.ssl_keyfile_password;
  options.ssl_ca_certs = flags.ssl_ca_certs;
  options.ssl_ciphers = flags.ssl_ciphers;
  options.ssl_cert_reqs = static_cast<int>(flags.ssl_cert_reqs);
  options.root_path = flags.root_path;
  while (options.root_path.ends_with('/')) options.root_path.pop_back();
  options.api_keys = flags.api_keys;
  options.cors = cors_options(flags);
  options.limits = {.max_connections = flags.max_connections,
                    .max_body_bytes = flags.max_body_mb << 20,
                    .max_bodies_bytes = flags.max_bodies_mb << 20,
                    .max_header_bytes = flags.max_header_kb << 10,
                    .header_timeout = milliseconds(flags.header_timeout),
                    .body_timeout = milliseconds(flags.body_timeout),
                    .send_timeout = milliseconds(flags.send_timeout),
                    .idle_timeout = milliseconds(flags.idle_timeout),
                    .max_send_buffer_bytes = flags.max_send_buffer_kb << 10};
  options.sse_keep_alive = milliseconds(flags.sse_keep_alive_interval);
  options.n_workers = static_cast<int>(flags.http_workers);
  options.request_id_headers = flags.enable_request_id_headers;
  return options;
}

EngineOptions engine_options(const ServeFlags& flags, EngineOptions engine) {
  engine.template_steps = flags.template_steps;
  engine.template_output_mb = flags.template_output_mb;
  return engine;
}

ApiOptions api_options(const ServeFlags& flags, const EngineOptions& engine) {
  require_one_of("--chat-template-content-format", flags.chat_template_content_format, {"auto", "string", "openai"});
  require_one_of("--access-log-format", flags.access_log_format, {"text", "json"});
  require_one_of("--log-level", flags.log_level, {"trace", "debug", "info", "warning", "error", "critical"});
  require_one_of("--tool-call-parser", flags.tool_call_parser, or_none(tool_parser_names()));
  require_one_of("--reasoning-parser", flags.reasoning_parser, or_none(reasoning_parser_names()));
  const std::string& kwargs = flags.default_chat_template_kwargs;
  if (!kwargs.empty() && !nlohmann::json::parse(kwargs, nullptr, false).is_object())
    app::fail_flag("--default-chat-template-kwargs", "not a JSON object (got '{}')", printable(kwargs));
  ApiOptions options;
  options.served_model_names = flags.served_model_names;
  if (options.served_model_names.empty()) options.served_model_names = {engine.model};
  options.response_role = flags.response_role;
  options.tool_call_parser = flags.tool_call_parser;
  options.reasoning_parser = flags.reasoning_parser;
  set_structured_outputs(flags.structured_outputs_config, options);
  options.default_chat_template_kwargs = kwargs;
  options.chat_template_content_format = flags.chat_template_content_format;
  options.pooling_type = pooling_type(flags.pooler_config);
  options.enable_auto_tool_choice = flags.enable_auto_tool_choice;
  options.trust_request_chat_template = flags.trust_request_chat_template;
  options.enable_prompt_tokens_details = flags.enable_prompt_tokens_details;
  options.enable_force_include_usage = flags.enable_force_include_usage;
  options.return_tokens_as_token_ids = flags.return_tokens_as_token_ids;
  options.enable_tokenizer_info_endpoint = flags.enable_tokenizer_info_endpoint;
  options.enable_log_requests = flags.enable_log_requests;
  options.max_log_len = flags.max_log_len;
  options.max_queue = flags.max_queue;
  options.max_n = flags.max_n;
  options.max_prompts = flags.max_prompts;
  return options;
}

}  // namespace packhorse::server
