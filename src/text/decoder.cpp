#include "text/decoder.h"

#include <memory>

#include "text/byte_level.h"
#include "text/json_fields.h"
#include "text/pattern.h"
#include "text/vocab.h"

namespace packhorse {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581

Decoder::Step replace_literal(std::string from, std::string to) {
  return [from = std::move(from), to = std::move(to)](std::string& token) {
    std::string out;
    size_t done = 0;
    for (size_t i; (i = token.find(from, done)) != token.npos; done = i + from.size()) {
      out.append(token, done, i - done);
      out += to;
    }
    if (done > 0) token = std::move(out) + token.substr(done);
  };
}

Decoder::Step byte_fallback_step() {
  return [](std::string& token) {
    if (const int byte = parse_byte_token(token); byte >= 0) token.assign(1, static_cast<char>(byte));
  };
}

Decoder::Step byte_chars_step() {
  return [](std::string& token) {
    std::string bytes;
    append_bytes_of_chars(token, bytes);
    token = std::move(bytes);
  };
}

uint64_t count_member(const Json& json, std::string_view key, const std::string& where) {
  const uint64_t n = require_unsigned(require_member(json, key, where), where + "." + std::string(key));
  if (n > kMaxTokenBytes) fail_model("{}.{}: too many characters (got {}, limit {})", where, key, n, kMaxTokenBytes);
  return n;
}

/// Adds the steps of one decoder; after `fused` the tokens have become one text.
class DecoderParser {
 public:
  Decoder decoder;

  void add(const Json& json, const std::string& where) {
    const std::string& type = require_string(json, "type", where);
    if (type == "Sequence") {
      const Json& list = require_array(json, "decoders", where);
      for (size_t i = 0; i < list.size(); ++i) add(list[i], element(where, i));
    } else if (type == "Fuse") {
      fused_ = true;
    } else if (type == "Strip") {
      add_strip(json, where);
    } else if (fused_) {
      fail_model("{}: '{}' after the tokens are fused is not supported", where, printable(type));
    } else if (type == "Replace") {
      add_replace(json, where);
    } else if (type == "ByteFallback") {
      decoder.steps.push_back(byte_fallback_step());
      decoder.invalid = Utf8Assembler::Invalid::per_byte;
    } else if (type == "ByteLevel") {
      decoder.steps.push_back(byte_chars_step());
      fused_ = true;
    } else if (type == "Metaspace") {
      add_metaspace(json, where);
    } else {
      fail_model("{}: decoder type '{}' is not supported", where, printable(type));
    }
  }

 private:
  void add_replace(const Json& json, const std::string& where) {
    const Json& pattern = require_member(json, "pattern", where);
    const std::string& from = require_string(pattern, "String", where + ".pattern");
    if (from.empty()) fail_model("{}.pattern: empty", where);
    decoder.steps.push_back(replace_literal(from, require_string(json, "content", where)));
  }

  void add_strip(const Json& json, const std::string& where) {
    const std::string& content = require_string(json, "content", where);
    const uint64_t start = count_member(json, "start", where);
    if (count_member(json, "stop", where) != 0) fail_model("{}.stop: only 0 is supported", where);
    if (content.empty()) fail_model("{}.content: empty", where);
    if (fused_) {
      decoder.strip = content;
      decoder.n_strip = start;
      return;
    }
    decoder.steps.push_back([content, start](std::string& token) {
      size_t n = 0;
      for (uint64_t i = 0; i < start && token.compare(n, content.size(), content) == 0; ++i) n += content.size();
      token.erase(0, n);
    });
  }

  void add_metaspace(const Json& json, const std::string& where) {
    const std::string& mark = require_string(json, "replacement", where);
    if (mark.empty()) fail_model("{}.replacement: empty", where);
    const std::string scheme = string_or_empty(json, "prepend_scheme", where);
    const bool prepended = scheme.empty() ? bool_or(json, "add_prefix_space", true, where) : scheme != "never";
    if (prepended) decoder.first_token_without = mark;
    decoder.steps.push_back(replace_literal(mark, " "));
  }

  bool fused_ = false;
};

}  // namespace

Decoder parse_decoder(const Json* json, const std::string& where) {
  DecoderParser parser;
  if (json) {
    parser.add(*json, where);
  } else {
    parser.decoder.separator = " ";
  }
  return std::move(parser.decoder);
}

Decoder byte_level_decoder() { return {.steps = {byte_chars_step()}}; }

Decoder sentencepiece_decoder(bool strip_space) {
  return {.steps = {replace_literal(std::string(kSpaceMark), " "), byte_fallback_step()},
          .strip = " ",
          .n_strip = strip_space ? size_t{1} : size_t{0},
          .invalid = Utf8Assembler::Invalid::per_byte};
}

int parse_byte_token(std::string_view text) noexcept {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  const int high = digit(text[3]), low = digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

}  // namespace packhorse
