#pragma once
// What the command line of the load generator says.

#include <cstdint>
#include <string>

namespace packhorse::load {

struct Options {
  std::string host = "127.0.0.1", port = "8000", path = "/v1/completions", model, api_key;
  int64_t n_clients = 8, n_requests = 0;  // requests of all clients together; 0 = `seconds` decides
  double seconds = 0, stagger = 0, timeout = 600;
  int64_t prompt_tokens = 128, shared_prefix = 0, max_tokens = 128;
  int64_t probe_prompt_tokens = 4096, probe_max_tokens = 8;
  double probe_after = 0;  // 0 = no probe
  bool connect_first = false;
  int64_t server_pid = 0, seed = 0;
  bool json = false;

  bool is_chat() const { return path.ends_with("/chat/completions"); }
};

}  // namespace packhorse::load
