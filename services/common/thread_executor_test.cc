#include "services/common/thread_executor.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
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

// --- With a helper. The test's own thread is one, so that it decides when Help() comes.

class ManualHelper final : public Helper {
 public:
  bool WillHelp() override {
    ++asked;
    return promise;
  }
  std::atomic<bool> promise{true};
  std::atomic<int> asked{0};
};

void Drain(ThreadExecutor& executor, ManualHelper& helper) {
  helper.promise = false;
  Drain(executor);
  helper.promise = true;
}

TEST(ThreadExecutorHelpTest, WithoutAPromiseItsOwnThreadRunsTheTasks) {
  ThreadExecutor executor("alone");
  ManualHelper helper;
  helper.promise = false;
  executor.SetHelper(&helper);

  for (int i = 0; i < 100; ++i) {
    absl::Notification done;
    std::thread::id thread;
    executor.Post([&] {
      thread = std::this_thread::get_id();
      done.Notify();
    });
    done.WaitForNotification();
    EXPECT_NE(thread, std::this_thread::get_id());
  }
}

// Brings the executor into the state in which a task waits that the helper promised to run.
class PromisedTask {
 public:
  PromisedTask(ThreadExecutor& executor, ManualHelper& helper) {
    do {
      done_ = std::make_shared<absl::Notification>();
      const int before = helper.asked;
      executor.Post([done = done_] { done->Notify(); });
      if (helper.asked != before) return;
      done_->WaitForNotification();  // its own thread was still awake
    } while (true);
  }
  void Wait() { done_->WaitForNotification(); }
  bool HasRun() const { return done_->HasBeenNotified(); }

 private:
  std::shared_ptr<absl::Notification> done_;
};

TEST(ThreadExecutorHelpTest, TheHelperRunsWhatItPromisedAndIsTheExecutorMeanwhile) {
  ThreadExecutor executor("helped");
  ThreadExecutor outer("outer");
  ManualHelper helper;
  executor.SetHelper(&helper);
  const CurrentExecutor loop(&outer);
  std::thread::id thread;
  bool current = false, is_outer = true;
  PromisedTask task(executor, helper);
  executor.Post([&] {
    thread = std::this_thread::get_id();
    current = executor.IsCurrent();
    is_outer = outer.IsCurrent();
  });

  EXPECT_FALSE(task.HasRun());
  EXPECT_TRUE(executor.Help());

  EXPECT_TRUE(task.HasRun());
  EXPECT_EQ(thread, std::this_thread::get_id());
  EXPECT_TRUE(current);
  EXPECT_FALSE(is_outer);
  EXPECT_FALSE(executor.IsCurrent());
  EXPECT_TRUE(outer.IsCurrent());
  EXPECT_FALSE(executor.Help());  // nothing is left
}

TEST(ThreadExecutorHelpTest, AHelperThatLeavesGivesItsPromisesBack) {
  ThreadExecutor executor("leaves");
  ManualHelper helper;
  executor.SetHelper(&helper);
  PromisedTask task(executor, helper);

  executor.SetHelper(nullptr);

  task.Wait();
  const int asked = helper.asked;
  executor.Post([] {});
  EXPECT_EQ(helper.asked, asked);
}

TEST(ThreadExecutorHelpTest, StopRunsWhatTheHelperPromisedAndTheHelperNothingMore) {
  ThreadExecutor executor("stop-promise");
  ManualHelper helper;
  executor.SetHelper(&helper);
  PromisedTask task(executor, helper);

  executor.Stop();

  EXPECT_TRUE(task.HasRun());
  EXPECT_FALSE(executor.Help());
}

TEST(ThreadExecutorHelpTest, ATimerThatWasSetWhileHelpingNeedsNoSecondHelp) {
  ThreadExecutor executor("timer-left");
  ManualHelper helper;
  executor.SetHelper(&helper);
  absl::Notification fired;
  PromisedTask task(executor, helper);  // our thread waits, with no timer to wait for
  executor.Post([&] { executor.After(absl::Milliseconds(2), [&fired] { fired.Notify(); }); });
  executor.Help();

  fired.WaitForNotification();
}

TEST(ThreadExecutorHelpTest, TheHelperRunsTimersThatAreDueAfterTheTasks) {
  ThreadExecutor executor("due");
  ManualHelper helper;
  executor.SetHelper(&helper);
  std::vector<int> ran;
  PromisedTask task(executor, helper);
  executor.Post([&] {
    executor.After(absl::ZeroDuration(), [&ran] { ran.push_back(2); });
    executor.Post([&ran] { ran.push_back(3); });
    ran.push_back(1);
  });

  executor.Help();
  Drain(executor, helper);

  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
}

TEST(ThreadExecutorHelpTest, TasksThatPostThemselvesDoNotKeepTheHelper) {
  ThreadExecutor executor("endless");
  ManualHelper helper;
  executor.SetHelper(&helper);
  std::atomic<bool> stop{false};
  std::function<void()> again = [&] {
    if (!stop) executor.Post([&] { again(); });
  };
  PromisedTask task(executor, helper);
  executor.Post([&] { again(); });

  EXPECT_TRUE(executor.Help());  // comes back

  stop = true;
  helper.promise = false;
  Drain(executor);  // and its own thread went on
  executor.Stop();
}

TEST(ThreadExecutorHelpTest, NobodyHelpsWhileItsOwnThreadIsAtIt) {
  ThreadExecutor executor("busy");
  ManualHelper helper;
  executor.SetHelper(&helper);
  absl::Notification begun, go_on;
  helper.promise = false;
  executor.Post([&] {
    begun.Notify();
    go_on.WaitForNotification();
  });
  begun.WaitForNotification();
  bool ran = false;  // no atomic: the thread sanitizer would see a second runner
  executor.Post([&ran] { ran = true; });

  EXPECT_FALSE(executor.Help());

  go_on.Notify();
  Drain(executor);
  EXPECT_TRUE(ran);
}

// A helper as the data-plane is one: a loop that sleeps, is woken, and helps before it sleeps again.
class LoopHelper final : public Helper {
 public:
  explicit LoopHelper(ThreadExecutor& executor) : executor_(executor), thread_([this] { Run(); }) {}
  ~LoopHelper() override {
    executor_.SetHelper(nullptr);
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  bool WillHelp() override {
    const std::lock_guard lock(mutex_);
    if (!idle_) return std::this_thread::get_id() == thread_.get_id();
    woken_ = true;
    wake_.notify_one();
    return true;
  }
  // Gives the loop something of its own to do.
  void Do(std::function<void()> event) {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
      woken_ = true;
    }
    wake_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      std::vector<std::function<void()>> events;
      events.swap(events_);
      lock.unlock();
      for (auto& event : events) event();
      executor_.Help();
      lock.lock();
      if (!events_.empty()) continue;
      idle_ = true;
      wake_.wait(lock, [this] { return woken_ || stop_; });
      woken_ = idle_ = false;
    }
  }

  ThreadExecutor& executor_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::function<void()>> events_;
  bool idle_ = false, woken_ = false, stop_ = false;
  std::thread thread_;
};

// Posters on other threads and on the helper's, timers that are set and cancelled, helpers that come and go. What was posted runs
// once, in its poster's order, never two at a time (the thread sanitizer sees that), and nothing waits for ever.
TEST(ThreadExecutorHelpTest, NothingIsLostOrDoubledAmongManyPostersHelpersAndTimers) {
  constexpr int kPosters = 3;
  constexpr int kTasks = 3000;
  ThreadExecutor executor("stress");
  std::vector<int> last(kPosters + 1, -1);
  int64_t ran = 0, timers = 0;
  bool in_order = true;
  const auto task = [&](size_t poster, int number) {
    return [&, poster, number] {
      ++ran;
      in_order = in_order && last[poster] == number - 1;
      last[poster] = number;
      const Executor::TimerId cancelled = executor.After(absl::Microseconds(number % 50), [&in_order] { in_order = false; });
      executor.After(absl::Microseconds(number % 70), [&timers] { ++timers; });
      executor.Cancel(cancelled);
    };
  };

  std::vector<std::thread> posters;
  for (size_t p = 0; p < kPosters; ++p)
    posters.emplace_back([&, p] {
      for (int i = 0; i < kTasks; ++i) {
        executor.Post(task(p, i));
        if (i % 64 == 0) Drain(executor);  // lets everybody fall asleep: this is where a wake-up would be missed
      }
    });
  int next = 0;
  while (next < kTasks) {
    LoopHelper helper(executor);
    executor.SetHelper(&helper);
    for (int i = 0; i < 300; ++i) {
      absl::Notification done;
      helper.Do([&] {
        executor.Post(task(kPosters, next++));
        done.Notify();
      });
      done.WaitForNotification();
    }
  }
  for (std::thread& poster : posters) poster.join();
  Drain(executor);
  absl::Notification all_fired;
  executor.After(absl::Milliseconds(1), [&all_fired] { all_fired.Notify(); });
  all_fired.WaitForNotification();

  EXPECT_TRUE(in_order);
  EXPECT_EQ(ran, kPosters * kTasks + next);
  EXPECT_EQ(timers, ran);
}

TEST(ThreadExecutorHelpTest, StopInTheMiddleRunsEachPostersTasksUpToSomeOneAndNoneAfter) {
  for (int round = 0; round < 50; ++round) {
    ThreadExecutor executor("stop-mid");
    LoopHelper helper(executor);
    executor.SetHelper(&helper);
    std::vector<int> ran(3, 0);
    bool in_order = true;
    const auto post = [&](size_t poster) {
      for (int i = 0; i < 200; ++i)
        executor.Post([&, poster, i] {
          in_order = in_order && ran[poster] == i;
          ran[poster] = i + 1;
        });
    };
    std::thread one([&] { post(0); });
    std::thread two([&] { post(1); });
    absl::Notification posted;
    helper.Do([&] {
      post(2);
      posted.Notify();
    });

    executor.Stop();
    const std::vector<int> after_stop = ran;
    one.join();
    two.join();
    posted.WaitForNotification();

    EXPECT_TRUE(in_order);
    EXPECT_EQ(ran, after_stop);
  }
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
