#ifndef FULMAR_COMMON_THREAD_EXECUTOR_H_
#define FULMAR_COMMON_THREAD_EXECUTOR_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "services/common/executor.h"

namespace fulmar::common {

// An Executor that is one thread of its own, started by the constructor.
// Owns:    the thread, the tasks. A task that will never run is destroyed, on the thread that dropped it.
// Threads: as Executor says. Post() takes a short lock and wakes the thread only if it sleeps, so that a burst of
//          posts costs one system call; the thread takes everything that waits in one go. The queue itself has no
//          bound: whoever posts on behalf of the outside counts what is under way and refuses at its own bound.
class ThreadExecutor final : public Executor {
 public:
  // `name` is what `top -H` and gdb show; the kernel keeps the first 15 characters.
  explicit ThreadExecutor(std::string name);
  ~ThreadExecutor() override;  // Stop()
  ThreadExecutor(const ThreadExecutor&) = delete;
  ThreadExecutor& operator=(const ThreadExecutor&) = delete;

  void Post(Task task) override;
  TimerId After(absl::Duration delay, Task task) override;
  void Cancel(TimerId timer) override;
  bool IsCurrent() const override;

  // Runs what was posted before, drops timers and what is posted from now on, and ends the thread. Twice is fine.
  // Never from a task of this executor.
  void Stop();

  const std::string& name() const { return name_; }

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  void Run();
  // Runs the timers that are due, one by one: a task may cancel the next one. With the lock held before and after.
  void RunDueTimers(std::unique_lock<std::mutex>& lock);
  // Waits until something is to be done. With the lock held before and after.
  void Sleep(std::unique_lock<std::mutex>& lock);
  void WakeLocked(std::unique_lock<std::mutex>& lock);

  // std::mutex and not absl::Mutex: absl's condition variable waits on the wall clock, which may jump.
  const std::string name_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Task> posted_;                                       // guarded by mutex_
  absl::btree_map<std::pair<SteadyTime, TimerId>, Task> timers_;   // guarded by mutex_; equal times in order of After()
  absl::flat_hash_map<TimerId, SteadyTime> timer_times_;           // guarded by mutex_
  TimerId last_timer_ = 0;                                         // guarded by mutex_
  bool sleeping_ = false;                                          // guarded by mutex_
  bool stopping_ = false;                                          // guarded by mutex_
  std::atomic<int> wakers_{0};  // inside notify_one() without the lock; the destructor waits for them

  std::mutex join_mutex_;
  std::thread thread_;  // guarded by join_mutex_ after construction; last, so that it starts on a complete object
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_THREAD_EXECUTOR_H_
