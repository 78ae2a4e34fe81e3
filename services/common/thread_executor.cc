#include "services/common/thread_executor.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>

#include "services/common/status.h"

// Why no wake-up is lost, and nothing runs twice at a time.
//
// 1. Tasks run only between `running_ = true` and `running_ = false`, both under the lock, and only by the thread that set
//    it. It swaps out all of posted_ and finishes that batch before it lets go, so the order of posting is the order of
//    running, whoever runs.
// 2. Whenever the lock is free, each of these is true or somebody is already on the way to make it true:
//    a) posted_ is empty, or a thread runs tasks, or our own thread is awake, or the helper has promised a call of Help();
//    b) no timer is earlier than sleeping_until_, or a thread runs tasks, or our own thread is awake.
//    - Post() and After() see under the lock which of these holds and wake our thread (or get a promise) if none does.
//      A poster that asks the helper has let go of the lock meanwhile, and looks again if it got no promise.
//    - Whoever runs tasks looks again under the lock before it sets running_ to false, and wakes our own thread for what it
//      leaves behind. Our own thread, when it finds tasks being run by the helper, sleeps until "never": so the helper's
//      look finds every timer earlier than that.
//    - The helper's promise is kept by the helper (CqExecutor has the argument), or taken back by SetHelper(nullptr), which
//      looks again when no poster can get a promise any more.
// 3. Stop() is seen by our own thread only: Help() does nothing from then on but end the turn that it is in, and wakes our
//    thread, which runs the rest.

namespace fulmar::common {
namespace {

// The helper has work of its own to do.
constexpr std::chrono::microseconds kLongestHelp{500};

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
  if (running_ || !sleeping_) return;
  if (helper_ == nullptr) return WakeLocked(lock);

  wakers_.fetch_add(1, std::memory_order_relaxed);
  Helper* const helper = helper_;
  lock.unlock();
  if (!helper->WillHelp()) {
    lock.lock();
    if (!running_ && !posted_.empty()) WakeLocked(lock);
    if (lock.owns_lock()) lock.unlock();
  }
  wakers_.fetch_sub(1, std::memory_order_release);
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
  if (!running_ && sleeping_ && due < sleeping_until_) WakeLocked(lock);
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

bool ThreadExecutor::IsCurrent() const { return CurrentExecutor::Get() == this; }

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

void ThreadExecutor::SetHelper(Helper* helper) {
  FULMAR_CHECK(!IsCurrent(), "a task of the executor cannot change its helper");
  std::unique_lock lock(mutex_);
  helper_ = helper;
  if (helper != nullptr) return;
  lock.unlock();
  while (wakers_.load(std::memory_order_acquire) > 0) std::this_thread::yield();
  lock.lock();
  if (!running_ && !posted_.empty()) WakeLocked(lock);
}

bool ThreadExecutor::Help() {
  std::unique_lock lock(mutex_);
  if (running_ || stopping_) return false;
  if (posted_.empty() && timers_.empty()) return false;
  const SteadyTime begin = std::chrono::steady_clock::now();
  const auto has_work = [this](SteadyTime now) { return !posted_.empty() || (!timers_.empty() && timers_.begin()->first.first <= now); };
  if (!has_work(begin)) return false;

  const CurrentExecutor current(this);
  running_ = true;
  SteadyTime now = begin;
  do {
    RunTurn(lock);
    now = std::chrono::steady_clock::now();
  } while (has_work(now) && !stopping_ && now - begin < kLongestHelp);
  running_ = false;
  if (stopping_ || !posted_.empty() || (!timers_.empty() && timers_.begin()->first.first < sleeping_until_)) WakeLocked(lock);
  return true;
}

void ThreadExecutor::Run() {
  const CurrentExecutor current(this);
  NameThisThread(name_);
  std::unique_lock lock(mutex_);
  while (true) {
    Sleep(lock);
    const bool last = stopping_;
    running_ = true;
    RunTurn(lock);
    running_ = false;
    if (last) break;
  }
  // Dropped here and not by the destructor, so that what timers captured dies on the thread that owns it.
  auto timers = std::move(timers_);
  timers_.clear();
  timer_times_.clear();
  lock.unlock();
}

void ThreadExecutor::RunTurn(std::unique_lock<std::mutex>& lock) {
  batch_.swap(posted_);
  lock.unlock();
  for (Task& task : batch_) {
    std::move(task)();
    task = nullptr;  // what it captured goes now, not with the batch
  }
  batch_.clear();
  lock.lock();
  RunDueTimers(lock);
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
  while (true) {
    sleeping_until_ = SteadyTime::max();
    if (!running_) {
      if (!posted_.empty() || stopping_) return;
      // A copy: while the lock is let go, another thread may move the map's nodes.
      if (!timers_.empty()) sleeping_until_ = timers_.begin()->first.first;
      if (sleeping_until_ <= std::chrono::steady_clock::now()) return;
    }
    sleeping_ = true;
    if (sleeping_until_ == SteadyTime::max()) {
      wake_.wait(lock);
    } else {
      const SteadyTime until = sleeping_until_;  // a copy, as above
      wake_.wait_until(lock, until);
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
