#include "services/common/grpc/cq_executor.h"

#include <grpcpp/server_builder.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::common {
namespace {

// Only the queue and its thread: alarms are events enough.
class CqExecutorHelpTest : public ::testing::Test {
 protected:
  CqExecutorHelpTest() : loop_("loop", grpc::ServerBuilder().AddCompletionQueue()), helped_("helped") { loop_.Start(); }

  static void Drain(Executor& executor) {
    absl::Notification done;
    executor.Post([&done] { done.Notify(); });
    done.WaitForNotification();
  }
  std::thread::id ThreadOf(Executor& executor) {
    std::thread::id thread;
    absl::Notification done;
    executor.Post([&] {
      thread = std::this_thread::get_id();
      done.Notify();
    });
    done.WaitForNotification();
    return thread;
  }

  CqExecutor loop_;
  ThreadExecutor helped_;
};

TEST_F(CqExecutorHelpTest, WhatItPostsToTheHelpedExecutorComesBackWithoutAnotherThread) {
  const std::thread::id loop_thread = ThreadOf(loop_);
  loop_.HelpWith(helped_);
  bool all_here = false;

  while (!all_here) {  // a helped executor that is still awake runs its tasks itself
    Drain(helped_);
    absl::Notification answered;
    loop_.Post([&] {
      all_here = true;
      helped_.Post([&] {
        EXPECT_TRUE(helped_.IsCurrent());
        EXPECT_FALSE(loop_.IsCurrent());
        all_here = all_here && std::this_thread::get_id() == loop_thread;
        loop_.Post([&] {
          EXPECT_TRUE(loop_.IsCurrent());
          answered.Notify();
        });
      });
    });
    answered.WaitForNotification();
  }

  loop_.StopHelping();
}

TEST_F(CqExecutorHelpTest, OthersWakeItForTheHelpedExecutorWhenBothSleep) {
  const std::thread::id loop_thread = ThreadOf(loop_);
  loop_.HelpWith(helped_);

  while (ThreadOf(helped_) != loop_thread) {
  }

  loop_.StopHelping();
  EXPECT_NE(ThreadOf(helped_), loop_thread);
}

TEST_F(CqExecutorHelpTest, OthersDoNotWaitForItWhileItIsAtWork) {
  loop_.HelpWith(helped_);
  absl::Notification begun, go_on;
  loop_.Post([&] {
    begun.Notify();
    go_on.WaitForNotification();
  });
  begun.WaitForNotification();

  Drain(helped_);

  go_on.Notify();
  loop_.StopHelping();
}

// The mode of use: requests come out of the queue, commands go to the helped executor, a third thread does blocking work and posts
// back, answers go out on the loop. Whatever sleeps when, every request is answered.
TEST_F(CqExecutorHelpTest, EveryRequestIsAnsweredWhoeverSleepsWhen) {
  ThreadExecutor writer("writer");
  constexpr int kPosters = 3;
  constexpr int kRequests = 2000;
  int64_t commands = 0, answers = 0;  // no atomics: the thread sanitizer would see two runners
  const auto request = [&](std::function<void()> done) {
    loop_.Post([&, done = std::move(done)] {
      helped_.Post([&, done] {
        ++commands;
        const Executor::TimerId timer = helped_.After(absl::Milliseconds(1), [] {});
        writer.Post([&, done, timer] {
          helped_.Post([&, done, timer] {
            helped_.Cancel(timer);
            loop_.Post([&, done] {
              ++answers;
              done();
            });
          });
        });
      });
    });
  };
  std::atomic<bool> stop{false};
  std::thread comes_and_goes([&] {
    while (!stop) {
      loop_.HelpWith(helped_);
      Drain(helped_);
      loop_.StopHelping();
      Drain(helped_);
    }
  });

  std::vector<std::thread> posters;
  for (int p = 0; p < kPosters; ++p)
    posters.emplace_back([&] {
      for (int i = 0; i < kRequests; ++i) {
        absl::Notification answered;
        request([&answered] { answered.Notify(); });
        answered.WaitForNotification();
      }
    });
  for (std::thread& poster : posters) poster.join();
  stop = true;
  comes_and_goes.join();

  EXPECT_EQ(commands, kPosters * kRequests);
  EXPECT_EQ(answers, kPosters * kRequests);
  writer.Stop();
}

TEST_F(CqExecutorHelpTest, StopLeavesNothingOfWhatItHadPromised) {
  for (int round = 0; round < 100; ++round) {
    CqExecutor loop("brief", grpc::ServerBuilder().AddCompletionQueue());
    loop.Start();
    loop.HelpWith(helped_);
    std::atomic<int> ran{0};
    std::thread poster([&] {
      for (int i = 0; i < 20; ++i) helped_.Post([&ran] { ++ran; });
    });
    loop.Post([&] { helped_.Post([&ran] { ++ran; }); });

    loop.Stop();
    poster.join();
    Drain(helped_);

    EXPECT_EQ(ran, 21);
  }
}

TEST_F(CqExecutorHelpTest, TasksThatPostThemselvesDoNotKeepTimersAndEventsWaiting) {
  std::atomic<bool> stop{false};
  std::function<void()> again = [&] {
    if (!stop) loop_.Post([&] { again(); });
  };
  loop_.Post([&] { again(); });
  absl::Notification fired;
  loop_.After(absl::Milliseconds(1), [&fired] { fired.Notify(); });

  fired.WaitForNotification();

  stop = true;
  loop_.Stop();
}

}  // namespace
}  // namespace fulmar::common
