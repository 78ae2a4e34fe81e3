// Compiled by tests/sanitizers/run with clang's thread safety analysis: with FORGET defined it must not compile.
#include "services/common/thread_role.h"

using fulmar::common::kShardThread;

class Counter {
 public:
  void Task(const fulmar::common::Executor& executor) {
#ifdef FORGET
    (void)executor;
#else
    kShardThread.AssertHeld(executor);
#endif
    ++count_;
    Add();
  }

 private:
  void Add() ABSL_EXCLUSIVE_LOCKS_REQUIRED(kShardThread) { ++count_; }

  int count_ ABSL_GUARDED_BY(kShardThread) = 0;
};

void Use(const fulmar::common::Executor& executor) { Counter().Task(executor); }
