#include "services/common/grpc/cq_executor.h"

#include <grpc/support/time.h>
#include <pthread.h>

#include <chrono>

#include "absl/synchronization/notification.h"

namespace fulmar::common {
namespace {

// Which executor's thread this is.
thread_local const CqExecutor* current_executor = nullptr;

int64_t SteadyNanos() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

gpr_timespec DeadlineIn(int64_t nanos) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(nanos, GPR_TIMESPAN));
}

}  // namespace

CqExecutor::CqExecutor(std::string name, std::unique_ptr<grpc::ServerCompletionQueue> queue) : name_(std::move(name)), queue_(std::move(queue)) {}

CqExecutor::~CqExecutor() { Stop(); }

void CqExecutor::Start() {
  thread_ = std::thread([this] { Run(); });
  absl::MutexLock lock(&mutex_);
  started_ = true;
  if (!posted_.empty()) WakeLocked();
}

void CqExecutor::Stop() {
  bool started = false;
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    started = started_;
  }
  if (started) {
    // What was posted before may ask for calls or answer them, which gRPC takes only while the queue is open.
    absl::Notification drained;
    Post([&drained] { drained.Notify(); });
    drained.WaitForNotification();
  }
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  // Nobody arms the alarm from here on; one that is armed still comes out of the queue.
  queue_->Shutdown();
  if (started) thread_.join();
  else Run();
  std::vector<Task> dropped;
  {
    absl::MutexLock lock(&mutex_);
    dropped.swap(posted_);
  }
  timers_.clear();
}

void CqExecutor::Post(Task task) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;  // destroyed here
  posted_.push_back(std::move(task));
  if (started_ && !waking_) WakeLocked();
}

void CqExecutor::WakeLocked() {
  waking_ = true;
  wake_.alarm.Set(queue_.get(), gpr_time_0(GPR_CLOCK_MONOTONIC), &wake_);
}

Executor::TimerId CqExecutor::After(absl::Duration delay, Task task) {
  const int64_t due = SteadyNanos() + absl::ToInt64Nanoseconds(delay);
  TimerId id = 0;
  {
    absl::MutexLock lock(&mutex_);
    id = ++last_timer_;
  }
  const auto add = [this, due, id](Task timer_task) {
    timers_.emplace(std::pair(due, id), std::move(timer_task));
    timer_times_[id] = due;
  };
  if (IsCurrent()) add(std::move(task));
  else Post([add, task = std::move(task)]() mutable { add(std::move(task)); });
  return id;
}

void CqExecutor::Cancel(TimerId timer) {
  const auto found = timer_times_.find(timer);
  if (found == timer_times_.end()) return;
  timers_.erase({found->second, timer});
  timer_times_.erase(found);
}

bool CqExecutor::IsCurrent() const { return current_executor == this; }

void CqExecutor::Run() {
  const CqExecutor* const outer = std::exchange(current_executor, this);
  if (outer == nullptr) pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  for (;;) {
    void* tag = nullptr;
    bool ok = false;
    const gpr_timespec deadline = timers_.empty() ? gpr_inf_future(GPR_CLOCK_MONOTONIC) : DeadlineIn(timers_.begin()->first.first - SteadyNanos());
    switch (queue_->AsyncNext(&tag, &ok, deadline)) {
      case grpc::CompletionQueue::GOT_EVENT: static_cast<CqTag*>(tag)->Run(ok); break;
      case grpc::CompletionQueue::TIMEOUT: break;
      case grpc::CompletionQueue::SHUTDOWN:
        RunPosted();
        current_executor = outer;
        return;
    }
    if (!timers_.empty()) RunDueTimers();
  }
}

void CqExecutor::RunPosted() {
  {
    absl::MutexLock lock(&mutex_);
    waking_ = false;
    running_.swap(posted_);
  }
  for (Task& task : running_) std::move(task)();
  running_.clear();
}

void CqExecutor::RunDueTimers() {
  // Only those due at the beginning: a timer that sets itself anew for now must not keep the queue from being polled.
  const int64_t now = SteadyNanos();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto timer = timers_.extract(timers_.begin());
    timer_times_.erase(timer.key().second);
    std::move(timer.mapped())();
  }
}

}  // namespace fulmar::common
