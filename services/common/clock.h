#ifndef FULMAR_COMMON_CLOCK_H_
#define FULMAR_COMMON_CLOCK_H_

#include "absl/time/time.h"

namespace fulmar::common {

// Where the core learns the time. Real: SystemClock (system_clock.h). Simulated: SimClock (sim/sim_clock.h).
// Threads: any.
class Clock {
 public:
  virtual ~Clock() = default;

  // Wall time, for stamps that are stored or shown and for times that must survive a restart. May jump.
  virtual absl::Time Now() const = 0;

  // Time since an arbitrary start, never goes back. For deadlines and leases inside one process.
  virtual absl::Duration Steady() const = 0;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_CLOCK_H_
