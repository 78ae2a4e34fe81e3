#ifndef FULMAR_COMMON_GRPC_CQ_EXECUTOR_H_
#define FULMAR_COMMON_GRPC_CQ_EXECUTOR_H_

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "services/common/executor.h"
#include "services/common/spare_time.h"
#include "services/common/thread_executor.h"

namespace fulmar::common {

// What a completion queue delivers: tags are pointers to these.
class CqTag {
 public:
  virtual ~CqTag() = default;
  // On the executor, when the operation has ended; `ok` as gRPC defines it for the operation. May delete the tag.
  virtual void Run(bool ok) = 0;
};

// The thread "data-plane": polls one completion queue, runs its tags, and is an Executor beside.
// Owns:    the queue and the thread. Borrows: the executor that it helps.
// Threads: as Executor says. Many Post()s before the thread looks cost one wake-up together, and none if it does not sleep.
class CqExecutor final : public Executor, public Helper {
 public:
  CqExecutor(std::string name, std::unique_ptr<grpc::ServerCompletionQueue> queue);
  ~CqExecutor() override;  // Stop()
  CqExecutor(const CqExecutor&) = delete;
  CqExecutor& operator=(const CqExecutor&) = delete;

  grpc::ServerCompletionQueue* queue() { return queue_.get(); }

  // Begins to poll: once, after the server has started.
  void Start();
  // After the server's shutdown. Runs what was posted before, takes what the queue still holds, ends the thread; timers and later
  // posts are dropped. Twice is fine.
  void Stop();

  void Post(Task task) override;
  TimerId After(absl::Duration delay, Task task) override;
  void Cancel(TimerId timer) override;
  bool IsCurrent() const override;

  // From now on this thread runs the tasks of `other` too, after each of its own events, as long as it has time to spare: at a
  // low load a command and its answer then need no other thread, at a high load two threads share the work.
  // Borrows `other` until StopHelping(). One at most. Not from tasks of either.
  void HelpWith(ThreadExecutor& other);
  // When it returns, `other` is not touched any more. Also done by Stop(). Without HelpWith() it does nothing.
  void StopHelping();

 private:
  // Wakes the queue for posted tasks.
  class Wake final : public CqTag {
   public:
    explicit Wake(CqExecutor& executor) : executor_(executor) {}
    void Run(bool) override;
    grpc::Alarm alarm;

   private:
    CqExecutor& executor_;
  };

  void Run();
  // Runs what was posted, here and to the helped executor. Afterwards the thread counts as idle, unless it returns true: then more
  // waits already.
  bool RunWaiting();
  void RunDueTimers();
  void Measure() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool WillHelp() override;

  const std::string name_;
  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  Wake wake_{*this};

  absl::Mutex mutex_;
  std::vector<Task> posted_ ABSL_GUARDED_BY(mutex_);
  TimerId last_timer_ ABSL_GUARDED_BY(mutex_) = 0;
  bool idle_ ABSL_GUARDED_BY(mutex_) = false;      // waits for the queue, and looks at nothing else before something comes out of it
  bool waking_ ABSL_GUARDED_BY(mutex_) = false;    // the alarm is on its way
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;  // the queue takes nothing more
  ThreadExecutor* helped_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool has_time_ ABSL_GUARDED_BY(mutex_) = true;   // to help; changed by the thread only, right after it has helped
  bool helping_ ABSL_GUARDED_BY(mutex_) = false;   // is inside helped_->Help()

  // Of the thread only. Times are nanoseconds of the steady clock.
  absl::btree_map<std::pair<int64_t, TimerId>, Task> timers_;
  absl::flat_hash_map<TimerId, int64_t> timer_times_;
  std::vector<Task> running_;
  SpareTime spare_time_{0, 0};

  std::thread thread_;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_CQ_EXECUTOR_H_
