#ifndef FULMAR_COMMON_POOL_EXECUTOR_H_
#define FULMAR_COMMON_POOL_EXECUTOR_H_

#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/common/executor.h"

namespace fulmar::common {

// A few threads for independent, blocking tasks such as reads of cold segments. It can stand where an Executor is
// wanted that only gets Post(); tasks begin in the order of posting but run side by side, and After() and Cancel()
// stop the process.
// Owns: the threads, the tasks. The queue has no bound of its own, see ThreadExecutor.
class PoolExecutor final : public Executor {
 public:
  // The threads are called "<name>-0", "<name>-1", ...
  PoolExecutor(const std::string& name, int threads);
  ~PoolExecutor() override;  // Stop()
  PoolExecutor(const PoolExecutor&) = delete;
  PoolExecutor& operator=(const PoolExecutor&) = delete;

  void Post(Task task) override;
  TimerId After(absl::Duration delay, Task task) override;
  void Cancel(TimerId timer) override;
  bool IsCurrent() const override;  // on any of its threads

  // Runs what was posted before, drops what is posted from now on, ends the threads. Twice is fine; never from a task.
  void Stop();

 private:
  void Run(const std::string& thread_name);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !tasks_.empty(); }

  absl::Mutex mutex_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  absl::Mutex join_mutex_;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(join_mutex_);
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_POOL_EXECUTOR_H_
