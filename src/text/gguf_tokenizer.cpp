// Tokenizers of GGUF files: "gpt2" is byte-level BPE with merges, "llama" SentencePiece BPE with scores.

#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/gguf_pre.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

namespace packhorse {
namespace {

constexpr const char* kPrefix = "tokenizer.ggml.";

/// Texts of control tokens that end a turn, for files that do not name one.
constexpr std::array<std::string_view, 10> kTurnEnds{
    "<|eot_id|>",      "<|im_end|>", "<|end|>", "<end_of_turn>",      "<|endoftext|>",
    "<|end_of_text|>", "<EOT>",      "[EOT]",   "<end_of_utterance>", "<｜end▁of▁sentence｜>"};

void require_length(size_t n, size_t n_tokens, std::string_view key, const std::string& source) {
  if (n != n_tokens) fail_model("{}: {}{} has {} entries for {} tokens", source, kPrefix, key, n, n_tokens);
}

void check_lengths(const GgufVocab& vocab, const std::string& source) {
  const size_t n = vocab.tokens.size();
  if (n == 0) fail_model("{}: {}tokens is missing or empty", source, kPrefix);
  if (n > INT32_MAX) fail_model("{}: {}tokens: {} entries", source, kPrefix, n);
  if (!vocab.token_types.empty()) require_length(vocab.token_types.size(), n, "token_type", source);
  if (!vocab.scores.empty()) require_length(vocab.scores.size(), n, "scores", source);
}

std::vector<int32_t> types_of(const GgufVocab& vocab) {
  if (!vocab.token_types.empty()) return vocab.token_types;
  return std::vector<int32_t>(vocab.tokens.size(), static_cast<int32_t>(TokenType::normal));
}

std::optional<int32_t> checked_special(std::optional<int64_t> id, const char* key, const GgufVocab& vocab,
                                       const std::string& source) {
  if (!id) return std::nullopt;
  if (*id < 0 || static_cast<uint64_t>(*id) >= vocab.tokens.size()) {
    fail_model("{}: {}{}: {} is out of range ({} tokens)", source, kPrefix, key, *id, vocab.tokens.size());
  }
  return static_cast<int32_t>(*id);
}

std::vector<AddedToken> build_llama(const GgufVocab& vocab, TokenizerParts& parts) {
  require_length(vocab.scores.size(), vocab.tokens.size(), "scores", parts.source);
  return build_scored(parts, {.tokens = vocab.tokens,
                              .scores = vocab.scores,
                              .types = types_of(vocab),
                              .unk = parts.unk.value_or(-1),
                              .add_space_prefix = vocab.add_space_prefix.value_or(true)});
}

MergeTable parse_merges(const GgufVocab& from, const Vocab& vocab, const std::string& where) {
  MergeTable table(from.merges.size());
  for (size_t i = 0; i < from.merges.size(); ++i) {
    const std::string_view merge = from.merges[i];
    const size_t space = merge.find(' ', 1);
    if (space == merge.npos) fail_model("{}[{}]: not two tokens (got '{}')", where, i, printable(merge));
    set_merge(table, vocab, merge.substr(0, space), merge.substr(space + 1), i, where);
  }
  return table;
}

std::vector<AddedToken> add_gpt2_tokens(const GgufVocab& from, Vocab& vocab, TokenizerParts& parts) {
  const std::string where = parts.source + ": " + kPrefix + "tokens";
  const std::vector<int32_t> types = types_of(from);
  std::vector<AddedToken> added;
  size_t n_bytes = 0;
  for (const std::string_view text : from.tokens) n_bytes += text.size();
  vocab.reserve(from.tokens.size(), n_bytes);
  for (size_t i = 0; i < from.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string_view text = from.tokens[i];
    const TokenType type = checked_type(types[i], id, where);
    if (type == TokenType::byte && parse_byte_token(text) < 0) {
      fail_model("{}: token {}: '{}' is no byte token (<0x00> to <0xFF>)", where, id, printable(text));
    }
    if (text.empty()) parts.warnings.push_back(fmt::format("{}: token {} is empty", where, id));
    add_token(vocab, id, text, where);
    const bool special = type == TokenType::control || type == TokenType::unknown;
    if (special || type == TokenType::user_defined) {
      added.push_back({.id = id, .content = std::string(text), .special = special});
    }
  }
  return added;
}

std::vector<AddedToken> build_gpt2(const GgufVocab& from, const GgufPre& pre, TokenizerParts& parts) {
  Vocab vocab;
  auto added = add_gpt2_tokens(from, vocab, parts);
  MergeTable merges = parse_merges(from, vocab, parts.source + ": " + kPrefix + "merges");
  parts.bpe =
      Bpe(std::move(vocab), std::move(merges), {.alphabet = Bpe::Alphabet::bytes, .ignore_merges = pre.ignore_merges});
  std::vector<PreTokenizer::Stage> stages;
  for (const std::string_view expression : pre.expressions) {
    stages.push_back(split_stage(make_regex(expression, parts.source), SplitBehavior::isolated));
  }
  parts.pre_tokenizer = PreTokenizer(std::move(stages));
  std::vector<Normalizer::Step> steps;
  if (pre.nfc) steps.push_back(nfc_step());
  if (from.add_space_prefix.value_or(false)) steps.push_back(prepend_step(" "));
  parts.normalizer = Normalizer(std::move(steps));
  parts.decoder = byte_level_decoder();
  parts.prints_added_as_written = true;
  return added;
}

void set_special_ids(const GgufVocab& vocab, TokenizerParts& parts) {
  const std::string& source = parts.source;
  parts.bos = checked_special(vocab.bos_id, "bos_token_id", vocab, source);
  parts.eos = checked_special(vocab.eos_id, "eos_token_id", vocab, source);
  parts.unk = checked_special(vocab.unk_id, "unknown_token_id", vocab, source);
  parts.pad = checked_special(vocab.pad_id, "padding_token_id", vocab, source);
  if (vocab.model != "llama") return;
  const auto otherwise = [&](std::optional<int32_t>& id, int32_t value) {
    if (!id && static_cast<size_t>(value) < vocab.tokens.size()) id = value;
  };
  otherwise(parts.unk, 0);
  otherwise(parts.bos, 1);
  otherwise(parts.eos, 2);
}

void set_eos_ids(const GgufVocab& vocab, TokenizerParts& parts) {
  const auto add = [&](std::optional<int32_t> id) {
    if (id && std::find(parts.eos_ids.begin(), parts.eos_ids.end(), *id) == parts.eos_ids.end()) {
      parts.eos_ids.push_back(*id);
    }
  };
  add(parts.eos);
  add(checked_special(vocab.eot_id, "eot_token_id", vocab, parts.source));
  add(checked_special(vocab.eom_id, "eom_token_id", vocab, parts.source));
  if (vocab.eot_id) return;
  for (const std::string_view text : kTurnEnds) {
    if (const AddedToken* token = parts.added.find(text); token && token->special) return add(token->id);
  }
}

}  // namespace

Tokenizer Tokenizer::from_gguf(const GgufVocab& vocab, std::string_view source) {
  auto parts = std::make_unique<TokenizerParts>();
  parts->source = printable(source);
  check_lengths(vocab, parts->source);
  set_special_ids(vocab, *parts);
  bool add_bos = true;
  std::vector<AddedToken> added;
  if (vocab.model == "llama") {
    added = build_llama(vocab, *parts);
  } else if (vocab.model == "gpt2") {
    const std::string_view name = vocab.pre.value_or("default");
    const GgufPre* pre = find_gguf_pre(name);
    if (!pre) fail_model("{}: {}pre: '{}' is not supported", parts->source, kPrefix, printable(name));
    if (!vocab.pre) parts->warnings.push_back(parts->source + ": no tokenizer.ggml.pre: splitting as old files do");
    add_bos = pre->add_bos;
    added = build_gpt2(vocab, *pre, *parts);
  } else {
    fail_model("{}: {}model: type '{}' is not supported (gpt2 and llama are)", parts->source, kPrefix,
               printable(vocab.model));
  }
  parts->added = AddedTokens(std::move(added), parts->normalizer);
  set_eos_ids(vocab, *parts);
  if (parts->bos && vocab.add_bos.value_or(add_bos)) parts->prefix = {*parts->bos};
  if (parts->eos && vocab.add_eos.value_or(false)) parts->suffix = {*parts->eos};
  return Tokenizer(std::move(parts));
}

}  // namespace packhorse
