#include "base/json.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace packhorse {
namespace {

using Member = std::pair<std::string, Json>;

/// SAX handler that builds the document and enforces what nlohmann's own builder lets through.
class JsonBuilder {
 public:
  JsonBuilder(std::string_view text, std::string_view source, int max_depth, uint64_t max_values)
      : text_size_(text.size()),
        source_(printable(source)),
        max_depth_(static_cast<size_t>(max_depth)),
        max_values_(max_values) {}

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(Json::number_integer_t value) { return add(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return add(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }  // no such thing in text

  bool start_object(size_t) { return open(); }
  bool end_object() { return close(make_object(std::move(open_.back().members))); }
  bool start_array(size_t) { return open(); }
  bool end_array() { return close(std::move(open_.back().elements)); }
  bool key(std::string& name) {
    open_.back().members.emplace_back(std::move(name), nullptr);
    return true;
  }

  bool parse_error(size_t n_read, const std::string& token, const Json::exception& error) {
    const size_t position = std::min(n_read > 0 ? n_read - 1 : 0, text_size_);
    constexpr int kNumberOverflow = 406;
    if (error.id == kNumberOverflow) {
      fail_model("{}: byte {}: number '{}' is too large: not an unsigned integer and not a finite number", source_,
                 position, printable(token));
    }
    fail_model("{}: byte {}: {}", source_, position, reason(error.what()));
  }

  Json take() { return std::move(root_); }

 private:
  /// A container whose end was not seen yet: only one of the two is used.
  struct Open {
    std::vector<Member> members;
    Json::array_t elements;
  };

  bool add(Json value) {
    if (++n_values_ > max_values_) fail_model("{}: more than {} values", source_, max_values_);
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (auto& [members, elements] = open_.back(); !members.empty()) {
      members.back().second = std::move(value);
    } else {
      elements.push_back(std::move(value));
    }
    return true;
  }
  bool open() {
    if (open_.size() >= max_depth_) fail_model("{}: nested deeper than {} levels", source_, max_depth_);
    open_.emplace_back();
    return true;
  }
  bool close(Json container) {
    open_.pop_back();
    return add(std::move(container));
  }

  /// Sorted first: a map of 300,000 words (a tokenizer) is built in a third of the time of random insertions.
  Json make_object(std::vector<Member> members) const {
    const auto by_key = [](const Member& a, const Member& b) { return a.first < b.first; };
    if (!std::is_sorted(members.begin(), members.end(), by_key)) std::sort(members.begin(), members.end(), by_key);
    Json::object_t object;
    for (auto& [name, value] : members) {
      const size_t n_before = object.size();
      const auto member = object.try_emplace(object.end(), std::move(name), std::move(value));
      if (object.size() == n_before) fail_model("{}: duplicate key '{}'", source_, printable(member->first));
    }
    return object;
  }

  /// The library's sentence without its prefix and without the quoted input, which may be long and hostile.
  static std::string reason(std::string_view message) {
    if (const size_t dash = message.find(" - "); dash != message.npos) message.remove_prefix(dash + 3);
    return printable(message.substr(0, message.find("; last read")), 200);
  }

  size_t text_size_;
  std::string source_;
  size_t max_depth_;
  uint64_t max_values_;
  uint64_t n_values_ = 0;
  Json root_;
  std::vector<Open> open_;
};

}  // namespace

Json parse_json(std::string_view text, std::string_view source, int max_depth, uint64_t max_values) {
  // The library takes a NUL for the end of the text and skips a byte order mark.
  if (const size_t nul = text.find('\0'); nul != text.npos) fail_model("{}: byte {}: NUL", printable(source), nul);
  if (text.starts_with("\xef\xbb\xbf")) fail_model("{}: byte 0: byte order mark", printable(source));
  JsonBuilder builder(text, source, max_depth, max_values);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

std::optional<uint64_t> as_unsigned(const Json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<uint64_t>();
}

uint64_t require_unsigned(const Json& value, std::string_view what) {
  if (const auto number = as_unsigned(value)) return *number;
  fail_model("{}: not an unsigned integer (got {})", what, preview(value));
}

const Json* find_member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto member = object.find(key);
  return member == object.end() || member->is_null() ? nullptr : &*member;
}

std::string preview(const Json& value) {
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_object()) return "an object";
  if (value.is_string()) return fmt::format("\"{}\"", printable(value.get_ref<const std::string&>()));
  return printable(value.dump());
}

}  // namespace packhorse
