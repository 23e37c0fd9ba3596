#include "app/server/parsers/tagged_calls.h"

#include <algorithm>
#include <unordered_map>

#include "app/server/parsers/json_scanner.h"

namespace packhorse::server {

namespace {

constexpr size_t kMaxName = 256;  // bytes

/// Without the line break that sets a value off from its tags, on each side.
std::string_view unwrapped(std::string_view text) {
  if (text.starts_with('\n')) text.remove_prefix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

/// Where a marker comes next; each part of the text is searched once, as long as questions go forward.
class Occurrences {
 public:
  Occurrences(std::string_view text, std::string_view marker) : text_(text), marker_(marker) {}
  size_t after(size_t from) {
    if (next_ < from || !searched_) next_ = std::min(text_.find(marker_, from), text_.size());
    searched_ = true;
    return next_;
  }

 private:
  std::string_view text_, marker_;
  size_t next_ = 0;
  bool searched_ = false;
};

/// The members of one JSON object, in order; of a key that comes again the last value counts.
class ObjectText {
 public:
  void set(std::string_view key, std::string value) {
    const auto [found, is_new] = index_.emplace(std::string(key), members_.size());
    if (is_new) members_.emplace_back();
    members_[found->second] = quoted_json(key) + ": " + std::move(value);
  }
  std::string text() const {
    std::string text = "{";
    for (const auto& member : members_) text += (text.size() > 1 ? ", " : "") + member;
    return text + "}";
  }

 private:
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::string> members_;
};

}  // namespace

const TagNotation kQwenTags{"<function=", ">", {"</function>", "</tool_call>"}, "<parameter=", ">", "", "</parameter>"};
const TagNotation kSeedTags{"<function=", ">",           {"</function>", "</seed:tool_call>"}, "<parameter=", ">",
                            "",           "</parameter>"};
const TagNotation kMinimaxTags{
    "<invoke name=\"", "\">", {"</invoke>", "</minimax:tool_call>"}, "<parameter name=\"", "\">", "", "</parameter>"};
const TagNotation kGlmTags{"",           "<arg_key>",   {"</tool_call>"}, "<arg_key>",
                           "</arg_key>", "<arg_value>", "</arg_value>",   true};

TaggedCallReader::TaggedCallReader(const TagNotation& notation, const ToolSchemas& schemas, bool is_named)
    : notation_(notation), schemas_(schemas), ends_(notation.ends), opened_(is_named || notation.name_open.empty()) {}

CallReader::State TaggedCallReader::feed(char c, CallSink& sink) {
  if (!opened_) return in_opening(c);
  if (ends_.feed(c, body_) >= 0) return read_call(sink) ? State::done : State::broken;
  if (named_ || body_.size() <= kMaxName) return State::more;
  named_ = body_.find_first_of("<>\n") <= kMaxName;
  return named_ ? State::more : State::broken;
}

CallReader::State TaggedCallReader::in_opening(char c) {
  if (opening_.empty() && is_blank(c)) return State::more;
  opening_.push_back(c);
  if (!notation_.name_open.starts_with(opening_)) return State::broken;
  opened_ = opening_ == notation_.name_open;
  return State::more;
}

bool TaggedCallReader::read_call(CallSink& sink) const {
  const std::string_view body = body_;
  const size_t name_end = std::min(body.find(notation_.name_close), body.size());
  const std::string_view name = trimmed(body.substr(0, name_end));
  if (name.empty() || name.find_first_of("<>\n\"") != name.npos) return false;
  ObjectText arguments;
  Occurrences keys(body, notation_.key_open), key_ends(body, notation_.key_close);
  Occurrences values(body, notation_.value_open), value_ends(body, notation_.value_close);
  // Where the name ends with a key's beginning, as in GLM's notation, that is a key too.
  const bool at_key = notation_.name_close == notation_.key_open;
  for (size_t at = keys.after(at_key ? name_end : name_end + 1); at < body.size();) {
    const size_t key_begin = at + notation_.key_open.size();
    const size_t key_end = key_ends.after(key_begin);
    const size_t value_begin = std::min(values.after(key_end) + notation_.value_open.size(), body.size());
    const size_t begin =
        notation_.value_open.empty() ? std::min(key_end + notation_.key_close.size(), body.size()) : value_begin;
    // A value that is not closed ends where the next key begins.
    at = keys.after(begin);
    const std::string_view value = body.substr(begin, std::min(value_ends.after(begin), at) - begin);
    const std::string_view key = trimmed(body.substr(key_begin, key_end - key_begin));
    arguments.set(key, schemas_.typed(name, key, notation_.trim_values ? trimmed(value) : unwrapped(value)));
  }
  sink.call(name, arguments.text());
  return true;
}

namespace {

const nlohmann::json* member(const nlohmann::json* object, std::string_view key) {
  if (!object || !object->is_object()) return nullptr;
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &*found;
}

/// Types that a schema names itself, or in its alternatives, as Optional[str] of Python comes out. None where one of
/// these leaves it open.
std::vector<std::string> types_of(const nlohmann::json* schema) {
  std::vector<std::string> types;
  if (const auto* type = member(schema, "type")) {
    for (const auto& one : *type) {  // a text alone is a list of one here
      if (one.is_string()) types.push_back(one.get<std::string>());
    }
    return types;
  }
  for (const char* name : {"anyOf", "oneOf"}) {
    const auto* alternatives = member(schema, name);
    if (!alternatives || !alternatives->is_array()) continue;
    for (const auto& alternative : *alternatives) {
      const auto more = types_of(&alternative);
      if (more.empty()) return {};
      types.insert(types.end(), more.begin(), more.end());
    }
  }
  return types;
}

std::string type_of(const std::string& json) {
  switch (json.front()) {
    case '{':
      return "object";
    case '[':
      return "array";
    case '"':
      return "string";
    case 't':
    case 'f':
      return "boolean";
    case 'n':
      return "null";
    default:
      return json.find_first_of(".eE") == json.npos ? "integer" : "number";
  }
}

}  // namespace

ToolSchemas::ToolSchemas(std::string_view tools) : tools_(nlohmann::json::parse(tools, nullptr, false)) {}

std::vector<std::string> ToolSchemas::types(std::string_view function, std::string_view parameter) const {
  if (!tools_.is_array()) return {};
  for (const auto& tool : tools_) {
    const auto* about = member(&tool, "function");
    if (!about) about = &tool;
    const auto* name = member(about, "name");
    if (!name || *name != function) continue;
    return types_of(member(member(member(about, "parameters"), "properties"), parameter));
  }
  return {};
}

std::string ToolSchemas::typed(std::string_view function, std::string_view parameter, std::string_view value) const {
  const auto allowed = types(function, parameter);
  const auto allows = [&](std::string_view type) {
    return std::find(allowed.begin(), allowed.end(), type) != allowed.end();
  };
  std::string_view plain = trimmed(value);
  if (plain == "True") plain = "true";
  if (plain == "False") plain = "false";
  if (plain == "None") plain = "null";
  const auto json = json_value(plain);
  if (!json) return quoted_json(value);
  const std::string type = type_of(*json);
  if (allowed.empty()) return *json;
  if (type != "string" && (allows(type) || (type == "integer" && allows("number")))) return *json;
  return quoted_json(value);
}

}  // namespace packhorse::server
