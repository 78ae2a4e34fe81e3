#include "services/common/system_clock.h"

#include <chrono>

#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

TEST(SystemClockTest, ShowsTheMachinesClocks) {
  const SystemClock clock;
  const absl::Time wall_before = absl::FromChrono(std::chrono::system_clock::now());
  const absl::Duration steady_before = absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());

  const absl::Time wall = clock.Now();
  const absl::Duration steady = clock.Steady();

  EXPECT_GE(wall, wall_before);
  EXPECT_LE(wall, absl::FromChrono(std::chrono::system_clock::now()));
  EXPECT_GE(steady, steady_before);
  EXPECT_LE(steady, absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()));
}

}  // namespace
}  // namespace fulmar::common
