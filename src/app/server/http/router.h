#pragma once
// Which route answers a request.

#include <string>
#include <string_view>
#include <vector>

#include "app/server/http/http.h"

namespace packhorse::server {

struct Match {
  const Route* route = nullptr;         // none: see `allowed`
  std::vector<std::string> parameters;  // what the {} of the route matched
  std::vector<std::string> allowed;     // methods of the path; empty where no route has that path
  std::string pattern;                  // path of the route, or of one for another method
  ErrorFormat error_format = nullptr;   // of that same route
};

class Router {
 public:
  void add(Route route);
  /// Routes with fewer {} go before those with more. A GET route answers HEAD too.
  Match find(std::string_view method, std::string_view path) const;

 private:
  struct Entry {
    Route route;
    std::vector<std::string> segments;
    int n_open;  // {} in it; {...} counts as many
  };
  std::vector<Entry> entries_;  // by n_open
};

/// The target of a request line, taken apart.
struct Target {
  std::string path;   // percent-decoded, without `root_path`
  std::string query;  // as it came
  bool is_bare_root = false;
};

/// Takes "/path?query", the same after "http://host", or "*". Throws HttpError 400.
Target parse_target(std::string_view target, std::string_view root_path);

}  // namespace packhorse::server
