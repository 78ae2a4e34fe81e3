#include "services/common/thread_executor.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>

#include "services/common/status.h"

namespace fulmar::common {
namespace {

// Which executor's task runs on this thread; cheaper to ask than the thread's id.
thread_local const Executor* current_executor = nullptr;

void NameThisThread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

}  // namespace

ThreadExecutor::ThreadExecutor(std::string name) : name_(std::move(name)), thread_([this] { Run(); }) {}

ThreadExecutor::~ThreadExecutor() {
  Stop();
  // A poster whose task has run already, and told somebody to destroy us, may not have come back from notify_one().
  while (wakers_.load(std::memory_order_acquire) > 0) std::this_thread::yield();
}

void ThreadExecutor::Post(Task task) {
  std::unique_lock lock(mutex_);
  if (stopping_) {
    lock.unlock();  // `task` dies at the end of this call; what it captured may post again
    return;
  }
  posted_.push_back(std::move(task));
  WakeLocked(lock);
}

Executor::TimerId ThreadExecutor::After(absl::Duration delay, Task task) {
  // A delay that overflows the clock means "never"; half the clock's range is 146 years.
  constexpr absl::Duration kNever = absl::Hours(24 * 365 * 100);
  const SteadyTime due = std::chrono::steady_clock::now() +
                         absl::ToChronoNanoseconds(std::clamp(delay, absl::ZeroDuration(), kNever));

  std::unique_lock lock(mutex_);
  const TimerId id = ++last_timer_;
  if (stopping_) {
    lock.unlock();
    return id;
  }
  timers_.emplace(std::make_pair(due, id), std::move(task));
  timer_times_.emplace(id, due);
  if (timers_.begin()->first.second == id) WakeLocked(lock);
  return id;
}

void ThreadExecutor::Cancel(TimerId timer) {
  FULMAR_CHECK(IsCurrent(), "a timer is cancelled on its own executor only");
  Task dropped;  // destroyed after the unlock
  const std::unique_lock lock(mutex_);
  const auto found = timer_times_.find(timer);
  if (found == timer_times_.end()) return;
  const auto entry = timers_.find({found->second, timer});
  dropped = std::move(entry->second);
  timers_.erase(entry);
  timer_times_.erase(found);
}

bool ThreadExecutor::IsCurrent() const { return current_executor == this; }

void ThreadExecutor::Stop() {
  FULMAR_CHECK(!IsCurrent(), "an executor cannot be stopped by its own task");
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    WakeLocked(lock);
  }
  const std::lock_guard join_lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

void ThreadExecutor::Run() {
  current_executor = this;
  NameThisThread(name_);
  std::vector<Task> batch;
  std::unique_lock lock(mutex_);
  while (true) {
    batch.swap(posted_);
    const bool last = stopping_;
    lock.unlock();
    for (Task& task : batch) {
      std::move(task)();
      task = nullptr;  // what it captured goes now, not with the batch
    }
    batch.clear();
    lock.lock();
    if (last) break;
    RunDueTimers(lock);
    Sleep(lock);
  }
  // Dropped here and not by the destructor, so that what timers captured dies on the thread that owns it.
  auto timers = std::move(timers_);
  timers_.clear();
  timer_times_.clear();
  lock.unlock();
}

void ThreadExecutor::RunDueTimers(std::unique_lock<std::mutex>& lock) {
  if (timers_.empty()) return;
  // Fixed before the first one runs: timers that set themselves anew with no delay do not starve the posted tasks.
  const SteadyTime now = std::chrono::steady_clock::now();
  const TimerId newest = last_timer_;
  while (!stopping_ && !timers_.empty()) {
    const auto first = timers_.begin();
    const auto [due, id] = first->first;
    if (due > now || id > newest) return;
    Task task = std::move(first->second);
    timers_.erase(first);
    timer_times_.erase(id);
    lock.unlock();
    std::move(task)();
    task = nullptr;
    lock.lock();
  }
}

void ThreadExecutor::Sleep(std::unique_lock<std::mutex>& lock) {
  while (posted_.empty() && !stopping_) {
    if (!timers_.empty() && timers_.begin()->first.first <= std::chrono::steady_clock::now()) return;
    sleeping_ = true;
    if (timers_.empty()) {
      wake_.wait(lock);
    } else {
      // A copy: while the lock is let go, another thread's After() may move the map's nodes.
      const SteadyTime next = timers_.begin()->first.first;
      wake_.wait_until(lock, next);
    }
    sleeping_ = false;
  }
}

void ThreadExecutor::WakeLocked(std::unique_lock<std::mutex>& lock) {
  if (!sleeping_) return;
  sleeping_ = false;  // the next poster sees that somebody has woken it already
  wakers_.fetch_add(1, std::memory_order_relaxed);
  lock.unlock();  // the woken thread finds the lock free
  wake_.notify_one();
  wakers_.fetch_sub(1, std::memory_order_release);
}

}  // namespace fulmar::common
