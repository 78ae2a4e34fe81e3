#ifndef FULMAR_COMMON_EXECUTOR_H_
#define FULMAR_COMMON_EXECUTOR_H_

#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace fulmar::common {

// Runs tasks one after the other, in the order of their posting: a "thread" of the architecture.
// Real: ThreadExecutor (one std::thread with a role name). Simulated: SimExecutor (a queue of one event loop).
class Executor {
 public:
  using Task = absl::AnyInvocable<void() &&>;
  using TimerId = uint64_t;  // never 0

  virtual ~Executor() = default;

  // Any thread. Tasks posted after Stop() are destroyed without being run.
  virtual void Post(Task task) = 0;

  // Any thread. Runs `task` on this executor once, not before `delay` has passed on the steady clock.
  virtual TimerId After(absl::Duration delay, Task task) = 0;

  // On this executor only. A timer that was cancelled there never runs; unknown ids are ignored.
  virtual void Cancel(TimerId timer) = 0;

  // True on the thread that runs this executor's tasks.
  virtual bool IsCurrent() const = 0;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_EXECUTOR_H_
