#pragma once
// Reading fields of a request body: every wrong value is a 400 whose `param` names the field.

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/server/context.h"
#include "app/server/http/http.h"
#include "packhorse/packhorse.h"

namespace packhorse::server {

using Json = nlohmann::ordered_json;

/// The body as a JSON object. 415 for another content type, 400 with the position for what is no JSON (duplicate keys,
/// NaN, depth above 64 and invalid UTF-8 included).
Json parse_body(const HttpRequest& request);
/// The same of a text.
Json parse_object(std::string_view text);

/// Of an object that is read by names: each look-up passes all of them.
inline constexpr size_t kMaxFields = 1024;

/// Members of one object; null counts as absent. Booleans are no numbers, numbers no texts. `where` goes before names
/// in `param`, as "messages[0].".
class Fields {
 public:
  explicit Fields(const Json& object, std::string where = "");

  const Json* find(std::string_view name) const;  // null without
  std::optional<bool> flag(std::string_view name) const;
  std::optional<int64_t> whole_number(std::string_view name) const;  // 64-bit; 2.0 is one, 2.5 and "2" are not
  std::optional<int64_t> whole_number(std::string_view name, int64_t lowest, int64_t highest) const;
  std::optional<double> number(std::string_view name) const;  // finite
  std::optional<std::string> text(std::string_view name) const;
  std::optional<std::vector<std::string>> texts(std::string_view name) const;  // a text alone is a list of one
  std::optional<std::vector<int64_t>> whole_numbers(std::string_view name) const;
  std::vector<int64_t> whole_numbers_of(const Json& list,
                                        std::string_view name) const;  // `list` is inside of the field
  const Json* object(std::string_view name) const;
  const Json* array(std::string_view name) const;

  /// Reads one element of a list: its members, the object itself, and its path, as "tools[0]".
  using ReadElement = std::function<void(const Fields& element, const Json& object, const std::string& path)>;
  /// Calls it for each element of a list, in order; one that is no object is a 400. Nothing where the list is absent.
  void for_each_object(std::string_view name, const ReadElement& read) const;

  /// Throws HttpError{400} about a field of this object: "NAME: MESSAGE".
  [[noreturn]] void fail(std::string_view name, const std::string& message) const;
  std::string path(std::string_view name) const;
  const Json& raw() const { return object_; }

 private:
  const Json& object_;
  std::string where_;
};

/// Throws HttpError{404} for a name that is not served.
void require_model(const ServerContext& context, const std::string& name);
/// The name of the model for the answer, after a look at what the request asks for. Throws HttpError{404}.
std::string requested_model(const ServerContext& context, const Fields& body);

/// Id of the answer: `prefix` and the body's request_id, else the HTTP request's id. Throws HttpError{400}.
std::string answer_id(std::string_view prefix, const HttpRequest& request, const Fields& body);

/// SamplingParams over the model's defaults: temperature, top_p, top_k, min_p, penalties, seed, stop, stop_token_ids,
/// min_tokens, ignore_eos, logit_bias, allowed_token_ids, bad_words, n, skip_special_tokens, ..., response_format and
/// structured_outputs. max_tokens and logprobs are the caller's: they differ between completions and chats. Throws
/// HttpError{400}.
SamplingParams read_sampling(const ServerContext& context, const Fields& body);

/// Prompt::priority and cache_salt of the body.
void read_prompt_options(const Fields& body, Prompt& prompt);

}  // namespace packhorse::server
