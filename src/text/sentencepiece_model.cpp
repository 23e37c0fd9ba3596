// SentencePiece's tokenizer.model: a protocol buffer, of which these fields count.
//
//   ModelProto      1 pieces (repeated SentencePiece), 2 trainer_spec, 3 normalizer_spec
//   SentencePiece   1 piece (string), 2 score (float), 3 type (enum, 1 = normal)
//   TrainerSpec     3 model_type (1 unigram, 2 BPE), 24 treat_whitespace_as_suffix,
//                   40 unk_id, 41 bos_id, 42 eos_id, 43 pad_id (-1 = none)
//   NormalizerSpec  1 name, 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5
//   escape_whitespaces

#include <bit>
#include <cstring>

#include "base/error.h"
#include "text/json_fields.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

namespace packhorse {
namespace {

/// Fields of one message, in file order.
class ProtoReader {
 public:
  ProtoReader(std::string_view message, const std::string& source) : rest_(message), source_(source) {}

  /// Number of the next field, whose value is then in `bytes` or `number`; 0 at the end.
  uint64_t next() {
    if (rest_.empty()) return 0;
    const uint64_t tag = varint();
    bytes = {};
    number = 0;
    switch (tag & 7) {
      case 0:
        number = varint();
        break;
      case 1:
        bytes = take(8);
        break;
      case 2:
        bytes = take(varint());
        break;
      case 5:
        bytes = take(4);
        break;
      default:
        fail_model("{}: not a SentencePiece model: wire type {}", source_, tag & 7);
    }
    if (tag >> 3 == 0) fail_model("{}: not a SentencePiece model: field number 0", source_);
    return tag >> 3;
  }

  std::string_view bytes;
  uint64_t number = 0;

  float as_float() const {
    if (bytes.size() != 4) fail_model("{}: a score of {} bytes", source_, bytes.size());
    uint32_t bits;
    std::memcpy(&bits, bytes.data(), sizeof bits);
    return std::bit_cast<float>(bits);
  }
  /// Signed 32-bit numbers are written with their sign extended to 64 bits.
  int32_t as_int() const { return static_cast<int32_t>(static_cast<uint32_t>(number)); }

 private:
  std::string_view take(uint64_t n) {
    if (n > rest_.size()) fail_model("{}: a field of {} bytes, {} left", source_, n, rest_.size());
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    fail_model("{}: a number of more than 10 bytes", source_);
  }

  std::string_view rest_;
  const std::string& source_;
};

struct Model {
  ScoredVocab vocab;
  int32_t model_type = 1, unk = 0, bos = 1, eos = 2, pad = -1;
  bool suffix_spaces = false, escape_spaces = true;
  bool has_charsmap = false;
  std::string_view normalizer_name;
};

void read_piece(std::string_view bytes, const std::string& source, ScoredVocab& vocab) {
  std::string_view text;
  float score = 0;
  int32_t type = static_cast<int32_t>(TokenType::normal);
  ProtoReader field(bytes, source);
  while (const uint64_t number = field.next()) {
    if (number == 1) text = field.bytes;
    if (number == 2) score = field.as_float();
    if (number == 3) type = field.as_int();
  }
  vocab.tokens.push_back(text);
  vocab.scores.push_back(score);
  vocab.types.push_back(type);
}

void read_trainer_spec(std::string_view bytes, const std::string& source, Model& model) {
  ProtoReader field(bytes, source);
  while (const uint64_t number = field.next()) {
    if (number == 3) model.model_type = field.as_int();
    if (number == 24) model.suffix_spaces = field.number != 0;
    if (number == 40) model.unk = field.as_int();
    if (number == 41) model.bos = field.as_int();
    if (number == 42) model.eos = field.as_int();
    if (number == 43) model.pad = field.as_int();
  }
}

void read_normalizer_spec(std::string_view bytes, const std::string& source, Model& model) {
  ProtoReader field(bytes, source);
  while (const uint64_t number = field.next()) {
    if (number == 1) model.normalizer_name = field.bytes;
    if (number == 2) model.has_charsmap = !field.bytes.empty();
    if (number == 3) model.vocab.add_space_prefix = field.number != 0;
    if (number == 4) model.vocab.collapse_spaces = field.number != 0;
    if (number == 5) model.escape_spaces = field.number != 0;
  }
}

Model read_model(std::string_view bytes, const std::string& source) {
  Model model;
  model.vocab.collapse_spaces = true;
  ProtoReader field(bytes, source);
  while (const uint64_t number = field.next()) {
    if (number == 1) read_piece(field.bytes, source, model.vocab);
    if (number == 2) read_trainer_spec(field.bytes, source, model);
    if (number == 3) read_normalizer_spec(field.bytes, source, model);
  }
  if (model.vocab.tokens.empty()) fail_model("{}: not a SentencePiece model: no pieces", source);
  if (model.vocab.tokens.size() > INT32_MAX) fail_model("{}: {} pieces", source, model.vocab.tokens.size());
  constexpr const char* kTypes[] = {"?", "unigram", "BPE", "word", "char"};
  if (model.model_type != 2) {
    const bool known = model.model_type > 0 && model.model_type < 5;
    fail_model("{}: model type '{}' is not supported (only BPE is)", source, kTypes[known ? model.model_type : 0]);
  }
  if (model.has_charsmap) {
    fail_model("{}: normalizer '{}' is not supported (only identity is)", source, printable(model.normalizer_name));
  }
  if (model.suffix_spaces || !model.escape_spaces) {
    fail_model("{}: treat_whitespace_as_suffix or unescaped spaces are not supported", source);
  }
  return model;
}

/// An id of the trainer's, -1 for none.
std::optional<int32_t> checked_special(int32_t id, const char* name, const Model& model, const std::string& source) {
  if (id == -1) return std::nullopt;
  if (id < 0 || static_cast<size_t>(id) >= model.vocab.tokens.size()) {
    fail_model("{}: {} {} is out of range (limit {})", source, name, id, model.vocab.tokens.size());
  }
  return id;
}

}  // namespace

Tokenizer Tokenizer::from_sentencepiece_model(std::string_view bytes, const Json& config, std::string_view source) {
  auto parts = std::make_unique<TokenizerParts>();
  parts->source = printable(source);
  Model model = read_model(bytes, parts->source);
  parts->unk = checked_special(model.unk, "unk_id", model, parts->source);
  parts->bos = checked_special(model.bos, "bos_id", model, parts->source);
  parts->eos = checked_special(model.eos, "eos_id", model, parts->source);
  parts->pad = checked_special(model.pad, "pad_id", model, parts->source);
  if (parts->eos) parts->eos_ids = {*parts->eos};
  model.vocab.unk = parts->unk.value_or(-1);
  auto added = build_scored(*parts, model.vocab);
  added = apply_tokenizer_config(*parts, std::move(added), config);
  parts->added = AddedTokens(std::move(added), parts->normalizer);
  const std::string where = "tokenizer_config.json";
  if (parts->bos && bool_or(config, "add_bos_token", true, where)) parts->prefix = {*parts->bos};
  if (parts->eos && bool_or(config, "add_eos_token", false, where)) parts->suffix = {*parts->eos};
  return Tokenizer(std::move(parts));
}

}  // namespace packhorse
