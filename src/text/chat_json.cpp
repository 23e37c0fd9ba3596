#include "text/chat_json.h"

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"

namespace packhorse {
namespace {

/// Receives the events of nlohmann's parser. Its own builder searches all earlier keys for every new one.
class Builder {
 public:
  Builder(std::string_view field, int max_depth) : field_(field), max_depth_(max_depth) {}

  OrderedJson take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(OrderedJson::number_integer_t value) { return add(value); }
  bool number_unsigned(OrderedJson::number_unsigned_t value) { return add(value); }
  bool number_float(OrderedJson::number_float_t value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(OrderedJson::binary_t&) { return false; }
  bool start_object(size_t) { return open(OrderedJson::object()); }
  bool start_array(size_t) { return open(OrderedJson::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    fail(ErrorKind::request, "{}: not valid JSON at byte {}", field_, position);
  }

 private:
  struct Level {
    OrderedJson* container;
    std::unordered_map<std::string, size_t> positions;  // of the keys, in an object
  };

  OrderedJson* place(OrderedJson value) {
    if (levels_.empty()) return &(root_ = std::move(value));
    Level& level = levels_.back();
    if (level.container->is_array()) {
      auto& items = level.container->get_ref<OrderedJson::array_t&>();
      return &items.emplace_back(std::move(value));
    }
    auto& members = level.container->get_ref<OrderedJson::object_t&>();
    const auto [it, is_new] = level.positions.emplace(key_, members.size());
    if (!is_new) return &((members.begin() + static_cast<std::ptrdiff_t>(it->second))->second = std::move(value));
    append_member(*level.container, key_, std::move(value));
    return &members.back().second;
  }

  bool add(OrderedJson value) {
    place(std::move(value));
    return true;
  }

  bool open(OrderedJson container) {
    if (static_cast<int>(levels_.size()) >= max_depth_) {
      fail(ErrorKind::request, "{}: nested deeper than {}", field_, max_depth_);
    }
    OrderedJson* placed = place(std::move(container));
    levels_.push_back({placed, {}});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  std::string_view field_;
  int max_depth_;
  OrderedJson root_;
  std::vector<Level> levels_;
  std::string key_;
};

}  // namespace

OrderedJson parse_chat_json(std::string_view text, std::string_view field, int max_depth) {
  Builder builder(field, max_depth);
  OrderedJson::sax_parse(text, &builder);
  return builder.take();
}

void append_member(OrderedJson& object, std::string key, OrderedJson value) {
  // The vector below the ordered map: the map's own functions search it first.
  OrderedJson::object_t::Container& members = object.get_ref<OrderedJson::object_t&>();
  members.emplace_back(std::move(key), std::move(value));
}

}  // namespace packhorse
