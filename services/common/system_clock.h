#ifndef FULMAR_COMMON_SYSTEM_CLOCK_H_
#define FULMAR_COMMON_SYSTEM_CLOCK_H_

#include "services/common/clock.h"

namespace fulmar::common {

// The machine's clocks: CLOCK_REALTIME and CLOCK_MONOTONIC. Only main() and the edge make one.
class SystemClock final : public Clock {
 public:
  absl::Time Now() const override;
  absl::Duration Steady() const override;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_SYSTEM_CLOCK_H_
