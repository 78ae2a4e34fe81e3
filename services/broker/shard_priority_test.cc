// Topics of type priority: a whole shard on simulated time and disk, and a reference model of what must come next.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/broker/priority_order.h"
#include "services/broker/shard_world.h"
#include "services/common/errors.h"
#include "services/common/log.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using testing::ElementsAre;

#define EXPECT_V2(status, code) EXPECT_EQ(V2CodeOf(status), code) << (status)

TEST(PriorityLevelTest, EveryPriorityHasItsOwnLevelUpToTheNumberOfQueues) {
  for (int32_t priority = 0; priority < 10; ++priority) EXPECT_EQ(PriorityLevel(priority, 10), priority);
  EXPECT_EQ(PriorityLevel(10, 10), 9);
  EXPECT_EQ(PriorityLevel(INT32_MAX, 10), 9);
  EXPECT_EQ(PriorityLevel(-1, 10), 0);
  EXPECT_EQ(PriorityLevel(7, 1), 0);
}

class ShardPriorityTest : public testing::Test {
 protected:
  explicit ShardPriorityTest(uint64_t seed = sim::TestSeed()) : seed_(seed), world(seed) {
    world.definitions.topics["p"] = {.name = "p", .topic_id = 900, .version = 900, .type = index::TopicType::kPriority, .queues = 10};
  }
  absl::StatusOr<SendOutcome> Send(const std::string& body, int32_t priority) {
    SendCommand command = ShardWorld::MakeSend("p", {body}, "");
    command.type = 6;
    command.messages.front().priority = priority;
    std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
    world.shard->Send(std::move(command), [&](auto result) { answer = std::move(result); });
    const auto sent = world.Await(answer);
    if (!sent.ok()) return sent.status();
    return sent->front();
  }
  std::vector<std::string> Take(int32_t max = 32, const std::string& group = "g") {
    ReceiveCommand command;
    command.max_messages = max;
    const auto received = world.Receive("p", group, command);
    std::vector<std::string> bodies;
    if (!received.ok()) return bodies;
    for (const Delivered& delivered : *received) {
      bodies.push_back(ShardWorld::Body(delivered));
      EXPECT_TRUE(world.Ack("p", group, delivered.receipt_handle).ok());
    }
    return bodies;
  }
  const uint64_t seed_;
  common::LogCapture quiet;
  ShardWorld world;
};

TEST_F(ShardPriorityTest, TheHigherNumberGoesFirstAndEqualOnesInTheOrderOfTheLog) {
  world.Start();
  for (const auto& [body, priority] : std::vector<std::pair<std::string, int>>{
           {"3a", 3}, {"0a", 0}, {"9a", 9}, {"3b", 3}, {"5a", 5}, {"0b", 0}, {"9b", 9}, {"8a", 8}, {"3c", 3}}) {
    ASSERT_TRUE(Send(body, priority).ok());
  }
  EXPECT_THAT(Take(), ElementsAre("9a", "9b", "8a", "5a", "3a", "3b", "3c", "0a", "0b"));
}

TEST_F(ShardPriorityTest, EachReceiveBeginsWithTheHighestThatIsThere) {
  world.Start();
  ASSERT_TRUE(Send("low", 1).ok());
  ASSERT_TRUE(Send("lower", 0).ok());
  ASSERT_TRUE(Send("high", 7).ok());
  EXPECT_THAT(Take(1), ElementsAre("high"));
  ASSERT_TRUE(Send("higher", 8).ok());
  EXPECT_THAT(Take(1), ElementsAre("higher"));
  EXPECT_THAT(Take(1), ElementsAre("low"));
  EXPECT_THAT(Take(1), ElementsAre("lower"));
}

TEST_F(ShardPriorityTest, PrioritiesAboveTheLastLevelShareIt) {
  world.Start();
  ASSERT_TRUE(Send("9", 9).ok());
  ASSERT_TRUE(Send("1000", 1000).ok());
  ASSERT_TRUE(Send("8", 8).ok());
  EXPECT_THAT(Take(), ElementsAre("9", "1000", "8"));
}

TEST_F(ShardPriorityTest, ARetryKeepsItsPriority) {
  world.Start();
  ASSERT_TRUE(Send("high", 5).ok());
  const auto received = world.Receive("p", "g");
  ASSERT_TRUE(received.ok());
  ASSERT_TRUE(Send("low", 1).ok());
  ASSERT_TRUE(Send("highest", 6).ok());
  ASSERT_TRUE(Send("behind it", 5).ok());
  world.scheduler.RunFor(absl::Seconds(31));
  EXPECT_THAT(Take(), ElementsAre("highest", "high", "behind it", "low"));
}

TEST_F(ShardPriorityTest, ARestartKeepsPriorities) {
  world.Start();
  ASSERT_TRUE(Send("low", 1).ok());
  ASSERT_TRUE(Send("high", 5).ok());
  world.LosePower();
  world.Start();
  EXPECT_THAT(Take(), ElementsAre("high", "low"));
}

TEST_F(ShardPriorityTest, ALowOneThatWaitedLongEnoughGoesBeforeNewHighOnes) {
  world.options.priority_age_step = absl::Seconds(10);
  world.Start();
  ASSERT_TRUE(Send("low", 1).ok());
  world.scheduler.RunFor(absl::Seconds(35));  // worth three levels
  ASSERT_TRUE(Send("5", 5).ok());
  ASSERT_TRUE(Send("3", 3).ok());
  ASSERT_TRUE(Send("4", 4).ok());
  EXPECT_THAT(Take(), ElementsAre("5", "4", "low", "3"));
}

TEST_F(ShardPriorityTest, WithoutAgeingTheOrderIsStrict) {
  world.options.priority_age_step = absl::ZeroDuration();
  world.Start();
  ASSERT_TRUE(Send("low", 0).ok());
  world.scheduler.RunFor(absl::Hours(10));
  ASSERT_TRUE(Send("high", 1).ok());
  EXPECT_THAT(Take(), ElementsAre("high", "low"));
}

TEST_F(ShardPriorityTest, AStreamOfHighOnesNeverStarvesALowOne) {
  world.options.priority_age_step = absl::Seconds(10);
  world.Start();
  ASSERT_TRUE(Send("low", 0).ok());
  bool came = false;
  for (int i = 0; i < 120 && !came; ++i) {
    ASSERT_TRUE(Send("high", 9).ok());
    world.scheduler.RunFor(absl::Seconds(1));
    came = Take(1).at(0) == "low";
  }
  EXPECT_TRUE(came);
}

TEST_F(ShardPriorityTest, OnlyAPriorityTopicTakesThemAndItTakesNothingElse) {
  world.Start();
  EXPECT_V2(world.Send("p", {"normal"}).status(), 40014);
  SendCommand command = ShardWorld::MakeSend("t", {"x"}, "");
  command.type = 6;
  std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
  world.shard->Send(std::move(command), [&](auto result) { answer = std::move(result); });
  EXPECT_V2(world.Await(answer).status(), 40014);
}

TEST_F(ShardPriorityTest, AtTheBoundOfAGroupRetriesStillComeByPriority) {
  world.options.max_in_flight_per_group = 3;
  world.Start();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(Send(absl::StrCat(i), i).ok());
  const auto first = world.Receive("p", "g");
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(first->size(), 3u);
  EXPECT_V2(world.Receive("p", "g").status(), 40401);
  world.scheduler.RunFor(absl::Seconds(31));
  EXPECT_THAT(Take(), ElementsAre("5", "4", "3"));
  EXPECT_THAT(Take(), ElementsAre("2", "1", "0"));
}

// Random sends, receives, acknowledgements, expiries and crashes against a list that says what each message is worth now.
class ShardPriorityModelTest : public ShardPriorityTest {
 protected:
  struct Message {
    int32_t level = 0;
    int64_t offset = 0;
    absl::Time stored, due = absl::InfinitePast();  // `due`: when it is visible again
    bool done = false, delivered = false;
    std::string handle;
  };
  int64_t Height(const Message& message, absl::Time now) const {
    const absl::Duration step = world.options.priority_age_step;
    if (step <= absl::ZeroDuration()) return message.level;
    return message.level + absl::ToInt64Milliseconds(now - message.stored) / absl::ToInt64Milliseconds(step);
  }

  void Run(int steps) {
    std::mt19937_64 chance(seed_);
    const auto dice = [&chance](uint64_t n) { return chance() % n; };
    world.Start();
    std::map<std::string, Message> messages;
    int64_t sent = 0;
    for (int step = 0; step < steps; ++step) {
      SCOPED_TRACE(absl::StrCat("step ", step, ", seed ", seed_));
      const uint64_t what = dice(100);
      if (what < 45) {
        const std::string body = absl::StrCat("m", sent++);
        const int32_t priority = static_cast<int32_t>(dice(12));
        const absl::Time before = world.clock.Now();
        const auto outcome = Send(body, priority);
        ASSERT_TRUE(outcome.ok()) << outcome.status();
        EXPECT_EQ(outcome->queue, std::min(priority, 9));
        messages[body] = {.level = outcome->queue, .offset = outcome->offset, .stored = before};
      } else if (what < 80) {
        const absl::Time now = world.clock.Now();
        ReceiveCommand command;
        command.max_messages = 1;
        command.invisible_duration = absl::Seconds(10 + static_cast<int64_t>(dice(30)));
        const auto received = world.Receive("p", "g", command);
        // What is ready for certain: a few milliseconds may pass between the call and the look.
        const absl::Duration slack = absl::Milliseconds(200);
        const Message* best = nullptr;
        for (const auto& [body, message] : messages) {
          if (message.done || message.due + slack > now) continue;
          if (best == nullptr || Height(message, now) > Height(*best, now)) best = &message;
        }
        if (!received.ok()) {
          ASSERT_EQ(best, nullptr) << received.status();
          continue;
        }
        ASSERT_EQ(received->size(), 1u);
        const Delivered& delivered = received->front();
        Message& got = messages.at(ShardWorld::Body(delivered));
        ASSERT_FALSE(got.done);
        ASSERT_LE(got.due, now + slack) << "still invisible";
        ASSERT_EQ(delivered.queue, got.level);
        // One step of ageing may tick between the call and the look.
        if (best != nullptr) {
          ASSERT_GE(Height(got, now + slack), Height(*best, now));
        }
        for (const auto& [body, other] : messages) {
          if (other.done || &other == &got || other.level != got.level || other.due + slack > now) continue;
          ASSERT_GT(other.offset, got.offset) << "the order of the log inside one level";
        }
        got.delivered = true;
        got.due = world.clock.Now() + command.invisible_duration;
        got.handle = delivered.receipt_handle;
      } else if (what < 93) {
        std::vector<std::string> out;
        for (const auto& [body, message] : messages) {
          if (!message.done && message.delivered && message.due > world.clock.Now() + absl::Seconds(1)) out.push_back(body);
        }
        if (out.empty()) continue;
        Message& one = messages.at(out[dice(out.size())]);
        ASSERT_TRUE(world.Ack("p", "g", one.handle).ok());
        one.done = true;
      } else if (what < 98) {
        world.scheduler.RunFor(absl::Seconds(static_cast<int64_t>(dice(20))));
      } else if (what == 98) {
        world.scheduler.RunFor(absl::Seconds(1));  // progress is kept: what a crash may forget is tested elsewhere
        world.Kill();
        world.Start();
      } else {
        world.Stop();
        world.Start();
      }
    }
  }
};

TEST_F(ShardPriorityModelTest, WhatComesIsAlwaysTheHighestThatIsReady) {
  world.options.priority_age_step = absl::ZeroDuration();
  Run(3000);
}

TEST_F(ShardPriorityModelTest, WithAgeingToo) {
  world.options.priority_age_step = absl::Seconds(15);
  Run(3000);
}

}  // namespace
}  // namespace fulmar::broker
