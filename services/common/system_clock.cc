#include "services/common/system_clock.h"

#include <ctime>

#include "absl/time/clock.h"

namespace fulmar::common {

absl::Time SystemClock::Now() const { return absl::Now(); }

absl::Duration SystemClock::Steady() const {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

}  // namespace fulmar::common
