#pragma once
// A failure of the network or of the other side, which may pass.

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

namespace packhorse::hub {

class NetworkError : public std::runtime_error {
 public:
  enum class Hope : uint8_t { none, retry };  // none: the same request will fail the same way

  explicit NetworkError(const std::string& message, Hope kind = Hope::retry,
                        std::optional<std::chrono::seconds> wait = {})
      : std::runtime_error(message), hope(kind), retry_after(wait) {}

  Hope hope;
  std::optional<std::chrono::seconds> retry_after;  // as the server asks
};

}  // namespace packhorse::hub
