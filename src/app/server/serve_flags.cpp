#include "app/server/serve_flags.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
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

PoolingParams::Pooling pooling_of(const std::string& config) {
  using enum PoolingParams::Pooling;
  constexpr const char* kFlag = "--pooler-config";
  if (config.empty() || config == "null") return last;
  const auto object = nlohmann::json::parse(config, nullptr, false);
  if (!object.is_object()) app::fail_flag(kFlag, "not a JSON object (got '{}')", printable(config));
  PoolingParams::Pooling pooling = last;
  for (const auto& [key, value] : object.items()) {
    if (key != "pooling_type" && key != "seq_pooling_type") app::fail_flag(kFlag, "no setting '{}'", printable(key));
    if (value == "LAST" || value == "MEAN")
      pooling = value == "LAST" ? last : mean;
    else
      app::fail_flag(kFlag, "{} must be \"LAST\" or \"MEAN\" (got {})", key, printable(value.dump()));
  }
  return pooling;
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

void finish_cors(CorsOptions& cors) {
  if (cors.origins.empty()) {
    if (!cors.methods.empty() || !cors.headers.empty() || cors.allow_credentials)
      app::fail_flag("--allowed-origins", "needed where other CORS flags are given");
    return;
  }
  for (std::vector<std::string>* list : {&cors.methods, &cors.headers}) {
    if (list->empty()) *list = {"*"};
  }
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
  HttpOptions options = flags.http;
  if (!options.root_path.empty() && !options.root_path.starts_with('/'))
    app::fail_flag("--root-path", "does not begin with '/' (got '{}')", printable(options.root_path));
  while (options.root_path.ends_with('/')) options.root_path.pop_back();
  finish_cors(options.cors);
  options.limits.max_body_bytes = flags.max_body_mb << 20;
  options.limits.max_bodies_bytes = std::max(flags.max_bodies_mb, flags.max_body_mb) << 20;  // one has to fit
  options.limits.max_header_bytes = flags.max_header_kb << 10;
  options.limits.max_send_buffer_bytes = flags.max_send_buffer_kb << 10;
  options.limits.header_timeout = milliseconds(flags.header_timeout);
  options.limits.body_timeout = milliseconds(flags.body_timeout);
  options.limits.send_timeout = milliseconds(flags.send_timeout);
  options.limits.idle_timeout = milliseconds(flags.idle_timeout);
  options.sse_keep_alive = milliseconds(flags.sse_keep_alive_interval);
  return options;
}

AccessLogFormat access_log_format(const ServeFlags& flags) {
  require_one_of("--access-log-format", flags.access_log_format, {"text", "json"});
  require_one_of("--log-level", flags.log_level, {"trace", "debug", "info", "warning", "error", "critical"});
  if (flags.disable_access_log || !flags.shows_info()) return AccessLogFormat::none;
  return flags.access_log_format == "json" ? AccessLogFormat::json : AccessLogFormat::text;
}

EngineOptions engine_options(const ServeFlags& flags, EngineOptions engine) {
  engine.template_steps = flags.template_steps;
  engine.template_output_mb = flags.template_output_mb;
  return engine;
}

ApiOptions api_options(const ServeFlags& flags, const EngineOptions& engine) {
  ApiOptions options = flags.api;
  require_one_of("--chat-template-content-format", options.chat_template_content_format, {"auto", "string", "openai"});
  require_one_of("--tool-call-parser", options.tool_call_parser, or_none(tool_parser_names()));
  require_one_of("--reasoning-parser", options.reasoning_parser, or_none(reasoning_parser_names()));
  const std::string& kwargs = options.default_chat_template_kwargs;
  if (!kwargs.empty() && !nlohmann::json::parse(kwargs, nullptr, false).is_object())
    app::fail_flag("--default-chat-template-kwargs", "not a JSON object (got '{}')", printable(kwargs));
  if (options.served_model_names.empty()) options.served_model_names = {engine.model};
  set_structured_outputs(flags.structured_outputs_config, options);
  options.pooling = pooling_of(flags.pooler_config);
  return options;
}

}  // namespace packhorse::server
