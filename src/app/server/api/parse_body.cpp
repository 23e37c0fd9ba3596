// A request body as JSON, with what the library's own builder lets through refused: it keeps the last of equal keys,
// nests without limit, takes quadratic time for objects of many members, and makes 100 bytes of three ("{},").

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "app/server/api/errors.h"
#include "app/server/api/fields.h"
#include "app/server/http/text.h"

namespace packhorse::server {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxMembers =
    size_t{1} << 19;  // of one object; a bias for each token of the largest vocabularies fits
// What the values of a body may take beside the characters of their texts: 4 million token ids.
constexpr size_t kMaxMemory = size_t{64} << 20;
constexpr size_t kBlock = 48;  // about what the allocator gives for an object, a list, a text or its first elements

/// Reads text and tells how far it got, which the parser's events do not.
class TrackedIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  TrackedIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  bool operator==(const TrackedIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackedIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

class BodyBuilder {
 public:
  explicit BodyBuilder(std::string_view text) : text_(text), furthest_(text.data()) {}

  Json parse() {
    const char* const end = text_.data() + text_.size();
    Json::sax_parse(TrackedIterator(text_.data(), &furthest_), TrackedIterator(end, &furthest_), this);
    return std::move(root_);
  }

  // Events of the parser.
  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(Json::number_integer_t value) { return add(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return add(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return add(value); }
  bool string(std::string& value) {
    take(kBlock);
    return add(std::move(value));
  }
  bool binary(Json::binary_t&) { return false; }  // no such thing in text
  bool start_object(size_t) { return open(); }
  bool end_object() { return close(make_object(std::move(open_.back().members))); }
  bool start_array(size_t) { return open(); }
  bool end_array() { return close(std::move(open_.back().elements)); }
  bool key(std::string& name) {
    std::vector<Member>& members = open_.back().members;
    if (members.size() == kMaxMembers) fail(fmt::format("more than {} members in one object", kMaxMembers));
    take(sizeof(Member));
    members.emplace_back(std::move(name), nullptr);
    awaits_value_ = true;
    return true;
  }
  bool parse_error(size_t, const std::string& token, const Json::exception& error) {
    constexpr int kNumberOverflow = 406;
    if (error.id == kNumberOverflow) fail(fmt::format("number '{}' is too large", printable(token)));
    fail(reason(error.what()));
  }

 private:
  using Member = std::pair<std::string, Json>;
  /// A container whose end was not seen yet: only one of the two is used.
  struct Open {
    std::vector<Member> members;
    Json::array_t elements;
  };

  bool add(Json value) {
    awaits_value_ = false;
    take(sizeof(Json));
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
    if (open_.size() >= kMaxDepth) fail(fmt::format("nested deeper than {} levels", kMaxDepth));
    take(2 * kBlock);
    open_.emplace_back();
    return true;
  }
  void take(size_t n_bytes) {
    n_bytes_ += n_bytes;
    if (n_bytes_ <= kMaxMemory) return;
    fail(fmt::format("too many values (they take more than {} MB of memory)", kMaxMemory >> 20));
  }
  bool close(Json container) {
    open_.pop_back();
    return add(std::move(container));
  }

  Json make_object(std::vector<Member>&& members) const {
    std::vector<std::string_view> names;
    names.reserve(members.size());
    for (const Member& member : members) names.emplace_back(member.first);
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) fail(fmt::format("duplicate key '{}'", printable(*twice)), std::string(*twice));
    Json object = Json::object();
    auto& out = object.get_ref<Json::object_t&>();
    out.reserve(members.size());
    for (auto& [name, value] : members) out.emplace_back(std::move(name), std::move(value));
    return object;
  }

  [[noreturn]] void fail(const std::string& message, std::optional<std::string> field = {}) const {
    const size_t n_read = static_cast<size_t>(furthest_ - text_.data());
    if (!field || open_.size() > 1) field = outer_field();
    throw HttpError(400, fmt::format("body: byte {}: {}", n_read > 0 ? n_read - 1 : 0, message), field);
  }
  /// The body's member that is being read.
  std::optional<std::string> outer_field() const {
    const bool is_inside = open_.size() > 1 || awaits_value_;
    if (open_.empty() || open_[0].members.empty() || !is_inside) return std::nullopt;
    return printable(open_[0].members.back().first);
  }

  /// The library's sentence without its prefix and without the quoted input, which may be long and hostile.
  static std::string reason(std::string_view message) {
    if (const size_t dash = message.find(" - "); dash != message.npos) message.remove_prefix(dash + 3);
    std::string sentence(message.substr(0, message.find("; last read")));
    std::erase(sentence, '\'');  // printable would escape them
    return printable(sentence, 200);
  }

  std::string_view text_;
  const char* furthest_;
  std::vector<Open> open_;
  size_t n_bytes_ = 0;         // of memory that the values take
  bool awaits_value_ = false;  // a key was read and nothing of its value
  Json root_;
};

/// "application/json", with or without parameters. Bodies without a type are taken as JSON, as curl users expect.
bool is_json_type(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return type.empty() || equal_ignoring_case(type, kJsonType);
}

}  // namespace

Json parse_body(const HttpRequest& request) {
  if (!is_json_type(request.header("content-type"))) {
    throw HttpError(415, "Content-Type must be application/json");
  }
  return parse_object(request.body);
}

Json parse_object(std::string_view text) {
  // The library takes a NUL for the end of the text and skips a byte order mark.
  if (const size_t nul = text.find('\0'); nul != text.npos) {
    throw HttpError(400, fmt::format("body: byte {}: NUL", nul));
  }
  if (text.starts_with("\xef\xbb\xbf")) throw HttpError(400, "body: byte 0: byte order mark");
  Json body = BodyBuilder(text).parse();
  if (!body.is_object()) throw HttpError(400, "body: byte 0: must be a JSON object");
  return body;
}

}  // namespace packhorse::server
