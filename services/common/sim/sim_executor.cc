#include "services/common/sim/sim_executor.h"

#include <algorithm>

#include "services/common/status.h"

namespace fulmar::sim {

SimScheduler::SimScheduler(SimClock& clock, common::Random* random)
    : clock_(clock), random_(random), thread_(std::this_thread::get_id()) {}

SimScheduler::~SimScheduler() { FULMAR_CHECK(executors_.empty(), "a SimExecutor outlives its scheduler"); }

bool SimScheduler::RunOne() {
  CheckThread();
  SimExecutor* executor = NextExecutor();
  timer_ran_last_ = TimerIsNext(executor != nullptr);
  if (timer_ran_last_) {
    Timer timer = TakeTimer(timers_.begin());
    Run(*timer.executor, std::move(timer.task));
    return true;
  }
  if (executor == nullptr) return false;
  Task task = std::move(executor->posted_.front().task);
  executor->posted_.pop_front();
  Run(*executor, std::move(task));
  return true;
}

int64_t SimScheduler::RunUntilIdle() {
  constexpr int64_t kMaxTasks = 10'000'000;
  int64_t count = 0;
  while (RunOne()) FULMAR_CHECK(++count < kMaxTasks, "the simulation never becomes idle");
  return count;
}

void SimScheduler::RunFor(absl::Duration time) {
  const absl::Duration end = clock_.Steady() + time;
  do RunUntilIdle();
  while (AdvanceToTimer(end));
}

bool SimScheduler::RunUntil(const std::function<bool()>& done, absl::Duration limit) {
  const absl::Duration end = clock_.Steady() + limit;
  while (!done())
    if (!RunOne() && !AdvanceToTimer(end)) return done();
  return true;
}

// By turns, so that neither timers nor tasks that set themselves anew without end starve the others.
bool SimScheduler::TimerIsNext(bool something_posted) {
  if (timers_.empty() || timers_.begin()->first.first > clock_.Steady()) return false;
  return !something_posted || (random_ != nullptr ? common::RandomBelow(*random_, 2) == 0 : !timer_ran_last_);
}

SimScheduler::Timer SimScheduler::TakeTimer(Timers::iterator timer) {
  Timer taken = std::move(timer->second);
  timer_times_.erase(timer->first.second);
  timers_.erase(timer);
  return taken;
}

SimExecutor* SimScheduler::NextExecutor() {
  std::vector<SimExecutor*> ready;
  for (SimExecutor* executor : executors_)
    if (!executor->posted_.empty()) ready.push_back(executor);
  if (ready.empty()) return nullptr;
  if (random_ != nullptr) return ready[common::RandomBelow(*random_, ready.size())];
  return *std::min_element(ready.begin(), ready.end(), [](const SimExecutor* a, const SimExecutor* b) {
    return a->posted_.front().order < b->posted_.front().order;
  });
}

void SimScheduler::Run(SimExecutor& executor, Task task) {
  FULMAR_CHECK(current_ == nullptr, "a task must not run the scheduler");
  const SimExecutor::Turn turn(executor);
  std::move(task)();
  task = nullptr;  // what it captured dies on its executor
}

void SimScheduler::CheckThread() const {
  FULMAR_CHECK(std::this_thread::get_id() == thread_, "a simulation has one thread");
}

bool SimScheduler::AdvanceToTimer(absl::Duration end) {
  const absl::Duration now = clock_.Steady();
  const bool found = !timers_.empty() && timers_.begin()->first.first <= end;
  const absl::Duration to = found ? timers_.begin()->first.first : end;
  if (to > now) clock_.Advance(to - now);
  return found;
}

SimExecutor::SimExecutor(SimScheduler& scheduler, std::string name) : scheduler_(scheduler), name_(std::move(name)) {
  scheduler_.executors_.push_back(this);
}

SimExecutor::~SimExecutor() {
  Stop();
  auto& executors = scheduler_.executors_;
  executors.erase(std::find(executors.begin(), executors.end(), this));
}

void SimExecutor::Post(Task task) {
  scheduler_.CheckThread();
  if (!stopped_) posted_.push_back({++scheduler_.last_post_, std::move(task)});
}

common::Executor::TimerId SimExecutor::After(absl::Duration delay, Task task) {
  scheduler_.CheckThread();
  const TimerId id = ++scheduler_.last_timer_;
  if (stopped_) return id;
  // The clock counts whole nanoseconds; a timer between two of them would never be reached.
  const absl::Duration whole = absl::Ceil(std::max(delay, absl::ZeroDuration()), absl::Nanoseconds(1));
  const absl::Duration due = scheduler_.clock_.Steady() + whole;
  scheduler_.timers_.emplace(std::make_pair(due, id), SimScheduler::Timer{this, std::move(task)});
  scheduler_.timer_times_.emplace(id, due);
  return id;
}

void SimExecutor::Cancel(TimerId timer) {
  FULMAR_CHECK(IsCurrent(), "a timer is cancelled on its own executor only");
  const auto time = scheduler_.timer_times_.find(timer);
  if (time == scheduler_.timer_times_.end()) return;
  const auto found = scheduler_.timers_.find({time->second, timer});
  if (found->second.executor != this) return;
  const SimScheduler::Timer dropped = scheduler_.TakeTimer(found);
}

bool SimExecutor::IsCurrent() const { return scheduler_.current_ == this; }

void SimExecutor::Stop() {
  stopped_ = true;
  // Taken out before they are destroyed: what a task captured may post or cancel while it dies.
  std::vector<SimScheduler::Timer> timers;
  for (auto it = scheduler_.timers_.begin(); it != scheduler_.timers_.end();) {
    if (it->second.executor != this) {
      ++it;
      continue;
    }
    timers.push_back(std::move(it->second));
    scheduler_.timer_times_.erase(it->first.second);
    it = scheduler_.timers_.erase(it);
  }
  const std::deque<Posted> posted = std::exchange(posted_, {});
}

}  // namespace fulmar::sim
