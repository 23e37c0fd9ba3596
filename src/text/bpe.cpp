#include "text/bpe.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_level.h"

namespace packhorse {
namespace {

/// Up to this many symbols scanning all pairs for the lowest rank beats a heap.
constexpr size_t kShortWord = 24;

}  // namespace

Bpe::Bpe(Vocab vocab, MergeTable merges, const Options& options)
    : vocab_(std::move(vocab)), merges_(std::move(merges)), n_ranks_(merges_.n_ranks()), options_(options) {
  find_byte_ids();
}

Bpe::Bpe(Vocab vocab, std::vector<uint32_t> ranks, const Options& options)
    : vocab_(std::move(vocab)), ranks_(std::move(ranks)), by_score_(true), options_(options) {
  for (const uint32_t rank : ranks_) {
    if (rank != Merge::kNoRank) n_ranks_ = std::max<size_t>(n_ranks_, rank + size_t{1});
  }
  find_byte_ids();
}

void Bpe::find_byte_ids() {
  byte_ids_.fill(-1);
  for (uint32_t byte = 0; byte < 256; ++byte) {
    std::string text;
    if (options_.alphabet == Alphabet::bytes) {
      append_utf8(text, byte_to_char(static_cast<uint8_t>(byte)));
    } else if (options_.byte_fallback) {
      text = fmt::format("<0x{:02X}>", byte);
    }
    byte_ids_[byte] = vocab_.find(text);
  }
}

void Bpe::encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (word.size() >= UINT32_MAX) fail(ErrorKind::request, "a word of {} bytes is too long", word.size());
  if (options_.ignore_merges && word.size() <= vocab_.max_token_bytes()) {
    std::string_view text = word;
    if (options_.alphabet == Alphabet::bytes) {
      scratch.text.clear();
      append_byte_chars(word, scratch.text);
      text = scratch.text;
    }
    if (const int32_t id = vocab_.find(text); id >= 0) {
      out.push_back(id);
      return;
    }
  }
  auto& symbols = scratch.symbols;
  symbols.clear();
  if (options_.alphabet == Alphabet::bytes) {
    start_with_bytes(word, symbols);
  } else {
    start_with_characters(word, symbols);
  }
  symbols.push_back({.begin = static_cast<uint32_t>(word.size()), .id = -1, .merge = {}});
  for (size_t i = 0; i + 2 < symbols.size(); ++i) {
    symbols[i].merge = merge_of(word, symbols[i], symbols[i + 1], symbols[i + 2]);
  }
  if (symbols.size() <= kShortWord + 1) {
    merge_short(word, symbols);
  } else {
    merge_long(word, scratch);
  }
  append(word, symbols, out);
}

void Bpe::start_with_bytes(std::string_view word, std::vector<Symbol>& symbols) const {
  for (size_t i = 0; i < word.size(); ++i) {
    const int32_t id = byte_ids_[static_cast<unsigned char>(word[i])];
    const bool is_repeated_unk = id < 0 && options_.fuse_unk && !symbols.empty() && symbols.back().id == options_.unk;
    if (id < 0 && (options_.unk < 0 || is_repeated_unk)) continue;
    symbols.push_back({.begin = static_cast<uint32_t>(i), .id = id < 0 ? options_.unk : id, .merge = {}});
  }
}

void Bpe::start_with_characters(std::string_view word, std::vector<Symbol>& symbols) const {
  for (size_t i = 0; i < word.size();) {
    const std::string_view character = word.substr(i, decode_utf8(word.substr(i)).n_bytes);
    const auto begin = static_cast<uint32_t>(i);
    i += character.size();
    if (const int32_t id = vocab_.find(character); id >= 0 || by_score_) {
      symbols.push_back({.begin = begin, .id = id, .merge = {}});
    } else if (has_bytes(character)) {
      for (uint32_t j = 0; j < character.size(); ++j) {
        const int32_t byte_id = byte_ids_[static_cast<unsigned char>(character[j])];
        symbols.push_back({.begin = begin + j, .id = byte_id, .merge = {}});
      }
    } else if (options_.unk >= 0) {
      const bool repeated = options_.fuse_unk && !symbols.empty() && symbols.back().id == options_.unk;
      if (!repeated) symbols.push_back({.begin = begin, .id = options_.unk, .merge = {}});
    }
  }
}

bool Bpe::has_bytes(std::string_view character) const {
  return options_.byte_fallback && std::all_of(character.begin(), character.end(), [&](char byte) {
           return byte_ids_[static_cast<unsigned char>(byte)] >= 0;
         });
}

/// The merge of two neighbours; `after` is what follows them.
Merge Bpe::merge_of(std::string_view word, const Symbol& left, const Symbol& right, const Symbol& after) const {
  if (!by_score_) return merges_.find(left.id, right.id);
  const std::string_view joined = word.substr(left.begin, after.begin - left.begin);
  if (joined.size() > vocab_.max_token_bytes()) return {};
  const int32_t id = vocab_.find(joined);
  if (id < 0) return {};
  return {.rank = ranks_[static_cast<size_t>(id)], .id = id};
}

void Bpe::merge_short(std::string_view word, std::vector<Symbol>& symbols) const {
  const auto lower_rank = [](const Symbol& a, const Symbol& b) { return a.merge.rank < b.merge.rank; };
  while (symbols.size() > 2) {
    const auto best = std::min_element(symbols.begin(), symbols.end(), lower_rank);
    if (!best->merge.exists()) return;
    const auto i = static_cast<size_t>(best - symbols.begin());
    symbols[i].id = symbols[i].merge.id;
    symbols.erase(best + 1);
    symbols[i].merge = i + 2 < symbols.size() ? merge_of(word, symbols[i], symbols[i + 1], symbols[i + 2]) : Merge{};
    if (i > 0) symbols[i - 1].merge = merge_of(word, symbols[i - 1], symbols[i], symbols[i + 1]);
  }
}

void Bpe::merge_long(std::string_view word, BpeScratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& links = scratch.links;
  auto& queue = scratch.queue;
  const auto end = static_cast<uint32_t>(symbols.size() - 1);
  links.resize(symbols.size());
  queue.resize(n_ranks_);
  for (uint32_t i = 0; i <= end; ++i) {
    links[i] = {.prev = i - 1, .next = i + 1};
    if (symbols[i].merge.exists()) queue.push(symbols[i].merge.rank, i);
  }
  const auto update = [&](uint32_t i) {
    const uint32_t right = links[i].next;
    symbols[i].merge = right == end ? Merge{} : merge_of(word, symbols[i], symbols[right], symbols[links[right].next]);
    if (symbols[i].merge.exists()) queue.push(symbols[i].merge.rank, i);
  };
  for (uint32_t rank, i; queue.pop(rank, i);) {
    if (symbols[i].merge.rank != rank) continue;  // it was joined to something else in the meantime
    const uint32_t gone = links[i].next;
    symbols[i].id = symbols[i].merge.id;
    symbols[gone].merge = {};
    links[i].next = links[gone].next;
    links[links[gone].next].prev = i;
    update(i);
    if (i > 0) update(links[i].prev);
  }
  size_t n = 0;
  for (uint32_t i = 0; i <= end; i = links[i].next) symbols[n++] = symbols[i];
  symbols.resize(n);
}

void Bpe::append(std::string_view word, const std::vector<Symbol>& symbols, std::vector<int32_t>& out) const {
  bool after_unknown = false;
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    if (symbols[i].id >= 0) {
      out.push_back(symbols[i].id);
      after_unknown = false;
      continue;
    }
    const std::string_view character = word.substr(symbols[i].begin, symbols[i + 1].begin - symbols[i].begin);
    if (has_bytes(character)) {
      for (const char byte : character) out.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
      after_unknown = false;
    } else if (options_.unk >= 0 && !(after_unknown && options_.fuse_unk)) {
      out.push_back(options_.unk);
      after_unknown = true;
    }
  }
}

}  // namespace packhorse
