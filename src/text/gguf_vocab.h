#pragma once
// The tokenizer as GGUF metadata tells it (keys tokenizer.ggml.*); a plain struct, so that this layer needs no GGUF
// parser.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace packhorse {

/// Token types of GGUF and of SentencePiece, which agree.
enum class TokenType : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

/// The views must live only while the tokenizer is built from them.
struct GgufVocab {
  std::string_view model;                // llama, gpt2
  std::optional<std::string_view> pre;   // gpt2: name of the split patterns
  std::vector<std::string_view> tokens;  // by id
  std::vector<float> scores;             // by id; llama only
  std::vector<int32_t> token_types;      // by id; empty: all normal
  std::vector<std::string_view> merges;  // "left right"; gpt2 only
  std::optional<int64_t> bos_id, eos_id, eot_id, eom_id, unk_id, pad_id;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
};

}  // namespace packhorse
