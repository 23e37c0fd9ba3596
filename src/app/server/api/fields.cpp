#include "app/server/api/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/server/api/errors.h"

namespace packhorse::server {
namespace {

/// What a value is, for messages that say what it should have been.
std::string shown(const Json& value) {
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_object()) return "an object";
  if (value.is_string()) return fmt::format("'{}'", printable(value.get_ref<const std::string&>(), 40));
  return value.dump();
}

/// The whole number that a JSON number is, when 64 bits hold it.
std::optional<int64_t> as_whole_number(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (number > INT64_MAX) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  constexpr double kExact = 0x1p53;
  const double number = value.get<double>();
  if (std::trunc(number) != number || std::abs(number) > kExact) return std::nullopt;
  return static_cast<int64_t>(number);
}

}  // namespace

Fields::Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (object.size() > kMaxFields) {
    const std::string_view place = where_.empty() ? "body" : std::string_view(where_);
    throw HttpError(400, fmt::format("{}: more than {} fields (got {})", place, kMaxFields, object.size()));
  }
}

std::string Fields::path(std::string_view name) const { return where_ + std::string(name); }

void Fields::fail(std::string_view name, const std::string& message) const {
  throw HttpError(400, fmt::format("{}: {}", path(name), message), path(name));
}

const Json* Fields::find(std::string_view name) const {
  const auto member = object_.find(name);
  return member == object_.end() || member->is_null() ? nullptr : &*member;
}

std::optional<bool> Fields::flag(std::string_view name) const {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) fail(name, fmt::format("must be true or false (got {})", shown(*value)));
  return value->get<bool>();
}

std::optional<int64_t> Fields::whole_number(std::string_view name) const {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  const auto number = as_whole_number(*value);
  if (!number) fail(name, fmt::format("must be a whole number of 64 bits (got {})", shown(*value)));
  return number;
}

std::optional<int64_t> Fields::whole_number(std::string_view name, int64_t lowest, int64_t highest) const {
  const auto number = whole_number(name);
  if (number && (*number < lowest || *number > highest)) {
    fail(name, fmt::format("must be in [{}, {}] (got {})", lowest, highest, *number));
  }
  return number;
}

std::optional<double> Fields::number(std::string_view name) const {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_number()) fail(name, fmt::format("must be a number (got {})", shown(*value)));
  return value->get<double>();
}

std::optional<std::string> Fields::text(std::string_view name) const {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (!value->is_string()) fail(name, fmt::format("must be a text (got {})", shown(*value)));
  return value->get<std::string>();
}

std::optional<std::vector<std::string>> Fields::texts(std::string_view name) const {
  const Json* value = find(name);
  if (!value) return std::nullopt;
  if (value->is_string()) return std::vector{value->get<std::string>()};
  if (!value->is_array()) fail(name, fmt::format("must be a text or a list of texts (got {})", shown(*value)));
  std::vector<std::string> out;
  for (const Json& entry : *value) {
    if (!entry.is_string()) fail(name, fmt::format("must hold texts (got {} at {})", shown(entry), out.size()));
    out.push_back(entry.get<std::string>());
  }
  return out;
}

std::optional<std::vector<int64_t>> Fields::whole_numbers(std::string_view name) const {
  const Json* value = array(name);
  if (!value) return std::nullopt;
  return whole_numbers_of(*value, name);
}

std::vector<int64_t> Fields::whole_numbers_of(const Json& list, std::string_view name) const {
  std::vector<int64_t> out;
  out.reserve(list.size());
  for (const Json& entry : list) {
    const auto number = as_whole_number(entry);
    if (!number) fail(name, fmt::format("must hold whole numbers (got {} at {})", shown(entry), out.size()));
    out.push_back(*number);
  }
  return out;
}

const Json* Fields::object(std::string_view name) const {
  const Json* value = find(name);
  if (value && !value->is_object()) fail(name, fmt::format("must be an object (got {})", shown(*value)));
  return value;
}

const Json* Fields::array(std::string_view name) const {
  const Json* value = find(name);
  if (value && !value->is_array()) fail(name, fmt::format("must be a list (got {})", shown(*value)));
  return value;
}

void Fields::for_each_object(std::string_view name, const ReadElement& read) const {
  const Json* list = array(name);
  if (!list) return;
  size_t i = 0;
  for (const Json& element : *list) {
    const std::string where = fmt::format("{}[{}]", path(name), i++);
    if (!element.is_object()) throw HttpError(400, where + ": must be an object", where);
    read(Fields(element, where + "."), element, where);
  }
}

void require_model(const ServerContext& context, const std::string& name) {
  const std::vector<std::string>& served = context.options.served_model_names;
  if (std::ranges::find(served, name) == served.end()) {
    throw HttpError(404, fmt::format("The model '{}' does not exist.", printable(name)), "model");
  }
}

std::string requested_model(const ServerContext& context, const Fields& body) {
  const std::string name = body.text("model").value_or("");  // an empty one is none, as for vLLM
  if (!name.empty()) require_model(context, name);
  return context.options.served_model_names.front();
}

std::string answer_id(std::string_view prefix, const HttpRequest& request, const Fields& body) {
  constexpr size_t kLongest = 128;  // it is repeated in each event
  const auto own = body.text("request_id");
  if (own && (own->empty() || own->size() > kLongest)) {
    body.fail("request_id", fmt::format("must have 1 to {} bytes (got {})", kLongest, own->size()));
  }
  return std::string(prefix) + own.value_or(request.id);
}

void read_prompt_options(const Fields& body, Prompt& prompt) {
  prompt.priority = body.whole_number("priority").value_or(0);
  if (auto salt = body.text("cache_salt")) {
    if (salt->empty()) body.fail("cache_salt", "must not be empty");
    prompt.cache_salt = std::move(*salt);
  }
}

}  // namespace packhorse::server
