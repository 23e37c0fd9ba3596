// tokenizer.json of the tokenizers library, model type BPE.

#include <algorithm>
#include <set>

#include "text/json_fields.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

namespace packhorse {
namespace {

/// Ids may have holes, but nobody gets a table of gigabytes for a file of kilobytes.
int32_t checked_id(const Json& json, size_t n_tokens, const std::string& where) {
  const uint64_t limit = std::clamp<uint64_t>(uint64_t{4} * n_tokens, 1u << 20, INT32_MAX);
  const uint64_t id = require_unsigned(json, where);
  if (id >= limit) fail_model("{}: id {} is out of range (limit {} for {} tokens)", where, id, limit, n_tokens);
  return static_cast<int32_t>(id);
}

void require_bpe(const Json& model, const std::string& where) {
  std::string type = string_or_empty(model, "type", where);
  if (type.empty() && find_member(model, "merges")) type = "BPE";  // files of old versions do not name it
  if (type != "BPE") fail_model("{}: type '{}' is not supported (only BPE is)", where, printable(type));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const std::string affix = string_or_empty(model, key, where);
    if (!affix.empty()) fail_model("{}.{}: '{}' is not supported (only an empty one is)", where, key, printable(affix));
  }
  const Json* dropout = find_member(model, "dropout");
  if (dropout && *dropout != 0) fail_model("{}.dropout: only 0 is supported (got {})", where, preview(*dropout));
}

Vocab parse_vocab(const Json& model, const std::string& where, std::vector<std::string>& warnings) {
  const Json& tokens = require_member(model, "vocab", where);
  if (!tokens.is_object()) fail_model("{}.vocab: not an object (got {})", where, preview(tokens));
  size_t n_bytes = 0;
  for (const auto& [text, id] : tokens.get_ref<const Json::object_t&>()) n_bytes += text.size();
  Vocab vocab;
  vocab.reserve(tokens.size(), n_bytes);
  for (const auto& [text, id] : tokens.get_ref<const Json::object_t&>()) {
    if (text.empty()) warnings.push_back(where + ".vocab: empty token");
    const auto number = as_unsigned(id);
    const bool usual = number && *number < tokens.size();  // names the token only when there is something to say
    const int32_t checked =
        usual ? static_cast<int32_t>(*number) : checked_id(id, tokens.size(), where + ".vocab." + printable(text));
    add_token(vocab, checked, text, where + ".vocab");
  }
  return vocab;
}

/// "left right" or ["left", "right"].
std::pair<std::string_view, std::string_view> merge_parts(const Json& merge, const std::string& where, size_t i) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != text.npos && text.find(' ', space + 1) == text.npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  }
  fail_model("{}: not two tokens (got {})", element(where + ".merges", i), preview(merge));
}

MergeTable parse_merges(const Json& model, const Vocab& vocab, const std::string& where) {
  const Json& merges = require_array(model, "merges", where);
  MergeTable table(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto [left, right] = merge_parts(merges[i], where, i);
    set_merge(table, vocab, left, right, i, where + ".merges");
  }
  return table;
}

std::vector<AddedToken> parse_added_tokens(const Json& tokenizer, const Vocab& vocab, const std::string& source) {
  std::vector<AddedToken> tokens;
  const Json* list = find_member(tokenizer, "added_tokens");
  if (!list) return tokens;
  if (!list->is_array()) fail_model("{}: added_tokens: not an array (got {})", source, preview(*list));
  std::set<int32_t> ids;
  std::set<std::string_view> texts;
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string where = element(source + ": added_tokens", i);
    const Json& json = (*list)[i];
    const std::string& content = require_string(json, "content", where);
    const int32_t id =
        checked_id(require_member(json, "id", where), list->size() + static_cast<size_t>(vocab.size()), where + ".id");
    if (content.size() > kMaxTokenBytes) fail_model("{}: {} bytes (limit {})", where, content.size(), kMaxTokenBytes);
    if (!ids.insert(id).second) fail_model("{}: id {} was given before", where, id);
    if (!texts.insert(content).second) fail_model("{}: '{}' was given before", where, printable(content));
    const int32_t known = vocab.find(content);
    if ((known >= 0 && known != id) || (vocab.contains(id) && vocab.text(id) != content)) {
      fail_model("{}: '{}' has id {}, but in model.vocab id {} is '{}' and '{}' has id {}", where, printable(content),
                 id, id, printable(vocab.text(id)), printable(content), known);
    }
    tokens.push_back(read_added_token(json, id, content, where));
  }
  return tokens;
}

/// TemplateProcessing: the tokens before and after the text $A.
void add_template(const Json& json, const std::string& where, TokenizerParts& parts) {
  const Json& items = require_array(json, "single", where);
  std::vector<int32_t> around[2];
  size_t n_texts = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string here = element(where + ".single", i);
    if (find_member(items[i], "Sequence")) {
      ++n_texts;
      continue;
    }
    const std::string& name = require_string(require_member(items[i], "SpecialToken", here), "id", here);
    const Json& special =
        require_member(require_member(json, "special_tokens", where), name, where + ".special_tokens");
    for (const Json& id : require_array(special, "ids", here)) {
      const uint64_t number = require_unsigned(id, here);
      if (number >= static_cast<uint64_t>(parts.vocab_size())) {
        fail_model("{}: id {} is out of range (limit {})", here, number, parts.vocab_size());
      }
      around[n_texts > 0].push_back(static_cast<int32_t>(number));
    }
  }
  if (n_texts != 1) fail_model("{}.single: not one text (got {})", where, n_texts);
  parts.prefix.insert(parts.prefix.begin(), around[0].begin(), around[0].end());
  parts.suffix.insert(parts.suffix.end(), around[1].begin(), around[1].end());
}

void add_post_processor(const Json& json, const std::string& where, TokenizerParts& parts) {
  const std::string& type = require_string(json, "type", where);
  if (type == "Sequence") {
    const Json& list = require_array(json, "processors", where);
    for (size_t i = 0; i < list.size(); ++i) add_post_processor(list[i], element(where, i), parts);
  } else if (type == "TemplateProcessing") {
    add_template(json, where, parts);
  } else if (type != "ByteLevel") {  // which only moves offsets
    fail_model("{}: post-processor type '{}' is not supported", where, printable(type));
  }
}

void build_model(TokenizerParts& parts, const Json& model, bool byte_level, const std::string& where) {
  Vocab vocab = parse_vocab(model, where, parts.warnings);
  MergeTable merges = parse_merges(model, vocab, where);
  Bpe::Options options{.alphabet = byte_level ? Bpe::Alphabet::bytes : Bpe::Alphabet::characters,
                       .ignore_merges = bool_or(model, "ignore_merges", false, where),
                       .byte_fallback = bool_or(model, "byte_fallback", false, where),
                       .fuse_unk = bool_or(model, "fuse_unk", false, where)};
  if (const std::string unk = string_or_empty(model, "unk_token", where); !unk.empty()) {
    options.unk = vocab.find(unk);
    if (options.unk < 0) fail_model("{}.unk_token: '{}' is not in the vocabulary", where, printable(unk));
    parts.unk = options.unk;
  }
  if (!byte_level && !options.ignore_merges && no_token_spans_words(vocab)) {
    parts.pre_tokenizer.append(space_mark_words_stage());
  }
  parts.bpe = Bpe(std::move(vocab), std::move(merges), options);
}

}  // namespace

Tokenizer Tokenizer::from_tokenizer_json(const Json& tokenizer, const Json& config, std::string_view source) {
  auto parts = std::make_unique<TokenizerParts>();
  parts->source = printable(source);
  const std::string where = parts->source + ": ";
  if (!tokenizer.is_object()) fail_model("{}: not an object (got {})", parts->source, preview(tokenizer));
  const Json& model = require_member(tokenizer, "model", parts->source);
  require_bpe(model, where + "model");
  auto [pre_tokenizer, byte_level] =
      parse_pre_tokenizer(find_member(tokenizer, "pre_tokenizer"), where + "pre_tokenizer");
  parts->pre_tokenizer = std::move(pre_tokenizer);
  parts->normalizer = parse_normalizer(find_member(tokenizer, "normalizer"), where + "normalizer");
  parts->decoder = parse_decoder(find_member(tokenizer, "decoder"), where + "decoder");
  build_model(*parts, model, byte_level, where + "model");
  auto added = parse_added_tokens(tokenizer, parts->bpe.vocab(), parts->source);
  added = apply_tokenizer_config(*parts, std::move(added), config);
  parts->added = AddedTokens(std::move(added), parts->normalizer);
  if (const Json* json = find_member(tokenizer, "post_processor")) {
    add_post_processor(*json, where + "post_processor", *parts);
  }
  return Tokenizer(std::move(parts));
}

}  // namespace packhorse
