#include "text/tokenizer_parts.h"

#include <algorithm>

#include "text/json_fields.h"

namespace packhorse {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581

/// A token in tokenizer_config.json: its text, or an object with "content". Empty when there is none.
std::string named_token(const Json& config, std::string_view key) {
  const Json* member = find_member(config, key);
  if (!member) return {};
  if (member->is_string()) return member->get<std::string>();
  return string_or_empty(*member, "content", "tokenizer_config.json: " + std::string(key));
}

/// added_tokens_decoder: {"5": {"content", flags}}. Entries whose text disagrees with the vocabulary are left out.
void add_from_decoder(TokenizerParts& parts, std::vector<AddedToken>& added, const Json& config) {
  const Json* decoder = find_member(config, "added_tokens_decoder");
  if (!decoder || !decoder->is_object()) return;
  for (const auto& [key, json] : decoder->items()) {
    const std::string where = "tokenizer_config.json: added_tokens_decoder." + printable(key);
    const std::string& content = require_string(json, "content", where);
    const int32_t id = parts.find(content);
    if (id < 0 || std::to_string(id) != key) {
      parts.warnings.push_back(fmt::format("{}: '{}' is no such token of the vocabulary", where, printable(content)));
      continue;
    }
    added.push_back(read_added_token(json, id, content, where));
  }
}

}  // namespace

std::string_view TokenizerParts::token_text(int32_t id) const {
  const AddedToken* token = added.find(id);
  return token ? std::string_view(token->content) : bpe.vocab().text(id);
}

int32_t TokenizerParts::find(std::string_view text) const {
  const AddedToken* token = added.find(text);
  return token ? token->id : bpe.vocab().find(text);
}

int32_t TokenizerParts::vocab_size() const {
  int32_t size = bpe.vocab().size();
  for (const AddedToken& token : added.all()) size = std::max(size, token.id + 1);
  return size;
}

void add_token(Vocab& vocab, int32_t id, std::string_view text, const std::string& where) {
  if (text.size() > kMaxTokenBytes) {
    fail_model("{}: token {}: {} bytes (limit {})", where, id, text.size(), kMaxTokenBytes);
  }
  switch (vocab.add(id, text)) {
    case Vocab::Conflict::none:
      return;
    case Vocab::Conflict::same_text:
      fail_model("{}: tokens {} and {} are both '{}'", where, vocab.find(text), id, printable(text));
    case Vocab::Conflict::same_id:
      fail_model("{}: '{}' and '{}' both have id {}", where, printable(vocab.text(id)), printable(text), id);
  }
}

void set_merge(MergeTable& table, const Vocab& vocab, std::string_view left, std::string_view right, size_t rank,
               const std::string& where) {
  std::string joined;
  joined.reserve(left.size() + right.size());
  joined.append(left).append(right);
  const int32_t left_id = vocab.find(left), right_id = vocab.find(right), id = vocab.find(joined);
  if (left_id < 0 || right_id < 0 || id < 0) {
    const std::string_view unknown = left_id < 0 ? left : right_id < 0 ? right : joined;
    fail_model("{}: '{}' is not in the vocabulary", element(where, rank), printable(unknown));
  }
  table.set(left_id, right_id, {.rank = static_cast<uint32_t>(rank), .id = id});
}

std::vector<AddedToken> apply_tokenizer_config(TokenizerParts& parts, std::vector<AddedToken> added,
                                               const Json& config) {
  parts.added = AddedTokens(added, parts.normalizer);
  add_from_decoder(parts, added, config);
  const auto by_name = [&](std::string_view key) -> std::optional<int32_t> {
    const std::string content = named_token(config, key);
    if (content.empty()) return std::nullopt;
    const int32_t id = parts.find(content);
    if (id < 0) {
      parts.warnings.push_back(
          fmt::format("tokenizer_config.json: {}: '{}' is no token of the vocabulary", key, printable(content)));
      return std::nullopt;
    }
    const bool known = std::any_of(added.begin(), added.end(), [&](const AddedToken& t) { return t.id == id; });
    if (!known) added.push_back({.id = id, .content = content, .special = true});
    return id;
  };
  const auto set = [&](std::optional<int32_t>& id, std::string_view key) {
    if (const auto named = by_name(key)) id = named;
  };
  set(parts.bos, "bos_token");
  set(parts.eos, "eos_token");
  set(parts.unk, "unk_token");
  set(parts.pad, "pad_token");
  if (parts.eos) parts.eos_ids = {*parts.eos};
  return added;
}

TokenType checked_type(int32_t type, int32_t id, const std::string& where) {
  if (type == 0) return TokenType::normal;
  if (type < 0 || type > static_cast<int32_t>(TokenType::byte)) {
    fail_model("{}: token {}: type {} is unknown", where, id, type);
  }
  return static_cast<TokenType>(type);
}

bool no_token_spans_words(const Vocab& vocab) {
  if (vocab.find(kSpaceMark) < 0) return false;
  for (int32_t id = 0; id < vocab.size(); ++id) {
    std::string_view text = vocab.text(id);
    while (text.starts_with(kSpaceMark)) text.remove_prefix(kSpaceMark.size());
    if (text.find(kSpaceMark) != text.npos) return false;
  }
  return true;
}

PreTokenizer::Stage space_mark_words_stage() {
  return [](std::string_view piece, bool, MatchScratch&, const EmitPiece& emit) {
    for (size_t begin = 0; begin < piece.size();) {
      size_t end = begin;
      while (piece.substr(end).starts_with(kSpaceMark)) end += kSpaceMark.size();
      end = std::min(piece.find(kSpaceMark, end), piece.size());
      emit(piece.substr(begin, end - begin));
      begin = end;
    }
  };
}

}  // namespace packhorse
