#include "engine/structured/output_matcher.h"

#include <xgrammar/matcher.h>

#include <algorithm>
#include <exception>
#include <limits>

#include "base/error.h"
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

OutputMatcher::OutputMatcher(std::shared_ptr<const OutputGrammar> grammar, const std::vector<int32_t>& stop_tokens,
                             std::shared_ptr<const ReasoningMarkers> markers)
    : grammar_(std::move(grammar)), markers_(std::move(markers)), seconds_left_(kFirstSeconds) {
  if (markers_) progress_.emplace(*markers_);
  const XgrammarTime limit(kFirstSeconds);
  try {
    matcher_.reset(new Matcher{xgrammar::GrammarMatcher(grammar_->compiled,
                                                        std::vector<int>(stop_tokens.begin(), stop_tokens.end()),
                                                        /*terminate_without_stop_token=*/stop_tokens.empty())});
  } catch (const XgrammarOutOfTime&) {
    fail(ErrorKind::request, "{}", kTooLong);
  }
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
  if (!matches_) {
    std::ranges::fill(bits_, 0);
  } else if (!call([&] { matcher_->xgrammar.FillNextTokenBitmask(&tensor); })) {
    error_ = kTooLong;
    return false;
  }
  if (progress_) progress_->allow_openers(*markers_, bits_);
  const bool any = std::ranges::any_of(bits_, [](uint32_t word) { return word != 0; });
  if (any) error_ = nullptr;
  return any;
}

/// An output that ended here would not match.
void OutputMatcher::mask_thinking(std::span<float> logits) const {
  for (const int32_t token : matcher_->xgrammar.GetStopTokenIds()) logits[static_cast<size_t>(token)] = kNever;
  progress_->mask_crossers(*markers_, logits);
}

void OutputMatcher::mask(std::span<float> logits, bool avoid_stop) {
  only_stop_left_ = false;
  if (is_thinking()) {
    error_ = nullptr;
    return mask_thinking(logits);
  }
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

bool OutputMatcher::think(int32_t token, bool is_accepted) {
  using Place = ReasoningProgress::Place;
  const bool was_thinking = is_thinking();
  const bool ends_in_time = progress_->add(*markers_, markers_->text_of(token));
  const Place place = progress_->place();
  matches_ = is_accepted;
  if (place == Place::opening) return true;
  if (place != Place::inside) progress_.reset();
  if (place == Place::absent) return is_accepted;
  matches_ = true;
  if (!was_thinking) matcher_->xgrammar.Reset();  // it may have taken the opening for the answer
  return ends_in_time;
}

bool OutputMatcher::accept(int32_t token) {
  error_ = nullptr;
  bool accepted = false;
  if (!is_thinking() && matches_) {
    seconds_left_ += kSecondsPerToken;
    if (!call([&] { accepted = matcher_->xgrammar.AcceptToken(token); })) {
      if (grammar_->is_too_slow) error_ = kTooLong;
      return false;
    }
  }
  return progress_ ? think(token, accepted) : accepted;
}

bool OutputMatcher::ended() const { return matches_ && matcher_->xgrammar.IsTerminated(); }

}  // namespace packhorse
