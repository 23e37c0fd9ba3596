// Methods of strings.
#include <algorithm>

#include "base/utf8.h"
#include "text/jinja/chars.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"

namespace packhorse::jinja {
namespace {

constexpr size_t npos = std::string_view::npos;

std::string_view self_bytes(Call& call) {
  call.in.budget().scan_bytes(call.self.bytes().size());
  return call.self.bytes();
}

Value text(Call& call, std::string_view bytes) { return call.in.text(std::string(bytes)); }

template <Side kSide>
Value strip(Call& call) {
  const std::string_view self = self_bytes(call);
  return text(call, call.given(0) ? strip_chars(self, call.text(0), kSide) : strip_space(self, kSide));
}

template <std::string (*kMap)(std::string_view)>
Value maps(Call& call) {
  call.in.budget().scan_chars(call.self.bytes().size());
  return call.in.text(kMap(self_bytes(call)));
}

std::string swap_case(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size();) {
    const std::string_view c = bytes.substr(i, decode_utf8(bytes.substr(i)).n_bytes);
    std::string lowered = to_lower(c);
    out += lowered == c ? to_upper(c) : std::move(lowered);
    i += c.size();
  }
  return out;
}

/// split() without a separator: runs of white space separate, and none is empty.
void split_words(Call& call, List& parts, int64_t limit) {
  call.in.budget().scan_chars(call.self.bytes().size());
  std::string_view rest = strip_space(self_bytes(call), Side::left);
  while (!rest.empty()) {
    call.in.budget().step();
    if (limit-- == 0) {
      call.in.heap().append(parts, text(call, rest));
      return;
    }
    size_t end = 0;
    while (end < rest.size() && strip_space(rest.substr(end), Side::left).size() == rest.size() - end) ++end;
    call.in.heap().append(parts, text(call, rest.substr(0, end)));
    rest = strip_space(rest.substr(end), Side::left);
  }
}

void rsplit_words(Call& call, List& parts, int64_t limit) {
  call.in.budget().scan_chars(call.self.bytes().size());
  std::string_view rest = strip_space(self_bytes(call), Side::right);
  std::vector<Value> reversed;
  while (!rest.empty()) {
    call.in.budget().step();
    if (limit-- == 0) {
      reversed.push_back(text(call, rest));
      break;
    }
    size_t begin = rest.size();
    while (begin > 0 && strip_space(rest.substr(0, begin), Side::right).size() == begin) --begin;
    reversed.push_back(text(call, rest.substr(begin)));
    rest = strip_space(rest.substr(0, begin), Side::right);
  }
  for (auto it = reversed.rbegin(); it != reversed.rend(); ++it) call.in.heap().append(parts, *it);
}

Value split(Call& call) {
  List* parts = call.in.heap().list();
  int64_t limit = call.integer(1, -1);
  if (!call.given(0)) {
    split_words(call, *parts, limit);
    return parts;
  }
  const std::string_view self = self_bytes(call), separator = call.text(0);
  if (separator.empty()) call.in.fail("empty separator");
  size_t start = 0;
  for (; limit != 0; --limit) {
    const size_t hit = find_text(self, separator, start);
    if (hit == npos) break;
    call.in.budget().step();
    call.in.heap().append(*parts, text(call, self.substr(start, hit - start)));
    start = hit + separator.size();
  }
  call.in.heap().append(*parts, text(call, self.substr(start)));
  return parts;
}

/// Byte positions of the matches counted from the end, the last first; at most `limit` (all when negative).
std::vector<size_t> matches_from_end(Call& call, std::string_view self, std::string_view needle, int64_t limit) {
  const std::string reversed(self.rbegin(), self.rend()), reversed_needle(needle.rbegin(), needle.rend());
  std::vector<size_t> hits;
  for (size_t start = 0; limit != 0; --limit) {
    const size_t hit = find_text(reversed, reversed_needle, start);
    if (hit == npos) break;
    call.in.budget().step();
    hits.push_back(self.size() - hit - needle.size());
    start = hit + needle.size();
  }
  return hits;
}

Value rsplit(Call& call) {
  List* parts = call.in.heap().list();
  const int64_t limit = call.integer(1, -1);
  if (!call.given(0)) {
    rsplit_words(call, *parts, limit);
    return parts;
  }
  const std::string_view self = self_bytes(call), separator = call.text(0);
  if (separator.empty()) call.in.fail("empty separator");
  const std::vector<size_t> hits = matches_from_end(call, self, separator, limit);
  size_t start = 0;
  for (auto hit = hits.rbegin(); hit != hits.rend(); ++hit) {
    call.in.heap().append(*parts, text(call, self.substr(start, *hit - start)));
    start = *hit + separator.size();
  }
  call.in.heap().append(*parts, text(call, self.substr(start)));
  return parts;
}

Value splitlines(Call& call) {
  List* lines = call.in.heap().list();
  call.in.budget().scan_chars(call.self.bytes().size());
  for (const std::string_view line : split_lines(self_bytes(call), call.truth(0, false))) {
    call.in.budget().step();
    call.in.heap().append(*lines, text(call, line));
  }
  return lines;
}

template <bool kFromEnd>
Value partition(Call& call) {
  const std::string_view self = self_bytes(call), separator = call.text(0);
  if (separator.empty()) call.in.fail("empty separator");
  size_t hit = npos;
  if (!kFromEnd) {
    hit = find_text(self, separator);
  } else if (const auto hits = matches_from_end(call, self, separator, 1); !hits.empty()) {
    hit = hits[0];
  }
  if (hit == npos) {
    if (kFromEnd) return call.in.heap().tuple({text(call, ""), text(call, ""), call.self});
    return call.in.heap().tuple({call.self, text(call, ""), text(call, "")});
  }
  return call.in.heap().tuple(
      {text(call, self.substr(0, hit)), text(call, separator), text(call, self.substr(hit + separator.size()))});
}

Value join(Call& call) {
  const List* items = call.in.iterate(*call.arg(0));
  TextBuilder out(call.in);
  for (size_t i = 0; i < items->items.size(); ++i) {
    call.in.budget().step();
    const Value& item = items->items[i];
    call.in.require_defined(item);
    if (!item.is_text()) call.in.fail("sequence item {}: expected str instance, {} found", i, type_name(item));
    if (i > 0) out << call.self.bytes();
    out << item.bytes();
  }
  return out.value();
}

Value replace(Call& call) {
  const std::string_view self = self_bytes(call), old = call.text(0), replacement = call.text(1);
  int64_t limit = call.given(2) ? call.integer(2, -1) : -1;
  TextBuilder out(call.in);
  size_t start = 0;
  if (old.empty()) {
    call.in.budget().step(static_cast<int64_t>(self.size()));
    for (const std::string_view c : split_chars(self)) {
      if (limit == 0) break;
      --limit;
      call.in.budget().scan_bytes(replacement.size());
      out << replacement << c;
      start += c.size();
    }
    if (limit != 0) out << replacement;
  }
  for (; limit != 0 && !old.empty(); --limit) {
    const size_t hit = find_text(self, old, start);
    if (hit == npos) break;
    call.in.budget().step();
    call.in.budget().scan_bytes(replacement.size());
    out << self.substr(start, hit - start) << replacement;
    start = hit + old.size();
  }
  out << self.substr(start);
  return out.value();
}

/// The part of the text that the optional arguments start and stop select; `offset` is its first character.
std::optional<std::string_view> window(Call& call, size_t first_argument, int64_t& offset) {
  const std::string_view self = self_bytes(call);
  const int64_t size = static_cast<int64_t>((*call.self.get<TextPtr>())->n_chars);
  const auto bound = [&](size_t i, int64_t fallback) {
    const int64_t index = call.given(i) ? call.integer(i, 0) : fallback;
    return index < 0 ? std::max<int64_t>(index + size, 0) : index;
  };
  offset = bound(first_argument, 0);
  const int64_t stop = std::min(bound(first_argument + 1, size), size);
  if (offset > size || offset > stop) return std::nullopt;
  const size_t begin = char_offset(self, static_cast<size_t>(offset));
  return self.substr(begin, char_offset(self, static_cast<size_t>(stop)) - begin);
}

template <bool kFromEnd, bool kMustExist>
Value find(Call& call) {
  int64_t offset = 0;
  const auto part = window(call, 1, offset);
  const std::string_view needle = call.text(0);
  size_t hit = npos;
  if (part && !kFromEnd) {
    hit = find_text(*part, needle);
  } else if (part) {
    const auto hits = matches_from_end(call, *part, needle, 1);
    if (!hits.empty()) hit = hits[0];
  }
  if (hit != npos) return offset + static_cast<int64_t>(count_chars(part->substr(0, hit)));
  if (kMustExist) call.in.fail("substring not found");
  return -1;
}

Value count(Call& call) {
  int64_t offset = 0, n = 0;
  const auto part = window(call, 1, offset);
  const std::string_view needle = call.text(0);
  if (!part) return 0;
  if (needle.empty()) return static_cast<int64_t>(count_chars(*part)) + 1;
  for (size_t hit = find_text(*part, needle); hit != npos; hit = find_text(*part, needle, hit + needle.size())) {
    call.in.budget().step();
    ++n;
  }
  return n;
}

/// startswith, endswith; the argument is a string or a tuple of them.
template <bool kAtEnd>
Value has_end(Call& call) {
  int64_t offset = 0;
  const auto part = window(call, 1, offset);
  const auto matches = [&](std::string_view end) {
    return part && (kAtEnd ? part->ends_with(end) : part->starts_with(end));
  };
  const List* several = call.arg(0)->list();
  if (!several || several->form == List::Form::list) return matches(call.text(0));
  return std::any_of(several->items.begin(), several->items.end(), [&](const Value& end) {
    if (!end.is_text()) call.in.fail("{}() needs strings, got '{}'", call.builtin.name, type_name(end));
    return matches(end.bytes());
  });
}

template <bool kAtEnd>
Value remove_end(Call& call) {
  const std::string_view self = self_bytes(call), end = call.text(0);
  if (kAtEnd) return self.ends_with(end) ? text(call, self.substr(0, self.size() - end.size())) : call.self;
  return self.starts_with(end) ? text(call, self.substr(end.size())) : call.self;
}

template <char kAlign>
Value justify(Call& call) {
  const std::string_view fill = call.text(1, " ");
  if (count_chars(fill) != 1) call.in.fail("the fill character must be exactly one character long");
  const std::string_view self = self_bytes(call);
  int64_t width = call.integer(0, 0);
  const auto size = static_cast<int64_t>(count_chars(self));
  if (kAlign != '^' || width <= size) return call.in.text(pad(call.in, self, width, kAlign, fill));
  // str.center puts the odd blank left when the width is odd.
  const int64_t missing = width - size, before = missing / 2 + (missing & width & 1);
  return call.in.text(pad(call.in, pad(call.in, self, size + before, '>', fill), width, '<', fill));
}

Value zfill(Call& call) {
  const std::string_view self = self_bytes(call);
  const size_t sign = self.starts_with('-') || self.starts_with('+') ? 1 : 0;
  const int64_t width = call.integer(0, 0);
  const std::string digits =
      pad(call.in, self.substr(sign), width < 0 ? 0 : width - static_cast<int64_t>(sign), '>', "0");
  return text(call, std::string(self.substr(0, sign)) + digits);
}

Value format(Call& call) { return format_braces(call.in, self_bytes(call), call.rest); }

constexpr Builtin kMethods[] = {
    {"strip", ";chars", strip<Side::both>},
    {"lstrip", ";chars", strip<Side::left>},
    {"rstrip", ";chars", strip<Side::right>},
    {"upper", "", maps<to_upper>},
    {"lower", "", maps<to_lower>},
    {"casefold", "", maps<to_lower>},
    {"title", "", maps<title_words>},
    {"capitalize", "", maps<capitalize>},
    {"swapcase", "", maps<swap_case>},
    {"split", ";sep,maxsplit", split},
    {"rsplit", ";sep,maxsplit", rsplit},
    {"splitlines", ";keepends", splitlines},
    {"partition", "sep", partition<false>},
    {"rpartition", "sep", partition<true>},
    {"join", "iterable", join},
    {"replace", "old,new;count", replace},
    {"find", "sub;start,end", find<false, false>},
    {"rfind", "sub;start,end", find<true, false>},
    {"index", "sub;start,end", find<false, true>},
    {"rindex", "sub;start,end", find<true, true>},
    {"count", "sub;start,end", count},
    {"startswith", "prefix;start,end", has_end<false>},
    {"endswith", "suffix;start,end", has_end<true>},
    {"removeprefix", "prefix", remove_end<false>},
    {"removesuffix", "suffix", remove_end<true>},
    {"ljust", "width;fillchar", justify<'<'>},
    {"rjust", "width;fillchar", justify<'>'>},
    {"center", "width;fillchar", justify<'^'>},
    {"zfill", "width", zfill},
    {"format", "*", format},
};

}  // namespace

std::span<const Builtin> text_methods() { return kMethods; }

}  // namespace packhorse::jinja
