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

// A thread that has a loop of its own and runs a ThreadExecutor's tasks between two of its events, so that a command which
// comes and goes through that loop costs no wake-up of another thread.
class Helper {
 public:
  virtual ~Helper() = default;
  // Any thread; takes no lock of an executor. True is a promise: a call of Help() begins after this one. On the helper's own
  // thread it has only to be remembered; of a helper that sleeps it means that it was woken. False: somebody else must run
  // the tasks.
  virtual bool WillHelp() = 0;
};

// An Executor that is one thread of its own, started by the constructor.
// Owns:    the thread, the tasks. A task that will never run is destroyed, on the thread that dropped it.
// Threads: as Executor says. Post() takes a short lock and wakes the thread only if it sleeps, so that a burst of
//          posts costs one system call; the thread takes everything that waits in one go. The queue itself has no
//          bound: whoever posts on behalf of the outside counts what is under way and refuses at its own bound.
//          With a helper, tasks and timers run on the helper's thread or on this one, never on both at a time; order
//          and mutual exclusion are the same as without. IsCurrent() is true wherever they run.
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

  // Borrows the helper; null: none. When it returns, the helper before is not called again, and what it had promised to
  // run is run. Any thread, one at a time; never from a task of this executor.
  void SetHelper(Helper* helper);
  // On the helper's thread, outside of tasks of this executor: runs what waits, and timers that are due, unless somebody
  // is at it. What takes too long is left to this executor's own thread. True when anything ran.
  bool Help();

  const std::string& name() const { return name_; }

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  void Run();
  // Runs what was posted until now and then the timers that are due. With the lock held before and after, and running_.
  void RunTurn(std::unique_lock<std::mutex>& lock);
  // One by one: a task may cancel the next one.
  void RunDueTimers(std::unique_lock<std::mutex>& lock);
  // Waits until something is to be done and nobody is at it. With the lock held before and after.
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
  Helper* helper_ = nullptr;                                       // guarded by mutex_
  bool running_ = false;                                           // guarded by mutex_; a thread runs tasks
  bool sleeping_ = false;                                          // guarded by mutex_; our own thread, and nobody has woken it
  SteadyTime sleeping_until_;                                      // guarded by mutex_
  bool stopping_ = false;                                          // guarded by mutex_
  std::vector<Task> batch_;    // of the thread that runs tasks
  std::atomic<int> wakers_{0};  // inside notify_one() or WillHelp() without the lock; the destructor waits for them

  std::mutex join_mutex_;
  std::thread thread_;  // guarded by join_mutex_ after construction; last, so that it starts on a complete object
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_THREAD_EXECUTOR_H_
