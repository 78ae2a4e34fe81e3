#ifndef FULMAR_INDEX_MANUAL_EXECUTOR_H_
#define FULMAR_INDEX_MANUAL_EXECUTOR_H_

#include <deque>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/common/executor.h"

namespace fulmar::index {

// For tests whose tasks come from RocksDB's own threads, where a SimExecutor cannot be used: tasks run when the test says so.
class ManualExecutor : public common::Executor {
 public:
  void Post(Task task) override {
    absl::MutexLock lock(&mutex_);
    posted_.push_back(std::move(task));
  }
  TimerId After(absl::Duration delay, Task task) override {
    absl::MutexLock lock(&mutex_);
    timers_.emplace_back(delay, std::move(task));
    return ++last_timer_;
  }
  void Cancel(TimerId) override {}
  bool IsCurrent() const override { return true; }

  // Runs what is posted; with `timers` also each timer that is set now, whatever its delay. Answers how many ran.
  int Run(bool timers = false) {
    std::vector<Task> tasks;
    {
      absl::MutexLock lock(&mutex_);
      for (Task& task : posted_) tasks.push_back(std::move(task));
      posted_.clear();
      if (timers) {
        for (auto& [delay, task] : timers_) tasks.push_back(std::move(task));
        timers_.clear();
      }
    }
    for (Task& task : tasks) std::move(task)();
    return static_cast<int>(tasks.size());
  }
  std::vector<absl::Duration> TimerDelays() const {
    absl::MutexLock lock(&mutex_);
    std::vector<absl::Duration> delays;
    for (const auto& [delay, task] : timers_) delays.push_back(delay);
    return delays;
  }

 private:
  mutable absl::Mutex mutex_;
  std::deque<Task> posted_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<absl::Duration, Task>> timers_ ABSL_GUARDED_BY(mutex_);
  TimerId last_timer_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_MANUAL_EXECUTOR_H_
