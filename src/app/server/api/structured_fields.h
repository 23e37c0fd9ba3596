#pragma once
// Constraints of the output, in the notations of OpenAI and of vLLM's old and new versions.

#include <optional>
#include <string_view>

#include "app/server/api/fields.h"

namespace packhorse::server {

/// OpenAI's {"type": "text" | "json_object" | "json_schema" | "structural_tag", ...}; nothing for "text". Throws
/// HttpError{400}.
std::optional<StructuredOutputs> read_response_format(const Fields& format);
/// The same where the members of json_schema are beside the type, as in responses and messages. `place` is the body's
/// field that holds it; another constraint of the body was read into `out` already.
void read_flat_format(const Fields& body, std::string_view place, const Fields& format,
                      std::optional<StructuredOutputs>& out);

/// response_format, structured_outputs or guided_* of a body: at most one of them. Throws HttpError{400}.
std::optional<StructuredOutputs> read_structured_outputs(const Fields& body);

}  // namespace packhorse::server
