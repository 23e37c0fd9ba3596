#include "app/server/parsers/marker_matcher.h"

#include <utility>

namespace packhorse::server {

MarkerMatcher::MarkerMatcher(std::vector<std::string_view> markers) : markers_(std::move(markers)) {
  for (const auto marker : markers_) begins_[static_cast<unsigned char>(marker.front())] = true;
}

int MarkerMatcher::feed(char c, std::string& text) {
  if (held_.empty() && !begins_[static_cast<unsigned char>(c)]) {
    text.push_back(c);
    return -1;
  }
  held_.push_back(c);
  while (!held_.empty()) {
    int which = -1;
    const Match match = match_held(which);
    if (match == Match::prefix) break;
    if (match == Match::whole) {
      held_.clear();
      return which;
    }
    text.push_back(held_.front());
    held_.erase(0, 1);
  }
  return -1;
}

std::string MarkerMatcher::take() { return std::exchange(held_, {}); }

MarkerMatcher::Match MarkerMatcher::match_held(int& which) const {
  Match best = Match::none;
  for (size_t i = 0; i < markers_.size(); ++i) {
    if (!markers_[i].starts_with(held_)) continue;
    if (markers_[i].size() == held_.size()) {
      which = static_cast<int>(i);
      return Match::whole;
    }
    best = Match::prefix;
  }
  return best;
}

}  // namespace packhorse::server
