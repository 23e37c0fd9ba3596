#include "app/server/chat_page.h"

#include <fmt/format.h>

#include <functional>
#include <string>

#include "app/server/api/handlers.h"

namespace packhorse::server {
namespace {

// Scripts and styles come from the server alone, nothing else is loaded, no script turns a text into markup, and no
// other page may frame this one.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// `inside` is where the file is for who asks for the root path without a '/' behind it.
void add_file(HttpServer& server, std::string path, std::string_view type, std::string_view content,
              const std::string& inside = {}) {
  const std::string tag = fmt::format("\"{:016x}\"", std::hash<std::string_view>()(content));
  const Headers headers = {{"ETag", tag},
                           {"Cache-Control", "no-cache"},
                           {"Content-Security-Policy", kPolicy},
                           {"X-Content-Type-Options", "nosniff"},
                           {"Referrer-Policy", "no-referrer"}};
  const auto answer = [=](const HttpRequestPtr& request, const ReplyPtr& reply) {
    if (request->is_bare_root) return reply->send(308, "text/plain", "", {{"Location", inside}});
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

void add_chat_page(HttpServer& server, std::string_view root_path) {
  // The last segment, relative: what proxies put before the root path is not known here.
  const std::string inside = "./" + std::string(root_path.substr(root_path.rfind('/') + 1)) + "/";
  add_file(server, "/", "text/html; charset=utf-8", page::kIndexHtml, inside);
  add_file(server, "/style.css", "text/css; charset=utf-8", page::kStyleCss);
  add_file(server, "/markdown.js", "text/javascript; charset=utf-8", page::kMarkdownJs);
  add_file(server, "/server.js", "text/javascript; charset=utf-8", page::kServerJs);
  add_file(server, "/app.js", "text/javascript; charset=utf-8", page::kAppJs);
  add_file(server, "/icon.svg", "image/svg+xml", page::kIconSvg);
}

}  // namespace packhorse::server
