#include "services/common/pool_executor.h"

#include <pthread.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"

namespace fulmar::common {
PoolExecutor::PoolExecutor(const std::string& name, int threads) {
  FULMAR_CHECK(threads > 0, "a pool needs a thread");
  absl::MutexLock lock(&join_mutex_);
  for (int i = 0; i < threads; ++i)
    threads_.emplace_back([this, thread_name = absl::StrCat(name.substr(0, 12), "-", i)] { Run(thread_name); });
}

PoolExecutor::~PoolExecutor() { Stop(); }

void PoolExecutor::Post(Task task) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;  // `task` is destroyed by the caller's full expression, after the unlock
  tasks_.push_back(std::move(task));
}

Executor::TimerId PoolExecutor::After(absl::Duration, Task) { FULMAR_CHECK(false, "a pool has no timers"); }

void PoolExecutor::Cancel(TimerId) { FULMAR_CHECK(false, "a pool has no timers"); }

bool PoolExecutor::IsCurrent() const { return CurrentExecutor::Get() == this; }

void PoolExecutor::Stop() {
  FULMAR_CHECK(!IsCurrent(), "a pool cannot be stopped by its own task");
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  absl::MutexLock join_lock(&join_mutex_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void PoolExecutor::Run(const std::string& thread_name) {
  const CurrentExecutor current(this);
  pthread_setname_np(pthread_self(), thread_name.substr(0, 15).c_str());
  while (true) {
    Task task;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &PoolExecutor::HasWork));
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    std::move(task)();
  }
}

}  // namespace fulmar::common
