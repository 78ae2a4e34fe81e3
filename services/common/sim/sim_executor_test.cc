#include "services/common/sim/sim_executor.h"

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/common/sim/seeded_random.h"
#include "services/common/sim/test_seed.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SimExecutorTest : public ::testing::Test {
 protected:
  // A task that leaves its name.
  std::function<void()> Note(const std::string& name) {
    return [this, name] { ran_.push_back(name); };
  }

  SimClock clock_;
  SimScheduler scheduler_{clock_};
  SimExecutor shard_{scheduler_, "shard"};
  SimExecutor writer_{scheduler_, "writer"};
  std::vector<std::string> ran_;
};

TEST_F(SimExecutorTest, TasksRunInTheOrderOfPostingOverAllExecutors) {
  shard_.Post(Note("a"));
  writer_.Post(Note("b"));
  shard_.Post(Note("c"));
  EXPECT_THAT(ran_, IsEmpty());

  EXPECT_EQ(scheduler_.RunUntilIdle(), 3);

  EXPECT_THAT(ran_, ElementsAre("a", "b", "c"));
  EXPECT_FALSE(scheduler_.RunOne());
}

TEST_F(SimExecutorTest, KnowsWhoseTurnItIs) {
  bool shard_is_current = false;
  bool writer_is_current = true;
  shard_.Post([&] {
    shard_is_current = shard_.IsCurrent();
    writer_is_current = writer_.IsCurrent();
  });
  scheduler_.RunUntilIdle();

  EXPECT_TRUE(shard_is_current);
  EXPECT_FALSE(writer_is_current);
  EXPECT_FALSE(shard_.IsCurrent());
  EXPECT_TRUE(shard_.Invoke([this] { return shard_.IsCurrent() && !writer_.IsCurrent(); }));
  EXPECT_FALSE(shard_.Invoke([this] { return writer_.Invoke([this] { return shard_.IsCurrent(); }); }));
}

TEST_F(SimExecutorTest, TimeStandsStillWhileItRunsUntilIdle) {
  const absl::Duration before = clock_.Steady();
  shard_.After(absl::Milliseconds(1), Note("later"));
  shard_.After(absl::ZeroDuration(), Note("now"));
  shard_.After(-absl::Hours(1), Note("past"));

  scheduler_.RunUntilIdle();

  EXPECT_EQ(clock_.Steady(), before);
  EXPECT_THAT(ran_, ElementsAre("now", "past"));
}

TEST_F(SimExecutorTest, EachTimerRunsExactlyAtItsTime) {
  const absl::Duration start = clock_.Steady();
  std::vector<absl::Duration> times;
  std::function<void()> tick = [&] {
    times.push_back(clock_.Steady() - start);
    shard_.After(absl::Milliseconds(30), [&] { tick(); });
  };
  shard_.Post([&] { tick(); });

  scheduler_.RunFor(absl::Milliseconds(100));

  EXPECT_THAT(times, ElementsAre(absl::ZeroDuration(), absl::Milliseconds(30), absl::Milliseconds(60),
                                 absl::Milliseconds(90)));
  EXPECT_EQ(clock_.Steady() - start, absl::Milliseconds(100));
}

TEST_F(SimExecutorTest, TimersOfOneTimeRunInTheOrderOfTheirSetting) {
  shard_.After(absl::Seconds(1), Note("a"));
  writer_.After(absl::Seconds(1), Note("b"));
  shard_.After(absl::Milliseconds(999), Note("first"));

  scheduler_.RunFor(absl::Seconds(1));

  EXPECT_THAT(ran_, ElementsAre("first", "a", "b"));
}

TEST_F(SimExecutorTest, ATimerThatAPastAdvanceMadeDueRunsAtOnce) {
  shard_.After(absl::Seconds(1), Note("due"));

  clock_.Advance(absl::Seconds(5));
  scheduler_.RunUntilIdle();

  EXPECT_THAT(ran_, ElementsAre("due"));
}

TEST_F(SimExecutorTest, ATimerBetweenTwoTicksOfTheClockIsReached) {
  shard_.After(absl::Nanoseconds(1) / 4, Note("a"));

  scheduler_.RunFor(absl::Nanoseconds(1));

  EXPECT_THAT(ran_, ElementsAre("a"));
}

TEST_F(SimExecutorTest, ATimerThatNeverComesDoesNotMoveTime) {
  const absl::Duration start = clock_.Steady();
  shard_.After(absl::InfiniteDuration(), Note("never"));

  scheduler_.RunFor(absl::Hours(1));

  EXPECT_EQ(clock_.Steady() - start, absl::Hours(1));
  EXPECT_THAT(ran_, IsEmpty());
}

TEST_F(SimExecutorTest, ACancelledTimerNeverRuns) {
  const auto victim = shard_.After(absl::Seconds(1), Note("victim"));
  shard_.After(absl::Milliseconds(500), [&] {
    shard_.Cancel(victim);
    shard_.Cancel(victim);
    shard_.Cancel(12345);
  });

  scheduler_.RunFor(absl::Seconds(2));

  EXPECT_THAT(ran_, IsEmpty());
}

TEST_F(SimExecutorTest, ATimerOfAnotherExecutorIsNotCancelled) {
  const auto other = writer_.After(absl::Seconds(1), Note("other"));

  shard_.Invoke([&] { shard_.Cancel(other); });
  scheduler_.RunFor(absl::Seconds(1));

  EXPECT_THAT(ran_, ElementsAre("other"));
}

TEST_F(SimExecutorTest, ATimerThatSetsItselfAnewDoesNotStarveTasks) {
  std::function<void()> again = [&] {
    if (ran_.empty()) shard_.After(absl::ZeroDuration(), [&] { again(); });
  };
  shard_.Post([&] { again(); });
  shard_.Post([&] { shard_.Post([&] { shard_.Post(Note("task")); }); });

  scheduler_.RunUntilIdle();

  EXPECT_THAT(ran_, ElementsAre("task"));
}

TEST_F(SimExecutorTest, RunUntilEndsAsSoonAsTheConditionHolds) {
  const absl::Duration start = clock_.Steady();
  shard_.After(absl::Seconds(1), Note("a"));
  shard_.After(absl::Seconds(2), Note("b"));
  const auto one_ran = [&] { return ran_.size() == 1; };

  EXPECT_TRUE(scheduler_.RunUntil(one_ran, absl::Hours(1)));
  EXPECT_EQ(clock_.Steady() - start, absl::Seconds(1));
  EXPECT_FALSE(scheduler_.RunUntil([] { return false; }, absl::Seconds(30)));
  EXPECT_EQ(clock_.Steady() - start, absl::Seconds(31));
  EXPECT_THAT(ran_, ElementsAre("a", "b"));
}

TEST_F(SimExecutorTest, StopDropsWhatWaitsAndWhatComes) {
  const auto capture = std::make_shared<int>();
  writer_.Post([capture] { FAIL(); });
  writer_.After(absl::Seconds(1), [capture] { FAIL(); });
  shard_.Post(Note("other"));

  writer_.Stop();
  writer_.Post([capture] { FAIL(); });
  writer_.After(absl::Seconds(1), [capture] { FAIL(); });
  writer_.Stop();

  EXPECT_EQ(capture.use_count(), 1);
  scheduler_.RunFor(absl::Seconds(2));
  EXPECT_THAT(ran_, ElementsAre("other"));
}

TEST_F(SimExecutorTest, ATaskMayStopItsExecutor) {
  shard_.Post([&] { shard_.Stop(); });
  shard_.Post(Note("never"));

  scheduler_.RunUntilIdle();

  EXPECT_THAT(ran_, IsEmpty());
}

// One seed is one interleaving; the order inside an executor holds in all of them.
TEST(SimSchedulerTest, ASeedChoosesTheInterleaving) {
  const auto run = [](uint64_t seed) {
    SimClock clock;
    SeededRandom random(seed);
    SimScheduler scheduler(clock, &random);
    SimExecutor a(scheduler, "a");
    SimExecutor b(scheduler, "b");
    std::string order;
    for (int i = 0; i < 5; ++i) {
      a.Post([&order, i] { order += absl::StrCat("a", i); });
      b.Post([&order, i] { order += absl::StrCat("b", i); });
    }
    scheduler.RunUntilIdle();
    return order;
  };
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", TestSeed()));

  std::set<std::string> orders;
  for (uint64_t seed = TestSeed(); seed < TestSeed() + 50; ++seed) {
    const std::string order = run(seed);
    EXPECT_EQ(run(seed), order);
    orders.insert(order);
    for (const char name : {'a', 'b'})
      for (int i = 1; i < 5; ++i)
        EXPECT_LT(order.find(absl::StrCat(std::string(1, name), i - 1)), order.find(absl::StrCat(std::string(1, name), i)));
  }
  EXPECT_GT(orders.size(), 10u);
}

TEST(SimSchedulerDeathTest, MisuseStopsTheProcess) {
  SimClock clock;
  SimScheduler scheduler(clock);
  SimExecutor executor(scheduler, "x");

  EXPECT_DEATH(executor.Cancel(1), "on its own executor only");
  EXPECT_DEATH(
      {
        executor.Post([&] { scheduler.RunOne(); });
        executor.Post([] {});
        scheduler.RunUntilIdle();
      },
      "a task must not run the scheduler");
  EXPECT_DEATH(
      {
        std::thread other([&] { executor.Post([] {}); });
        other.join();
      },
      "a simulation has one thread");
}

}  // namespace
}  // namespace fulmar::sim
