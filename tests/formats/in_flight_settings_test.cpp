// The keys that methods in flight list are those that they obey.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "formats/format.h"

namespace packhorse {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

/// What the methods of a row say to a key with a value that no key can have, one line for each name.
std::vector<std::string> answers(const Format& format, const std::string& key) {
  std::vector<std::string_view> names(format.aliases.begin(), format.aliases.end());
  names.push_back(format.name);
  std::vector<std::string> out;
  for (const std::string_view name : names) {
    try {
      out.push_back(
          format.check_in_flight({{"quant_method", name}, {key, {{"no", Json::array({{{"such", "value"}}})}}}}));
    } catch (const Error& e) {
      out.emplace_back(e.what());
    }
  }
  return out;
}

TEST(InFlightSettings, AreTakenAsListed) {
  int n_keys = 0;
  for (const Format* format : formats()) {
    if (!format->in_flight) continue;
    for (const std::string_view key : format->settings) {
      // A name may leave out what others of its row take.
      EXPECT_THAT(answers(*format, std::string(key)), Contains(Not(HasSubstr("no setting")))) << format->name;
      n_keys += 1;
    }
    if (format->settings.empty()) continue;
    EXPECT_THAT(answers(*format, "no_such_key"), Contains(HasSubstr("no_such_key"))) << format->name;
  }
  EXPECT_GE(n_keys, 9);  // of bitsandbytes and deepspeedfp alone
}

}  // namespace
}  // namespace packhorse
