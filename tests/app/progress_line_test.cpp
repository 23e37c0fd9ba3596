#include "app/cli/progress_line.h"

#include <gtest/gtest.h>

namespace packhorse::cli {
namespace {

TEST(ProgressText, bytes_share_speed_and_time_left) {
  const Progress p{.what = "Loading weights", .done = 41'200'000, .total = 91'700'000, .seconds = 0.1};
  EXPECT_EQ(progress_text(p, 200), "Loading weights   44% [########            ] 41.2/91.7 MB");
  Progress later = p;
  later.first_done = 1'200'000, later.seconds = 2;
  EXPECT_EQ(progress_text(later, 200),
            "Loading weights   44% [########            ] 41.2/91.7 MB, 20.0 MB/s, 0:02 left");
  later.seconds = 4000;
  EXPECT_EQ(progress_text(later, 200),
            "Loading weights   44% [########            ] 41.2/91.7 MB, 10.0 kB/s, 1:24:10 left");
}

TEST(ProgressText, things) {
  const Progress p{.what = "Scoring", .done = 512, .total = 4096, .seconds = 2, .counts_bytes = false};
  EXPECT_EQ(progress_text(p, 200), "Scoring           12% [##                  ] 512/4096, 256/s, 0:14 left");
}

TEST(ProgressText, fits_the_width) {
  const Progress p{.what = "Loading weights", .done = 1, .total = 3};
  EXPECT_EQ(progress_text(p, 30), "Loading weights   33% 1.0/3.0 ");
  EXPECT_EQ(progress_text(p, 40), "Loading weights   33% 1.0/3.0 B");
  EXPECT_EQ(progress_text(p, 0), "");
}

TEST(ProgressText, odd_counts) {
  EXPECT_EQ(progress_text({.what = "x", .done = 5, .total = 0}, 16), "x               ");
  EXPECT_EQ(progress_text({.what = "x", .done = 9, .total = 3}, 80),
            "x                100% [####################] 3.0/3.0 B");
  EXPECT_EQ(progress_text({.what = "x", .done = 999, .total = 1000}, 80),
            "x                 99% [################### ] 1.0/1.0 kB");
}

}  // namespace
}  // namespace packhorse::cli
