#include "services/common/pool_executor.h"

#include <atomic>
#include <memory>
#include <thread>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

TEST(PoolExecutorTest, TasksRunSideBySide) {
  PoolExecutor pool("pool", 3);
  absl::BlockingCounter together(3);
  absl::BlockingCounter finished(3);

  for (int i = 0; i < 3; ++i)
    pool.Post([&] {
      together.DecrementCount();
      if (pool.IsCurrent()) finished.DecrementCount();
    });

  // Each of the three waits in its task for the others: with fewer threads this would not end.
  together.Wait();
  finished.Wait();
  EXPECT_FALSE(pool.IsCurrent());
}

TEST(PoolExecutorTest, StopRunsWhatWasPostedBeforeAndDropsTheRest) {
  PoolExecutor pool("pool", 2);
  std::atomic<int> ran{0};
  const auto capture = std::make_shared<int>();
  for (int i = 0; i < 1000; ++i) pool.Post([&ran] { ++ran; });

  pool.Stop();
  pool.Post([&ran, capture] { ran = -1; });
  pool.Stop();

  EXPECT_EQ(ran, 1000);
  EXPECT_EQ(capture.use_count(), 1);
}

TEST(PoolExecutorTest, ATaskMayPost) {
  PoolExecutor pool("pool", 1);
  absl::Notification done;

  pool.Post([&] { pool.Post([&done] { done.Notify(); }); });

  done.WaitForNotification();
}

TEST(PoolExecutorDeathTest, HasNoTimers) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(PoolExecutor("pool", 1).After(absl::ZeroDuration(), [] {}), "a pool has no timers");
  EXPECT_DEATH(PoolExecutor("pool", 1).Cancel(1), "a pool has no timers");
}

}  // namespace
}  // namespace fulmar::common
