#include "services/common/sim/sim_clock.h"

#include "services/common/status.h"

namespace fulmar::sim {
namespace {

constexpr int64_t kStartWallSeconds = 1'767'225'600;  // 2026-01-01 00:00 UTC
constexpr int64_t kStartSteadySeconds = 3600;
constexpr int64_t kNanos = 1'000'000'000;

}  // namespace

SimClock::SimClock()
    : steady_nanos_(kStartSteadySeconds * kNanos),
      wall_minus_steady_nanos_((kStartWallSeconds - kStartSteadySeconds) * kNanos) {}

absl::Time SimClock::Now() const { return absl::FromUnixNanos(steady_nanos_ + wall_minus_steady_nanos_); }

absl::Duration SimClock::Steady() const { return absl::Nanoseconds(steady_nanos_.load()); }

void SimClock::Advance(absl::Duration time) {
  FULMAR_CHECK(time >= absl::ZeroDuration(), "the steady clock does not go back");
  steady_nanos_ += absl::ToInt64Nanoseconds(time);
}

void SimClock::JumpWall(absl::Duration by) { wall_minus_steady_nanos_ += absl::ToInt64Nanoseconds(by); }

}  // namespace fulmar::sim
