#include "text/added_tokens.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/json_fields.h"
#include "text/unicode.h"

namespace packhorse {

AddedToken read_added_token(const Json& entry, int32_t id, std::string content, const std::string& where) {
  return {.id = id,
          .content = std::move(content),
          .single_word = bool_or(entry, "single_word", false, where),
          .lstrip = bool_or(entry, "lstrip", false, where),
          .rstrip = bool_or(entry, "rstrip", false, where),
          .normalized = bool_or(entry, "normalized", false, where),
          .special = bool_or(entry, "special", false, where)};
}

namespace {

bool touches_word(std::string_view before, std::string_view after) {
  return (!before.empty() && is_word_char(last_char(before).code_point)) ||
         (!after.empty() && is_word_char(decode_utf8(after).code_point));
}

}  // namespace

LiteralSet::LiteralSet(std::vector<std::pair<std::string, size_t>> literals) : literals_(std::move(literals)) {
  std::erase_if(literals_, [](const auto& l) { return l.first.empty(); });
  std::stable_sort(literals_.begin(), literals_.end(), [](auto& a, auto& b) { return a.first < b.first; });
  for (const auto& [literal, index] : literals_) ++first_[static_cast<unsigned char>(literal[0]) + size_t{1}];
  for (size_t byte = 0; byte < 256; ++byte) first_[byte + 1] += first_[byte];
}

/// Narrows the sorted range of literals that share the first `depth` bytes with the text; the shortest of a range, the
/// one of exactly `depth` bytes, stands first in it.
size_t LiteralSet::longest_prefix(std::string_view text, size_t& n_bytes) const {
  const auto byte = static_cast<unsigned char>(text[0]);
  auto begin = literals_.begin() + first_[byte], end = literals_.begin() + first_[byte + size_t{1}];
  size_t best = kNone;
  for (size_t depth = 1; begin != end; ++depth) {
    for (; begin != end && begin->first.size() == depth; ++begin) {
      best = begin->second;
      n_bytes = depth;
    }
    if (depth == text.size()) break;
    const auto below = [&](const auto& literal, char c) {
      return static_cast<unsigned char>(literal.first[depth]) < static_cast<unsigned char>(c);
    };
    const auto above = [&](char c, const auto& literal) {
      return static_cast<unsigned char>(c) < static_cast<unsigned char>(literal.first[depth]);
    };
    begin = std::lower_bound(begin, end, text[depth], below);
    end = std::upper_bound(begin, end, text[depth], above);
  }
  return best;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer& normalizer) {
  std::vector<std::pair<std::string, size_t>> raw, normalized;
  for (AddedToken& token : tokens) {
    const auto [entry, is_new] = by_id_.try_emplace(token.id, tokens_.size());
    if (is_new) {
      tokens_.push_back(std::move(token));
    } else {
      tokens_[entry->second] = std::move(token);
    }
  }
  for (size_t i = 0; i < tokens_.size(); ++i) {
    std::string content = tokens_[i].content;
    if (tokens_[i].normalized) {
      MatchScratch scratch(content.size());
      normalizer.apply(content, scratch);
    }
    (tokens_[i].normalized ? normalized : raw).emplace_back(content, i);
    texts_.push_back(std::move(content));
  }
  raw_ = LiteralSet(std::move(raw));
  normalized_ = LiteralSet(std::move(normalized));
}

void AddedTokens::split(std::string_view text, bool in_normalized, bool parse_special, const EmitText& emit_text,
                        const EmitToken& emit_token) const {
  const LiteralSet& literals = in_normalized ? normalized_ : raw_;
  size_t done = 0;
  for (size_t i = 0; !literals.empty() && i < text.size();) {
    size_t n_bytes = 1;
    const size_t index = literals.longest_prefix(text.substr(i), n_bytes);
    const size_t found = i;
    i += n_bytes;
    if (index == LiteralSet::kNone) continue;
    const AddedToken& token = tokens_[index];
    if (token.special && !parse_special) continue;
    if (token.single_word && touches_word(text.substr(0, found), text.substr(i))) continue;
    size_t begin = found;
    while (token.lstrip && begin > done) {
      const LastChar last = last_char(text.substr(0, begin));
      if (!is_space(last.code_point)) break;
      begin = last.begin;
    }
    while (token.rstrip && i < text.size()) {
      const Utf8Char c = decode_utf8(text.substr(i));
      if (!is_space(c.code_point)) break;
      i += c.n_bytes;
    }
    if (begin > done) emit_text(text.substr(done, begin - done), done);
    emit_token(token.id);
    done = i;
  }
  if (done < text.size()) emit_text(text.substr(done), done);
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto entry = by_id_.find(id);
  return entry == by_id_.end() ? nullptr : &tokens_[entry->second];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto token = std::find_if(tokens_.begin(), tokens_.end(), [&](auto& t) { return t.content == content; });
  return token == tokens_.end() ? nullptr : &*token;
}

}  // namespace packhorse
