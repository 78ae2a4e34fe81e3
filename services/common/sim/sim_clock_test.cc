#include "services/common/sim/sim_clock.h"

#include <gtest/gtest.h>

namespace fulmar::sim {
namespace {

TEST(SimClockTest, StandsStillUntilItIsMoved) {
  SimClock clock;
  const absl::Time wall = clock.Now();
  const absl::Duration steady = clock.Steady();
  EXPECT_EQ(clock.Now(), wall);

  clock.Advance(absl::Milliseconds(1500));

  EXPECT_EQ(clock.Now() - wall, absl::Milliseconds(1500));
  EXPECT_EQ(clock.Steady() - steady, absl::Milliseconds(1500));
}

TEST(SimClockTest, BeginsAtTheSameTimeEachRun) {
  EXPECT_EQ(absl::FormatTime(SimClock().Now(), absl::UTCTimeZone()), "2026-01-01T00:00:00+00:00");
}

TEST(SimClockTest, AJumpMovesTheWallAlone) {
  SimClock clock;
  const absl::Time wall = clock.Now();
  const absl::Duration steady = clock.Steady();

  clock.JumpWall(-absl::Hours(48));

  EXPECT_EQ(clock.Now() - wall, -absl::Hours(48));
  EXPECT_EQ(clock.Steady(), steady);
}

TEST(SimClockDeathTest, TheSteadyClockDoesNotGoBack) {
  SimClock clock;
  EXPECT_DEATH(clock.Advance(-absl::Nanoseconds(1)), "does not go back");
}

}  // namespace
}  // namespace fulmar::sim
