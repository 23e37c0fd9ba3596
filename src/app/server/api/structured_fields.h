#pragma once
// Constraints of the output, in the notations of OpenAI and of vLLM's old and new versions.

#include <optional>

#include "app/server/api/fields.h"

namespace packhorse::server {

/// OpenAI's {"type": "text" | "json_object" | "json_schema" | "structural_tag", ...}; nothing for "text". Throws
/// HttpError{400}.
std::optional<StructuredOutputs> read_response_format(const Fields& format);

/// response_format, structured_outputs or guided_* of a body: at most one of them. Throws HttpError{400}.
std::optional<StructuredOutputs> read_structured_outputs(const Fields& body);

}  // namespace packhorse::server
