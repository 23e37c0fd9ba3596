#include "app/server/parsers/tool_stage.h"

#include <algorithm>
#include <utility>

#include "app/server/parsers/json_scanner.h"

namespace packhorse::server {

namespace {

std::vector<std::string_view> markers_of(const ToolFamily& family) {
  auto markers = family.starts;
  markers.insert(markers.end(), family.openers.begin(), family.openers.end());
  markers.insert(markers.end(), family.closers.begin(), family.closers.end());
  return markers;
}

}  // namespace

ToolStage::ToolStage(const ToolFamily& family, IdStyle ids, std::string_view tools)
    : family_(family), schemas_(tools), markers_(markers_of(family)), sink_(ids) {}

void ToolStage::add(std::string_view text, OutputDelta& out) {
  for (const char c : text) reader_ ? read(c, out) : scan(c, out);
  sink_.move_to(out);
}

void ToolStage::scan(char c, OutputDelta& out) {
  if (begins_ && family_.bare && c == family_.bare && !markers_.holds()) {
    begin("");
    return read(c, out);
  }
  text_.clear();
  const int marker = markers_.feed(c, text_);
  content(text_, out);
  if (marker < 0) return;
  const auto i = static_cast<size_t>(marker);
  const size_t n_starts = family_.starts.size(), n_openers = family_.openers.size();
  if (i < n_starts) return begin(family_.starts[i]);
  begins_ = false;
  if (i < n_starts + n_openers) {
    pending_ += family_.openers[i - n_starts];
    pends_ = true;
  } else if (sink_.n_calls() > 0) {
    pending_.clear();
  } else {
    content(family_.closers[i - n_starts - n_openers], out);
  }
}

void ToolStage::begin(std::string_view start) {
  reader_ = family_.reader(start, schemas_);
  unread_ = std::exchange(pending_, {});
  unread_ += start;
  pends_ = true;
  begins_ = false;
}

void ToolStage::read(char c, OutputDelta& out) {
  unread_.push_back(c);
  const auto state = reader_->feed(c, sink_);
  if (sink_.took()) unread_.clear();
  if (state == CallReader::State::more) return;
  reader_.reset();
  const std::string unread = std::exchange(unread_, {});
  if (state == CallReader::State::past) {
    for (const char again : unread) scan(again, out);
  } else if (state == CallReader::State::broken) {
    // The byte that broke it may begin a call itself.
    release(std::string_view(unread).substr(0, unread.size() - 1), out);
    scan(c, out);
  }
}

void ToolStage::content(std::string_view text, OutputDelta& out) {
  if (text.empty()) return;
  const bool solid = !std::all_of(text.begin(), text.end(), is_blank);
  if (solid) begins_ = false;
  if (pends_ && !solid) {
    pending_ += text;
  } else {
    release(text, out);
  }
}

void ToolStage::release(std::string_view text, OutputDelta& out) {
  if (text.empty()) return;
  out.content += std::exchange(pending_, {});
  out.content += text;
  pends_ = false;
}

void ToolStage::finish(OutputDelta& out) {
  if (reader_ && !reader_->finish(sink_) && !family_.is_constrained) release(unread_, out);
  reader_.reset();
  content(markers_.take(), out);
  if (sink_.n_calls() == 0) release(std::exchange(pending_, {}), out);
  sink_.move_to(out);
}

NamedCallStage::NamedCallStage(std::string name, IdStyle ids) : name_(std::move(name)), sink_(ids) {}

void NamedCallStage::add(std::string_view text, OutputDelta& out) {
  if (text.empty()) return;
  if (sink_.n_calls() == 0) sink_.begin(name_);
  sink_.arguments(text);
  sink_.move_to(out);
}

}  // namespace packhorse::server
