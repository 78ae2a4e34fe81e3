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

  // True on the thread that runs this executor's tasks, while it does.
  virtual bool IsCurrent() const = 0;
};

// Which executor's task runs on this thread. One answer for all executors that have a thread to run on: while a thread runs
// another executor's tasks for it (ThreadExecutor::Help), it is that executor's and not its own.
// For the implementations of executors; everybody else asks IsCurrent().
class CurrentExecutor {
 public:
  explicit CurrentExecutor(const Executor* executor) : outer_(current_) { current_ = executor; }
  ~CurrentExecutor() { current_ = outer_; }
  CurrentExecutor(const CurrentExecutor&) = delete;
  CurrentExecutor& operator=(const CurrentExecutor&) = delete;

  static const Executor* Get() { return current_; }

 private:
  static inline constinit thread_local const Executor* current_ = nullptr;
  const Executor* const outer_;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_EXECUTOR_H_
