#ifndef FULMAR_COMMON_SIM_SIM_CLOCK_H_
#define FULMAR_COMMON_SIM_SIM_CLOCK_H_

#include <atomic>
#include <cstdint>

#include "services/common/clock.h"

namespace fulmar::sim {

// Time that stands still until a test moves it. Begins at 2026-01-01 00:00 UTC and one hour of uptime.
// Threads: any.
class SimClock final : public common::Clock {
 public:
  SimClock();

  absl::Time Now() const override;
  absl::Duration Steady() const override;

  // Both clocks go on by `time`, which is not negative. Timers of a SimScheduler fire when that runs next.
  void Advance(absl::Duration time);
  // The wall clock alone is set forward or back, as an operator or NTP does it.
  void JumpWall(absl::Duration by);

 private:
  std::atomic<int64_t> steady_nanos_;
  std::atomic<int64_t> wall_minus_steady_nanos_;  // since the epoch
};

}  // namespace fulmar::sim

#endif  // FULMAR_COMMON_SIM_SIM_CLOCK_H_
