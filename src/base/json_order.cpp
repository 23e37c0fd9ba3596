#include "base/json_order.h"

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace packhorse {
namespace {

/// SAX handler that only looks at keys.
class OrderReader {
 public:
  explicit OrderReader(std::span<const std::string_view> path) : path_(path) {}

  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(Json::number_integer_t) { return true; }
  bool number_unsigned(Json::number_unsigned_t) { return true; }
  bool number_float(Json::number_float_t, const std::string&) { return true; }
  bool string(std::string&) { return true; }
  bool binary(Json::binary_t&) { return false; }

  bool start_object(size_t) { return open(); }
  bool end_object() { return close(); }
  bool start_array(size_t) { return open(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    const size_t n = path_.size();
    if (keys_.size() == n + 2 && std::equal(path_.begin(), path_.end(), keys_.begin()))
      order_[keys_[n]].push_back(name);
    keys_.back() = std::move(name);
    return true;
  }
  bool parse_error(size_t, const std::string&, const Json::exception&) { return false; }

  MemberOrder take() { return std::move(order_); }

 private:
  bool open() {
    keys_.emplace_back();
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }

  std::span<const std::string_view> path_;
  std::vector<std::string> keys_;  // of each open container the last one, of an array empty
  MemberOrder order_;
};

}  // namespace

MemberOrder member_order(std::string_view text, std::span<const std::string_view> path) {
  OrderReader reader(path);
  Json::sax_parse(text.begin(), text.end(), &reader);
  return reader.take();
}

}  // namespace packhorse
