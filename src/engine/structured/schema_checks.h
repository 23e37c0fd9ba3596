#pragma once
// JSON schemas whose meaning would be lost on the way to a grammar are refused: an output that only seems to be held to
// a schema is worse than none.

#include "base/json.h"

namespace packhorse {

/// Throws Error{request} naming a keyword that xgrammar passes over, or a $ref that leads out of the schema. `schema`
/// is not deeper than what one may recurse into.
void check_schema(const Json& schema);

}  // namespace packhorse
