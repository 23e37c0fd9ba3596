#pragma once
#include <string>
#include <string_view>

namespace packhorse::server {

/// RFC 4648's standard alphabet, padded.
std::string base64(std::string_view bytes);

}  // namespace packhorse::server
