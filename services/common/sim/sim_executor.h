#ifndef FULMAR_COMMON_SIM_SIM_EXECUTOR_H_
#define FULMAR_COMMON_SIM_SIM_EXECUTOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "services/common/executor.h"
#include "services/common/random.h"
#include "services/common/sim/sim_clock.h"

namespace fulmar::sim {

class SimExecutor;

// The one event loop of a simulation: it runs the tasks of all its SimExecutors on the calling thread and moves the
// SimClock from timer to timer. The same posts give the same order every time.
// Borrows: clock and random; both outlive it, and it outlives its executors.
// Threads: the one that made it.
class SimScheduler {
 public:
  // Without `random` tasks of all executors run in the order of their posting. With it the executor whose turn it is
  // is drawn each time, so that one seed is one interleaving; the order inside an executor stays.
  explicit SimScheduler(SimClock& clock, common::Random* random = nullptr);
  ~SimScheduler();
  SimScheduler(const SimScheduler&) = delete;
  SimScheduler& operator=(const SimScheduler&) = delete;

  // Runs one task or one timer that is due. False: there is nothing to do at this time.
  bool RunOne();
  // Runs until nothing is to be done at this time; time stands still. Answers how many tasks ran. More than 10 million
  // tasks at one point in time stop the process: some timer sets itself anew without a delay.
  int64_t RunUntilIdle();
  // Lets `time` pass: runs everything that comes up meanwhile, each timer exactly at its time.
  void RunFor(absl::Duration time);
  // Runs (and lets time pass, at most `limit`) until `done()` holds, asked after each task. Answers done().
  bool RunUntil(const std::function<bool()>& done, absl::Duration limit);

  SimClock& clock() { return clock_; }

 private:
  friend class SimExecutor;
  using Task = common::Executor::Task;
  struct Timer {
    SimExecutor* executor;
    Task task;
  };
  // By time, then by order of After(); the id is unique.
  using Timers = absl::btree_map<std::pair<absl::Duration, common::Executor::TimerId>, Timer>;

  bool TimerIsNext(bool something_posted);
  Timer TakeTimer(Timers::iterator timer);
  SimExecutor* NextExecutor();
  void Run(SimExecutor& executor, Task task);
  void CheckThread() const;
  // Moves the clock to the next timer, or to `end` if there is none before. True if a timer is due now.
  bool AdvanceToTimer(absl::Duration end);

  SimClock& clock_;
  common::Random* const random_;
  const std::thread::id thread_;
  std::vector<SimExecutor*> executors_;
  Timers timers_;
  absl::flat_hash_map<common::Executor::TimerId, absl::Duration> timer_times_;
  bool timer_ran_last_ = false;
  common::Executor::TimerId last_timer_ = 0;
  uint64_t last_post_ = 0;
  const SimExecutor* current_ = nullptr;
};

// A "thread" of a simulated node: a queue of the scheduler.
// Borrows: the scheduler.
class SimExecutor final : public common::Executor {
 public:
  SimExecutor(SimScheduler& scheduler, std::string name);
  ~SimExecutor() override;  // Stop()
  SimExecutor(const SimExecutor&) = delete;
  SimExecutor& operator=(const SimExecutor&) = delete;

  void Post(Task task) override;
  TimerId After(absl::Duration delay, Task task) override;
  void Cancel(TimerId timer) override;
  bool IsCurrent() const override;

  // The thread ends here and now, as when its process is killed: everything that waits is destroyed without being
  // run, and so is what comes later. To end it in good order, run the scheduler first.
  void Stop();

  // Calls `function` at once as if it were a task of this executor and gives its result: the way in for a test that
  // holds an object that lives on this executor.
  template <class Function>
  std::invoke_result_t<Function> Invoke(Function&& function) {
    const Turn turn(*this);
    return std::forward<Function>(function)();
  }

  const std::string& name() const { return name_; }

 private:
  friend class SimScheduler;
  struct Turn {
    explicit Turn(SimExecutor& executor)
        : scheduler(executor.scheduler_), before(std::exchange(scheduler.current_, &executor)) {}
    ~Turn() { scheduler.current_ = before; }
    SimScheduler& scheduler;
    const SimExecutor* const before;
  };
  struct Posted {
    uint64_t order;
    Task task;
  };

  SimScheduler& scheduler_;
  const std::string name_;
  std::deque<Posted> posted_;
  bool stopped_ = false;
};

}  // namespace fulmar::sim

#endif  // FULMAR_COMMON_SIM_SIM_EXECUTOR_H_
