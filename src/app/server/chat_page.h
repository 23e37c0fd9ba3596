#pragma once
// The files of the chat page, which the build compiles in from page/.

#include <string_view>

namespace packhorse::server::page {

extern const std::string_view kIndexHtml, kStyleCss, kMarkdownJs, kServerJs, kAppJs, kIconSvg;

}  // namespace packhorse::server::page
