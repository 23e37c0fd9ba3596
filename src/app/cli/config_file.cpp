#include "app/cli/config_file.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "app/cli/terminal.h"
#include "packhorse/packhorse.h"

namespace packhorse::cli {
namespace {

using Json = nlohmann::ordered_json;
constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr size_t kMaxDepth = 16;

[[noreturn]] void fail_config(const std::string& file, int line, const std::string& problem) {
  throw Error(ErrorKind::usage, fmt::format("{}: line {}: {}", file, line + 1, problem));
}

/// JSON's spelling of a number that YAML lets begin with a sign or a point, or end with a point.
std::string json_number(std::string text) {
  if (text.starts_with('+')) text.erase(0, 1);
  if (text.starts_with('.')) text.insert(0, 1, '0');
  if (text.ends_with('.')) text += '0';
  return text;
}

/// What a scalar without quotes means inside of JSON: words and decimal numbers as PyYAML, which vLLM's files are
/// written for, reads them; so is 1e-3 a number.
Json plain_value(const std::string& text) {
  const auto is_one_of = [&](std::initializer_list<std::string_view> words) {
    return std::find(words.begin(), words.end(), text) != words.end();
  };
  if (is_one_of({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) return true;
  if (is_one_of({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) return false;
  if (is_one_of({"~", "null", "Null", "NULL"})) return nullptr;
  Json value = Json::parse(json_number(text), nullptr, false);
  return value.is_number() ? value : Json(text);
}

/// Takes the parser's events; no tree is built of what is not wanted. Nothing is expanded, since aliases are refused.
class ConfigReader : public YAML::EventHandler {
 public:
  explicit ConfigReader(std::string file) : file_(std::move(file)) {}
  std::vector<ConfigEntry> entries;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { take(mark, anchor, "", Json()); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { fail(mark, "aliases are not taken"); }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    take(mark, anchor, value, tag == "?" ? plain_value(value) : Json(value));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, Json::array());
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, Json::object());
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  /// A list or mapping that is being read, and the key that waits for its value.
  struct Level {
    Json value;
    std::string key;
    bool has_key = false;
  };

  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& problem) const {
    fail_config(file_, mark.line, problem);
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor, Json empty) {
    check(mark, anchor);
    if (levels_.empty() && !empty.is_object()) fail(mark, "a list where flags and their values belong");
    if (levels_.size() >= kMaxDepth) fail(mark, fmt::format("nested too deeply (limit {})", kMaxDepth));
    if (!levels_.empty() && levels_.back().value.is_object() && !levels_.back().has_key)
      fail(mark, "a list or mapping where a name belongs");
    levels_.push_back({std::move(empty), "", false});
  }

  void close() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    if (levels_.empty()) return;
    if (levels_.size() > 1) return put(std::move(level.value));
    const auto is_text = [](const Json& each) { return each.is_string(); };
    if (level.value.is_object())
      finish_entry(ConfigEntry::Kind::mapping, {level.value.dump()});
    else if (std::all_of(level.value.begin(), level.value.end(), is_text))
      finish_entry(ConfigEntry::Kind::list, level.value.get<std::vector<std::string>>());
    else
      finish_entry(ConfigEntry::Kind::nested_list, {level.value.dump()});
  }

  /// `literal` is what the text means inside of JSON; flags take the text.
  void take(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& text, Json literal) {
    check(mark, anchor);
    if (levels_.empty()) fail(mark, "a text where flags and their values belong");
    Level& level = levels_.back();
    if (level.value.is_object() && !level.has_key) return take_key(mark, level, text);
    if (levels_.size() == 1) return finish_entry(ConfigEntry::Kind::text, {text});
    // Lists of a flag hold texts as they are written: a version number is no float.
    const bool is_flags_list = levels_.size() == 2 && level.value.is_array();
    put(is_flags_list ? Json(text) : std::move(literal));
  }

  void take_key(const YAML::Mark& mark, Level& level, const std::string& text) {
    level.key = text;
    level.has_key = true;
    if (levels_.size() > 1) {
      if (level.value.contains(text)) fail(mark, fmt::format("'{}' stands twice", printable(text)));
      return;
    }
    std::replace(level.key.begin(), level.key.end(), '_', '-');
    if (!seen_.insert(level.key).second) fail(mark, fmt::format("'{}' stands twice", printable(level.key)));
  }

  void put(Json value) {
    Level& level = levels_.back();
    if (level.value.is_array()) return level.value.push_back(std::move(value));
    level.value[level.key] = std::move(value);
    level.has_key = false;
  }

  void finish_entry(ConfigEntry::Kind kind, std::vector<std::string> values) {
    Level& level = levels_.back();
    entries.push_back({level.key, kind, std::move(values)});
    level.has_key = false;
  }

  void check(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) fail(mark, "anchors are not taken");
  }

  std::string file_;
  std::vector<Level> levels_;
  std::set<std::string> seen_;
};

}  // namespace

std::vector<ConfigEntry> parse_config(std::string_view text, const std::string& name) {
  if (text.size() > kMaxBytes) throw Error(ErrorKind::usage, fmt::format("{}: more than 1 MB", name));
  ConfigReader reader(name);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    parser.HandleNextDocument(reader);
    ConfigReader rest(name);
    if (parser.HandleNextDocument(rest)) throw Error(ErrorKind::usage, fmt::format("{}: more than one document", name));
  } catch (const YAML::Exception& e) {
    fail_config(name, std::max(e.mark.line, 0), printable(e.msg));
  }
  return std::move(reader.entries);
}

std::vector<ConfigEntry> read_config_file(const std::string& path) {
  std::error_code unknown;  // then reading tells
  if (const auto size = std::filesystem::file_size(path, unknown); !unknown && size > kMaxBytes)
    throw Error(ErrorKind::usage, fmt::format("{}: {} bytes, limit {}", printable(path), size, kMaxBytes));
  return parse_config(read_text_file(path), printable(path));
}

}  // namespace packhorse::cli
