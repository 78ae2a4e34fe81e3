#include "services/common/grpc/cq_executor.h"

#include <grpc/support/time.h>
#include <pthread.h>
#include <time.h>

#include <chrono>

#include "absl/synchronization/notification.h"
#include "services/common/status.h"

// Why no task is forgotten. The thread goes round: look at posted_ and help (RunWaiting), wait for the queue, run what came out of it.
// idle_ is set under the lock together with the last look at posted_, and cleared by the thread when it comes back from the queue.
//
// - Post() that finds idle_ arms the alarm, so the queue gives something out and the thread looks. Post() that does not find it
//   comes before the thread's last look. The same holds for the thread's own posts, also of those while it helps.
// - WillHelp() that finds idle_ arms the alarm too, and a look helps. When the thread is not idle, only the thread itself gets a
//   promise, since nothing but a look lies between that call and the next wait; all others may have missed the last Help() and are
//   sent to the helped executor's own thread.
// - has_time_ goes to false only after Help() and before the thread runs anything else or waits: no promise is open then that was
//   given to the thread itself. One that was given to others while it waited (idle_) is kept by the look that follows that wait,
//   before which has_time_ does not change.
// - StopHelping() takes the promises back at the helped executor.

namespace fulmar::common {
namespace {

// Which executor's loop runs on this thread, whatever it runs at the moment.
thread_local const CqExecutor* current_loop = nullptr;

// With more waiting after so many turns the queue gets its turn.
constexpr int kMostTurns = 16;

int64_t SteadyNanos() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int64_t CpuNanos() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

gpr_timespec DeadlineIn(int64_t nanos) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(nanos, GPR_TIMESPAN));
}

}  // namespace

CqExecutor::CqExecutor(std::string name, std::unique_ptr<grpc::ServerCompletionQueue> queue) : name_(std::move(name)), queue_(std::move(queue)) {}

CqExecutor::~CqExecutor() { Stop(); }

void CqExecutor::Start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
    Run();
  });
  absl::MutexLock lock(&mutex_);
  started_ = true;
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
  StopHelping();
  std::vector<Task> dropped;
  {
    absl::MutexLock lock(&mutex_);
    dropped.swap(posted_);
  }
  timers_.clear();
}

void CqExecutor::HelpWith(ThreadExecutor& other) {
  {
    absl::MutexLock lock(&mutex_);
    FULMAR_CHECK(helped_ == nullptr, "one executor is helped already");
    if (stopping_) return;
    helped_ = &other;
  }
  other.SetHelper(this);
}

void CqExecutor::StopHelping() {
  FULMAR_CHECK(current_loop != this, "the helper's thread would wait for itself");
  ThreadExecutor* other = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    other = helped_;
  }
  if (other == nullptr) return;
  other->SetHelper(nullptr);
  absl::MutexLock lock(&mutex_);
  helped_ = nullptr;
  mutex_.Await(absl::Condition(
      +[](bool* helping) { return !*helping; }, &helping_));
}

bool CqExecutor::WillHelp() {
  absl::MutexLock lock(&mutex_);
  if (helped_ == nullptr || !has_time_) return false;
  if (!idle_) return current_loop == this;
  if (stopping_) return false;
  WakeLocked();
  return true;
}

void CqExecutor::Post(Task task) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;  // destroyed here
  posted_.push_back(std::move(task));
  if (idle_) WakeLocked();
}

void CqExecutor::WakeLocked() {
  if (waking_) return;
  waking_ = true;
  wake_.alarm.Set(queue_.get(), gpr_time_0(GPR_CLOCK_MONOTONIC), &wake_);
}

void CqExecutor::Wake::Run(bool) {
  absl::MutexLock lock(&executor_.mutex_);
  executor_.waking_ = false;
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

bool CqExecutor::IsCurrent() const { return CurrentExecutor::Get() == this; }

void CqExecutor::Run() {
  const CqExecutor* const outer_loop = std::exchange(current_loop, this);
  const CurrentExecutor current(this);
  spare_time_ = SpareTime(SteadyNanos(), CpuNanos());
  for (;;) {
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (RunWaiting()) deadline = gpr_inf_past(GPR_CLOCK_MONOTONIC);
    else if (!timers_.empty()) deadline = DeadlineIn(timers_.begin()->first.first - SteadyNanos());

    void* tag = nullptr;
    bool ok = false;
    const grpc::CompletionQueue::NextStatus next = queue_->AsyncNext(&tag, &ok, deadline);
    {
      absl::MutexLock lock(&mutex_);
      idle_ = false;
    }
    if (next == grpc::CompletionQueue::GOT_EVENT) static_cast<CqTag*>(tag)->Run(ok);
    if (next == grpc::CompletionQueue::SHUTDOWN) break;
    if (!timers_.empty()) RunDueTimers();
  }
  RunWaiting();
  current_loop = outer_loop;
}

bool CqExecutor::RunWaiting() {
  for (int turn = 0; turn < kMostTurns; ++turn) {
    ThreadExecutor* help = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      running_.swap(posted_);
      if (has_time_) help = helped_;
      helping_ = help != nullptr;
    }
    for (Task& task : running_) std::move(task)();
    running_.clear();
    if (help != nullptr) help->Help();  // also what the tasks above have posted there
    absl::MutexLock lock(&mutex_);
    helping_ = false;
    if (helped_ != nullptr) Measure();
    idle_ = posted_.empty();
    if (idle_) return false;
  }
  return true;
}

void CqExecutor::Measure() {
  const int64_t now = SteadyNanos();
  if (!spare_time_.IsDue(now)) return;
  spare_time_.Update(now, CpuNanos());
  has_time_ = spare_time_.has_time();
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
