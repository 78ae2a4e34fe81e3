#ifndef FULMAR_COMMON_THREAD_ROLE_H_
#define FULMAR_COMMON_THREAD_ROLE_H_

#include "absl/base/thread_annotations.h"
#include "services/common/executor.h"
#include "services/common/status.h"

namespace fulmar::common {

// A thread of the architecture as a capability that clang's thread-safety analysis treats like a lock: state is
// ABSL_GUARDED_BY(kShardThread), methods are ABSL_EXCLUSIVE_LOCKS_REQUIRED(kShardThread), and a task begins with
//   kShardThread.AssertHeld(executor_);
// which proves it to the compiler and checks it at run time (a task on a wrong thread stops the process).
//
// One object per role, not per shard: the proof crosses from class to class without aliases, and which of several
// shards it is, is what the run-time check against `executor` sees.
class ABSL_LOCKABLE ThreadRole {
 public:
  constexpr explicit ThreadRole(const char* name) : name_(name) {}
  ThreadRole(const ThreadRole&) = delete;
  ThreadRole& operator=(const ThreadRole&) = delete;

  void AssertHeld(const Executor& executor) const ABSL_ASSERT_EXCLUSIVE_LOCK() {
    FULMAR_CHECK(executor.IsCurrent(), name_);
  }

  const char* name() const { return name_; }

 private:
  const char* name_;
};

// A role of one object: for a class that has an executor of its own and shares no state with other classes.
//   ExecutorRole role_;  int count_ ABSL_GUARDED_BY(role_);   ...   role_.AssertHeld();
// Borrows: the executor, which outlives it.
class ABSL_LOCKABLE ExecutorRole {
 public:
  explicit ExecutorRole(const Executor& executor) : executor_(executor) {}
  ExecutorRole(const ExecutorRole&) = delete;
  ExecutorRole& operator=(const ExecutorRole&) = delete;

  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {
    FULMAR_CHECK(executor_.IsCurrent(), "called on a thread that is not its executor's");
  }

 private:
  const Executor& executor_;
};

inline constexpr ThreadRole kShardThread{"called on a thread that is not the shard's"};
inline constexpr ThreadRole kLogWriterThread{"called on a thread that is not the log writer's"};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_THREAD_ROLE_H_
