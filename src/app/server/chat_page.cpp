#include "app/server/chat_page.h"

#include <fmt/format.h>

#include <functional>
#include <string>

#include "app/server/api/handlers.h"

namespace packhorse::server {
namespace {

// Scripts and styles come from the server alone, nothing else is loaded, and no other page may frame this one.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

void add_file(HttpServer& server, std::string path, std::string_view type, std::string_view content) {
  const std::string tag = fmt::format("\"{:016x}\"", std::hash<std::string_view>()(content));
  const Headers headers = {{"ETag", tag},
                           {"Cache-Control", "no-cache"},
                           {"Content-Security-Policy", kPolicy},
                           {"X-Content-Type-Options", "nosniff"},
                           {"Referrer-Policy", "no-referrer"}};
  const auto answer = [=](const HttpRequestPtr& request, const ReplyPtr& reply) {
    if (request->header("If-None-Match") == tag) return reply->send(304, type, "", headers);
    reply->send(200, type, std::string(content), headers);
  };
  server.add_route({.method = "GET",
                    .path = std::move(path),
                    .handler = answer,
                    .is_open = true,
                    .is_quick = true,
                    .is_closing_ok = true});
}

}  // namespace

void add_chat_page(HttpServer& server) {
  add_file(server, "/", "text/html; charset=utf-8", page::kIndexHtml);
  add_file(server, "/style.css", "text/css; charset=utf-8", page::kStyleCss);
  add_file(server, "/app.js", "text/javascript; charset=utf-8", page::kAppJs);
  add_file(server, "/icon.svg", "image/svg+xml", page::kIconSvg);
}

}  // namespace packhorse::server
