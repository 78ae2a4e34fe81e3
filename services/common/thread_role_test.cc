#include "services/common/thread_role.h"

#include "services/common/sim/sim_executor.h"
#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

// As a class of the core uses the roles; under clang this also has to pass -Wthread-safety.
class Tally {
 public:
  explicit Tally(Executor& executor) : executor_(executor), own_(executor) {}

  void Count() {
    kShardThread.AssertHeld(executor_);
    Increment();
  }
  int Read() {
    own_.AssertHeld();
    return own_count_;
  }

 private:
  void Increment() ABSL_EXCLUSIVE_LOCKS_REQUIRED(kShardThread) {
    ++count_;
    own_.AssertHeld();
    own_count_ = count_;
  }

  Executor& executor_;
  ExecutorRole own_;
  int count_ ABSL_GUARDED_BY(kShardThread) = 0;
  int own_count_ ABSL_GUARDED_BY(own_) = 0;
};

TEST(ThreadRoleTest, HoldsOnItsExecutor) {
  sim::SimClock clock;
  sim::SimScheduler scheduler(clock);
  sim::SimExecutor shard(scheduler, "shard");
  Tally tally(shard);

  shard.Post([&tally] { tally.Count(); });
  scheduler.RunUntilIdle();

  EXPECT_EQ(shard.Invoke([&tally] { return tally.Read(); }), 1);
}

TEST(ThreadRoleDeathTest, StopsTheProcessElsewhere) {
  sim::SimClock clock;
  sim::SimScheduler scheduler(clock);
  sim::SimExecutor shard(scheduler, "shard");
  sim::SimExecutor other(scheduler, "other");
  Tally tally(shard);

  EXPECT_DEATH(tally.Count(), "not the shard's");
  EXPECT_DEATH(other.Invoke([&tally] { tally.Count(); }), "not the shard's");
  EXPECT_DEATH(tally.Read(), "not its executor's");
}

}  // namespace
}  // namespace fulmar::common
