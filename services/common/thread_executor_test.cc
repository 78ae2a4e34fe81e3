#include "services/common/thread_executor.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

using ::testing::ElementsAre;

// Runs what was posted before.
void Drain(Executor& executor) {
  absl::Notification done;
  executor.Post([&done] { done.Notify(); });
  done.WaitForNotification();
}

TEST(ThreadExecutorTest, RunsTasksOfOnePosterInTheirOrder) {
  ThreadExecutor executor("order");
  std::vector<int> ran;

  for (int i = 0; i < 10'000; ++i) executor.Post([&ran, i] { ran.push_back(i); });
  Drain(executor);

  ASSERT_EQ(ran.size(), 10'000u);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST(ThreadExecutorTest, TasksOfManyPostersNeverRunSideBySide) {
  ThreadExecutor executor("many");
  int64_t count = 0;  // no atomic: the thread sanitizer would see two tasks at a time
  std::vector<std::thread> posters;

  for (int p = 0; p < 4; ++p)
    posters.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) executor.Post([&count] { ++count; });
    });
  for (std::thread& poster : posters) poster.join();
  Drain(executor);

  EXPECT_EQ(count, 20'000);
}

TEST(ThreadExecutorTest, KnowsItsOwnThread) {
  ThreadExecutor executor("self");
  ThreadExecutor other("other");
  bool own = false;
  bool foreign = true;

  executor.Post([&] {
    own = executor.IsCurrent();
    foreign = other.IsCurrent();
  });
  Drain(executor);

  EXPECT_TRUE(own);
  EXPECT_FALSE(foreign);
  EXPECT_FALSE(executor.IsCurrent());
}

TEST(ThreadExecutorTest, ItsThreadHasItsName) {
  ThreadExecutor executor("a-name-that-is-too-long");
  char name[32] = "";

  executor.Post([&name] { pthread_getname_np(pthread_self(), name, sizeof(name)); });
  Drain(executor);

  EXPECT_STREQ(name, "a-name-that-is-");
}

TEST(ThreadExecutorTest, ATimerRunsNotBeforeItsTime) {
  ThreadExecutor executor("timer");
  absl::Notification ran;
  const auto start = std::chrono::steady_clock::now();

  EXPECT_NE(executor.After(absl::Milliseconds(15), [&ran] { ran.Notify(); }), 0u);
  ran.WaitForNotification();

  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(15));
}

// Each call is later than the one before and asks for at least as much, so the order holds on the slowest machine.
TEST(ThreadExecutorTest, TimersRunInTheOrderOfTheirTimes) {
  ThreadExecutor executor("timers");
  std::vector<int> ran;
  absl::Notification last;

  executor.Post([&] {
    executor.After(-absl::Hours(1), [&ran] { ran.push_back(0); });
    executor.After(absl::ZeroDuration(), [&ran] { ran.push_back(1); });
    executor.After(absl::Milliseconds(2), [&ran] { ran.push_back(2); });
    executor.After(absl::Milliseconds(4), [&ran] { ran.push_back(3); });
    executor.After(absl::Milliseconds(4), [&last] { last.Notify(); });
  });
  last.WaitForNotification();

  EXPECT_THAT(ran, ElementsAre(0, 1, 2, 3));
}

TEST(ThreadExecutorTest, AnEarlierTimerWakesTheThreadThatWaitsForALaterOne) {
  ThreadExecutor executor("wake");
  absl::Notification early;
  executor.After(absl::Hours(24), [] { FAIL(); });
  Drain(executor);

  executor.After(absl::Milliseconds(1), [&early] { early.Notify(); });

  early.WaitForNotification();
}

// Goal: the time that the thread sleeps for does not live in a map that others change. Shown by the address sanitizer.
TEST(ThreadExecutorTest, TimersSetByOthersWhileTheThreadSleepsDoNotTouchWhatItSleepsFor) {
  ThreadExecutor executor("sleeper");
  absl::Notification fired;
  executor.After(absl::Milliseconds(20), [&fired] { fired.Notify(); });
  Drain(executor);  // from now on it sleeps

  for (int i = 0; i < 1000; ++i) executor.After(absl::Hours(1), [] {});

  fired.WaitForNotification();
  Drain(executor);
}

TEST(ThreadExecutorTest, ACancelledTimerNeverRunsEvenWhenItWasDueTogetherWithTheCanceller) {
  ThreadExecutor executor("cancel");
  bool ran = false;
  Executor::TimerId victim = 0;

  executor.Post([&] {
    executor.After(absl::Milliseconds(1), [&] { executor.Cancel(victim); });
    victim = executor.After(absl::Milliseconds(1), [&ran] { ran = true; });
    const auto both_due = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
    while (std::chrono::steady_clock::now() < both_due) std::this_thread::yield();
  });
  absl::Notification later;
  executor.After(absl::Milliseconds(10), [&later] { later.Notify(); });
  later.WaitForNotification();
  Drain(executor);

  EXPECT_FALSE(ran);
}

TEST(ThreadExecutorTest, CancelOfAnUnknownOrFinishedTimerIsIgnored) {
  ThreadExecutor executor("unknown");
  absl::Notification ran;
  const Executor::TimerId timer = executor.After(absl::ZeroDuration(), [&ran] { ran.Notify(); });
  ran.WaitForNotification();

  executor.Post([&] {
    executor.Cancel(timer);
    executor.Cancel(timer);
    executor.Cancel(99'999);
  });
  Drain(executor);
}

TEST(ThreadExecutorTest, ATimerThatSetsItselfAnewDoesNotStarveTasks) {
  ThreadExecutor executor("again");
  std::atomic<bool> stop{false};
  std::function<void()> again = [&] {
    if (!stop) executor.After(absl::ZeroDuration(), [&] { again(); });
  };
  executor.Post([&] { again(); });

  for (int i = 0; i < 100; ++i) Drain(executor);

  stop = true;
  executor.Stop();
}

TEST(ThreadExecutorTest, StopRunsWhatWasPostedBeforeAndDropsTheRest) {
  ThreadExecutor executor("stop");
  std::atomic<int> ran{0};
  const auto timer_capture = std::make_shared<int>();
  const auto late_capture = std::make_shared<int>();
  for (int i = 0; i < 1000; ++i) executor.Post([&ran] { ++ran; });
  executor.After(absl::Hours(1), [&ran, timer_capture] { ran = -1; });

  executor.Stop();
  executor.Post([&ran, late_capture] { ran = -1; });
  executor.After(absl::ZeroDuration(), [&ran, late_capture] { ran = -1; });
  executor.Stop();

  EXPECT_EQ(ran, 1000);
  EXPECT_EQ(timer_capture.use_count(), 1);
  EXPECT_EQ(late_capture.use_count(), 1);
}

TEST(ThreadExecutorTest, WhatATaskCapturedIsDestroyedOnTheThread) {
  ThreadExecutor executor("captures");
  bool on_thread = false;
  struct Probe {
    Executor& executor;
    bool& on_thread;
    ~Probe() { on_thread = executor.IsCurrent(); }
  };

  executor.Post([probe = std::unique_ptr<Probe>(new Probe{executor, on_thread})] {});
  Drain(executor);
  EXPECT_TRUE(on_thread);

  on_thread = false;
  executor.After(absl::Hours(1), [probe = std::unique_ptr<Probe>(new Probe{executor, on_thread})] {});
  executor.Stop();
  EXPECT_TRUE(on_thread);
}

TEST(ThreadExecutorTest, WhatADroppedTaskCapturedMayPostAgain) {
  ThreadExecutor executor("drop");
  struct Poster {
    Executor& executor;
    ~Poster() {
      executor.Post([] {});
      executor.After(absl::ZeroDuration(), [] {});
    }
  };
  executor.After(absl::Hours(1), [poster = std::unique_ptr<Poster>(new Poster{executor})] {});
  executor.Stop();

  executor.Post([poster = std::unique_ptr<Poster>(new Poster{executor})] {});
}

// The poster may still be inside Post() when its task has made somebody else destroy the executor. Only a sanitizer
// sees what goes wrong.
TEST(ThreadExecutorTest, MayBeDestroyedAsSoonAsTheLastTaskHasRun) {
  for (int i = 0; i < 200; ++i) {
    auto executor = std::make_unique<ThreadExecutor>("brief");
    absl::Notification ran;
    std::thread poster([&executor = *executor, &ran] { executor.Post([&ran] { ran.Notify(); }); });
    ran.WaitForNotification();
    executor.reset();
    poster.join();
  }
}

TEST(ThreadExecutorTest, TwoThreadsMayStopIt) {
  ThreadExecutor executor("stop-twice");
  std::thread other([&executor] { executor.Stop(); });
  executor.Stop();
  other.join();
}

TEST(ThreadExecutorDeathTest, MisuseStopsTheProcess) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        ThreadExecutor executor("x");
        executor.Cancel(1);
      },
      "on its own executor only");
  EXPECT_DEATH(
      {
        ThreadExecutor executor("x");
        executor.Post([&executor] { executor.Stop(); });
        Drain(executor);
      },
      "cannot be stopped by its own task");
}

}  // namespace
}  // namespace fulmar::common
