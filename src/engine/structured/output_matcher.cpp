#include "engine/structured/output_matcher.h"

#include <xgrammar/matcher.h>

#include <algorithm>
#include <exception>
#include <limits>

#include "engine/structured/output_grammar.h"
#include "engine/structured/xgrammar_time.h"

namespace packhorse {
namespace {

// An ambiguous grammar may take any time, more with every token, and the other requests wait.
constexpr double kFirstSeconds = 0.25;
constexpr double kSecondsPerToken = 2e-3;  // some ten times what good ones take
constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr uint32_t kAll = ~uint32_t{0};

constexpr const char* kDeadEnd = "structured_outputs: no token may come next";
constexpr const char* kTooLong = "structured_outputs: the grammar takes too long to match";

uint32_t bit_of(int32_t token) { return uint32_t{1} << (token % 32); }

}  // namespace

struct OutputMatcher::Matcher {
  xgrammar::GrammarMatcher xgrammar;
};

OutputMatcher::OutputMatcher(std::shared_ptr<const OutputGrammar> grammar, const std::vector<int32_t>& stop_tokens)
    : grammar_(std::move(grammar)), seconds_left_(kFirstSeconds) {
  const XgrammarTime limit(kFirstSeconds);
  matcher_.reset(
      new Matcher{xgrammar::GrammarMatcher(grammar_->compiled, std::vector<int>(stop_tokens.begin(), stop_tokens.end()),
                                           /*terminate_without_stop_token=*/stop_tokens.empty())});
  const int vocab_size = grammar_->compiled.GetTokenizerInfo().GetVocabSize();
  bits_.resize(static_cast<size_t>(xgrammar::GetBitmaskSize(vocab_size)));
}

OutputMatcher::~OutputMatcher() = default;

bool OutputMatcher::call(const std::function<void()>& work) {
  if (grammar_->is_too_slow) return false;
  const XgrammarTime limit(seconds_left_);
  try {
    work();
  } catch (const XgrammarOutOfTime&) {
    grammar_->is_too_slow = true;
    return false;
  } catch (const std::exception&) {
    return false;
  }
  seconds_left_ -= limit.used();
  return true;
}

bool OutputMatcher::find_tokens() {
  auto n_words = static_cast<int64_t>(bits_.size());
  DLTensor tensor{.data = bits_.data(),
                  .device = {kDLCPU, 0},
                  .ndim = 1,
                  .dtype = xgrammar::GetBitmaskDLType(),
                  .shape = &n_words,
                  .strides = nullptr,
                  .byte_offset = 0};
  error_ = kDeadEnd;
  if (ended()) return false;
  if (!call([&] { matcher_->xgrammar.FillNextTokenBitmask(&tensor); })) {
    error_ = kTooLong;
    return false;
  }
  const bool any = std::ranges::any_of(bits_, [](uint32_t word) { return word != 0; });
  if (any) error_ = nullptr;
  return any;
}

void OutputMatcher::mask(std::span<float> logits, bool avoid_stop) {
  only_stop_left_ = false;
  if (!find_tokens()) {
    std::ranges::fill(logits, kNever);
    return;
  }
  std::vector<int32_t> stops;
  for (const int32_t token : matcher_->xgrammar.GetStopTokenIds()) {
    uint32_t& word = bits_[static_cast<size_t>(token / 32)];
    if (word & bit_of(token)) stops.push_back(token);
    word &= ~bit_of(token);
  }
  only_stop_left_ = std::ranges::all_of(bits_, [](uint32_t word) { return word == 0; });
  if (only_stop_left_ || !avoid_stop) {
    for (const int32_t token : stops) bits_[static_cast<size_t>(token / 32)] |= bit_of(token);
  }
  for (size_t i = 0; i < bits_.size(); ++i) {
    if (bits_[i] == kAll) continue;
    const size_t end = std::min(logits.size(), (i + 1) * 32);
    for (size_t token = i * 32; token < end; ++token) {
      if (!(bits_[i] >> (token % 32) & 1)) logits[token] = kNever;
    }
  }
}

bool OutputMatcher::accept(int32_t token) {
  seconds_left_ += kSecondsPerToken;
  bool accepted = false;
  return call([&] { accepted = matcher_->xgrammar.AcceptToken(token); }) && accepted;
}

bool OutputMatcher::ended() const { return matcher_->xgrammar.IsTerminated(); }

}  // namespace packhorse
