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

namespace fulmar::common {

// What a completion queue delivers: tags are pointers to these.
class CqTag {
 public:
  virtual ~CqTag() = default;
  // On the executor, when the operation has ended; `ok` as gRPC defines it for the operation. May delete the tag.
  virtual void Run(bool ok) = 0;
};

// The thread "data-plane": polls one completion queue, runs its tags, and is an Executor beside.
// Owns:    the queue and the thread. Borrows: nothing.
// Threads: as Executor says. Many Post()s before the thread looks cost one wake-up together.
class CqExecutor final : public Executor {
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

 private:
  // Wakes the queue for posted tasks.
  class Wake final : public CqTag {
   public:
    explicit Wake(CqExecutor& executor) : executor_(executor) {}
    void Run(bool) override { executor_.RunPosted(); }
    grpc::Alarm alarm;

   private:
    CqExecutor& executor_;
  };

  void Run();
  void RunPosted();
  void RunDueTimers();
  void WakeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string name_;
  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  Wake wake_{*this};

  absl::Mutex mutex_;
  std::vector<Task> posted_ ABSL_GUARDED_BY(mutex_);
  TimerId last_timer_ ABSL_GUARDED_BY(mutex_) = 0;
  bool waking_ ABSL_GUARDED_BY(mutex_) = false;    // the alarm is on its way
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;  // the queue takes nothing more

  // Of the thread only. Times are nanoseconds of the steady clock.
  absl::btree_map<std::pair<int64_t, TimerId>, Task> timers_;
  absl::flat_hash_map<TimerId, int64_t> timer_times_;
  std::vector<Task> running_;

  std::thread thread_;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_CQ_EXECUTOR_H_
