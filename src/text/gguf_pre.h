#pragma once
// The split patterns behind the names that GGUF files give them (tokenizer.ggml.pre).

#include <string_view>
#include <vector>

namespace packhorse {

struct GgufPre {
  std::vector<std::string_view> names;
  std::vector<std::string_view> expressions;  // each splits what the ones before left; matches and gaps are pieces
  bool ignore_merges = false;                 // the rest: as the models' tokenizer.json has it
  bool add_bos = false;
  bool nfc = false;
};

/// Null for an unknown name.
const GgufPre* find_gguf_pre(std::string_view name);

}  // namespace packhorse
