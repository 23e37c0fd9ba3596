#include "engine/stop_strings.h"

#include <gtest/gtest.h>

#include <random>
#include <string_view>

namespace packhorse {
namespace {

struct Found {
  size_t end = 0;
  int32_t index = -1;
  bool operator==(const Found&) const = default;
};

Found find_first(const StopStrings& stops, std::string_view text) {
  int32_t state = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    state = stops.advance(state, text[i]);
    if (stops.match(state) >= 0) return {i + 1, stops.match(state)};
  }
  return {};
}

TEST(StopStrings, AgreesWithSearchingEachString) {
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    const auto word = [&](size_t max) {
      std::string out;
      for (size_t i = 1 + random() % max; i-- > 0;) out.push_back(static_cast<char>('a' + random() % 2));
      return out;
    };
    std::vector<std::string> strings;
    for (size_t i = 1 + random() % 4; i-- > 0;) strings.push_back(word(6));
    const std::string text = word(20);
    Found expected;
    for (size_t end = 1; end <= text.size() && expected.index < 0; ++end) {
      for (size_t i = 0; i < strings.size() && expected.index < 0; ++i) {
        if (std::string_view(text).substr(0, end).ends_with(strings[i])) expected = {end, static_cast<int32_t>(i)};
      }
    }
    const StopStrings stops(strings);
    ASSERT_EQ(find_first(stops, text), expected) << text;
    int32_t state = 0;
    size_t pending = 0;
    for (const char byte : text) state = stops.advance(state, byte);
    for (const std::string& s : strings) {
      for (size_t n = 1; n <= std::min(s.size(), text.size()); ++n) {
        if (text.ends_with(s.substr(0, n))) pending = std::max(pending, n);
      }
    }
    ASSERT_EQ(stops.n_pending(state), pending) << text;
  }
}

TEST(StopStrings, fault_085_matching_is_linear) {
  std::vector<std::string> strings;
  for (size_t n = 1; n <= 360; ++n) strings.push_back(std::string(n, 'a') + "b");
  const StopStrings stops(strings);
  EXPECT_EQ(find_first(stops, std::string(20'000'000, 'a')), Found{});  // what reads again at each byte never ends
}

}  // namespace
}  // namespace packhorse
