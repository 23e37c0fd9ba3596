#include "app/server/api/structured_fields.h"

#include <fmt/format.h>

#include "app/server/api/errors.h"

namespace packhorse::server {
namespace {

/// A schema or a tag: a JSON value, or a text that holds one.
std::optional<std::string> json_text(const Fields& fields, std::string_view name) {
  const Json* value = fields.find(name);
  if (!value) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_object() && !value->is_boolean()) fields.fail(name, "must be a JSON object, or a text that holds one");
  return value->dump();
}

/// Constraints may be spread over several fields of the body; this counts them.
class Collector {
 public:
  explicit Collector(const Fields& body) : body_(body) {}

  /// `place` is the field of the body that the constraint was found in.
  StructuredOutputs& add(std::string_view place) {
    if (out_) body_.fail(place, fmt::format("only one constraint is possible, and {} is given too", place_));
    place_ = body_.path(place);
    return out_.emplace();
  }
  std::optional<StructuredOutputs> take() { return std::move(out_); }

 private:
  const Fields& body_;
  std::string place_;
  std::optional<StructuredOutputs> out_;
};

std::vector<std::string> choices(const Fields& fields, std::string_view name) {
  const Json* list = fields.array(name);
  if (list && list->empty()) fields.fail(name, "must not be empty");
  return *fields.texts(name);
}

/// The six constraints under the names of structured_outputs, or with a prefix those of the old fields.
void read_constraints(const Fields& fields, const std::string& prefix, Collector& out) {
  if (auto schema = json_text(fields, prefix + "json")) out.add(prefix + "json").json = std::move(schema);
  if (auto regex = fields.text(prefix + "regex")) out.add(prefix + "regex").regex = std::move(regex);
  if (fields.find(prefix + "choice")) out.add(prefix + "choice").choice = choices(fields, prefix + "choice");
  if (auto grammar = fields.text(prefix + "grammar")) out.add(prefix + "grammar").grammar = std::move(grammar);
  if (fields.flag(prefix + "json_object").value_or(false)) out.add(prefix + "json_object").json_object = true;
  if (auto tag = json_text(fields, prefix + "structural_tag")) {
    out.add(prefix + "structural_tag").structural_tag = std::move(tag);
  }
}

void refuse_whitespace_pattern(const Fields& fields, std::string_view name) {
  if (fields.find(name)) fields.fail(name, "is not supported; disable_any_whitespace is");
}

std::optional<StructuredOutputs> read_vllm_object(const Fields& fields) {
  Collector collector(fields);
  read_constraints(fields, "", collector);
  refuse_whitespace_pattern(fields, "whitespace_pattern");
  auto out = collector.take();
  if (!out)
    fields.fail("json", "structured_outputs needs one of json, regex, choice, grammar, json_object, structural_tag");
  out->disable_any_whitespace = fields.flag("disable_any_whitespace").value_or(false);
  out->disable_additional_properties = fields.flag("disable_additional_properties").value_or(false);
  return out;
}

}  // namespace

std::optional<StructuredOutputs> read_response_format(const Fields& format) {
  const auto type = format.text("type");
  if (!type) format.fail("type", "is missing");
  if (*type == "text") return std::nullopt;
  StructuredOutputs out;
  if (*type == "json_object") {
    out.json_object = true;
  } else if (*type == "json_schema") {
    const Json* description = format.object("json_schema");
    if (!description) format.fail("json_schema", "is missing");
    const Fields inner(*description, format.path("json_schema."));
    out.json = json_text(inner, inner.find("json_schema") ? "json_schema" : "schema");
    if (!out.json) inner.fail("schema", "is missing");
  } else if (*type == "structural_tag") {
    out.structural_tag = format.raw().dump();
  } else {
    format.fail("type",
                fmt::format("must be text, json_object, json_schema or structural_tag (got '{}')", printable(*type)));
  }
  return out;
}

void read_flat_format(const Fields& body, std::string_view place, const Fields& format,
                      std::optional<StructuredOutputs>& out) {
  const Json nested{{"type", "json_schema"}, {"json_schema", format.raw()}};
  const bool is_schema = format.text("type").value_or("") == "json_schema";
  auto found = read_response_format(is_schema ? Fields(nested, format.path("")) : format);
  if (!found) return;
  if (out) body.fail(place, "only one constraint is possible, and the body has another one too");
  out = std::move(found);
}

std::optional<StructuredOutputs> read_structured_outputs(const Fields& body) {
  Collector collector(body);
  if (const Json* format = body.object("response_format")) {
    if (auto found = read_response_format(Fields(*format, body.path("response_format.")))) {
      collector.add("response_format") = std::move(*found);
    }
  }
  if (const Json* object = body.object("structured_outputs")) {
    collector.add("structured_outputs") = *read_vllm_object(Fields(*object, body.path("structured_outputs.")));
  }
  read_constraints(body, "guided_", collector);
  refuse_whitespace_pattern(body, "guided_whitespace_pattern");
  return collector.take();
}

}  // namespace packhorse::server
