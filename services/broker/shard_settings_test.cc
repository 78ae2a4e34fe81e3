// What the settings of topics and groups do, each seen from outside: a whole shard on simulated time and disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/broker/shard_world.h"
#include "services/common/errors.h"
#include "services/common/log.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

#define EXPECT_V2(status, code) EXPECT_EQ(V2CodeOf(status), code) << (status)

class ShardSettingsTest : public testing::Test {
 protected:
  using Answer = std::optional<absl::StatusOr<std::vector<Delivered>>>;
  ShardSettingsTest() : world(sim::TestSeed()) {}

  void SetGroup(index::GroupDefinition group) {
    world.definitions.UpdateGroup(std::move(group), [](const absl::StatusOr<index::GroupDefinition>&) {});
    world.scheduler.RunFor(absl::Milliseconds(100));
  }
  void SetTopic(index::TopicDefinition topic) {
    world.definitions.UpdateTopic(std::move(topic), [](const absl::StatusOr<index::TopicDefinition>&) {});
    world.scheduler.RunFor(absl::Milliseconds(100));
  }
  void Suspend(bool suspended) {
    index::GroupDefinition group = world.definitions.groups.at("g");
    group.suspended = suspended;
    SetGroup(group);
  }
  // Parks a receive of "g" in "t".
  void Park(Answer& answer, absl::Duration wait) {
    ReceiveCommand command;
    command.wait = wait;
    world.shard->Receive(world.MakeReceive("t", "g", command), [&answer](auto result) { answer = std::move(result); });
  }
  // To "t", with a user property that says when it expires.
  absl::Status SendWithTtl(const std::string& body, const std::string& ttl_ms) {
    const std::string entry = absl::StrCat("\x0a\x0d", "FULMAR_TTL_MS", "\x12", std::string(1, static_cast<char>(ttl_ms.size())), ttl_ms);
    const std::string user = absl::StrCat("\x12", std::string(1, static_cast<char>(entry.size())), entry);
    MessageView view;
    view.type = 1;
    view.message_id = body;
    view.user = user;
    view.body = body;
    SendCommand command;
    command.client.client_id = "producer";
    command.topic = "t";
    command.messages.push_back({EncodeMessageRecord(view), body, 0});
    std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
    world.shard->Send(std::move(command), [&](auto result) { answer = std::move(result); });
    return world.Await(answer).status();
  }
  int64_t Lag(const std::string& group) {
    const absl::StatusOr<GroupState> state = world.Group(group);
    EXPECT_TRUE(state.ok()) << state.status();
    int64_t lag = 0;
    for (const GroupQueueState& queue : state->queues) lag += queue.lag;
    return lag;
  }

  common::LogCapture quiet;
  ShardWorld world;
};

// ---- suspended groups

TEST_F(ShardSettingsTest, ASuspendedGroupGetsNothingWhileItsLagGrows) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("a"));
  Suspend(true);
  ASSERT_TRUE(world.Send("t", {"b", "c"}).ok());
  ReceiveCommand command;
  command.wait = absl::Seconds(5);
  const absl::Time before = world.clock.Now();
  EXPECT_V2(world.Receive("t", "g", command).status(), 40401);
  EXPECT_GE(world.clock.Now() - before, absl::Seconds(5));
  EXPECT_EQ(Lag("g"), 2);
  EXPECT_THAT(world.Drain("t", "other"), UnorderedElementsAre("a", "b", "c"));
}

TEST_F(ShardSettingsTest, WhatWasInFlightWhenAGroupWasSuspendedCanBeAcknowledged) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  const auto received = world.Receive("t", "g");
  ASSERT_TRUE(received.ok());
  Suspend(true);
  EXPECT_TRUE(world.Ack("t", "g", received->front().receipt_handle).ok());
  EXPECT_EQ(Lag("g"), 0);
}

TEST_F(ShardSettingsTest, ARetryOfASuspendedGroupWaitsForItsResumption) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  ASSERT_TRUE(world.Receive("t", "g").ok());  // never acknowledged
  Suspend(true);
  world.scheduler.RunFor(absl::Minutes(1));
  EXPECT_V2(world.Receive("t", "g").status(), 40401);
  Suspend(false);
  const auto again = world.Receive("t", "g");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->front().attempt, 2);
}

TEST_F(ShardSettingsTest, ResumptionWakesWhoIsParked) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  world.Drain("t", "g");
  Suspend(true);
  ASSERT_TRUE(world.Send("t", {"b"}).ok());
  Answer answer;
  Park(answer, absl::Seconds(30));
  world.scheduler.RunFor(absl::Seconds(10));
  ASSERT_FALSE(answer.has_value());
  Suspend(false);
  ASSERT_TRUE(answer.has_value());
  ASSERT_TRUE(answer->ok()) << answer->status();
  EXPECT_EQ(ShardWorld::Body((**answer).front()), "b");
}

TEST_F(ShardSettingsTest, AParkedReceiveOfAGroupThatIsSuspendedGetsNothing) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  world.Drain("t", "g");
  Answer answer;
  Park(answer, absl::Seconds(30));
  world.scheduler.RunFor(absl::Seconds(1));
  Suspend(true);
  ASSERT_TRUE(world.Send("t", {"b"}).ok());
  world.scheduler.RunFor(absl::Seconds(20));
  EXPECT_FALSE(answer.has_value());
  world.scheduler.RunFor(absl::Seconds(15));
  ASSERT_TRUE(answer.has_value());
  EXPECT_V2(answer->status(), 40401);
}

TEST_F(ShardSettingsTest, AGroupIsStillSuspendedAfterARestart) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  world.Drain("t", "g");
  Suspend(true);
  ASSERT_TRUE(world.Send("t", {"b"}).ok());
  world.Kill();
  world.Start();
  EXPECT_V2(world.Receive("t", "g").status(), 40401);
  Suspend(false);
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("b"));
}

TEST_F(ShardSettingsTest, ASuspendedGroupPullsNothingUntilItIsResumed) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  world.Drain("t", "g");
  Suspend(true);
  std::optional<absl::StatusOr<PullOutcome>> answer;
  PullCommand pull;
  pull.client.client_id = "consumer";
  pull.topic = "t";
  pull.group = "g";
  pull.wait = absl::Seconds(30);
  world.shard->Pull(pull, [&](auto result) { answer = std::move(result); });
  world.scheduler.RunFor(absl::Seconds(10));
  EXPECT_FALSE(answer.has_value());
  Suspend(false);
  ASSERT_TRUE(answer.has_value());
  ASSERT_TRUE(answer->ok()) << answer->status();
  EXPECT_EQ((*answer)->messages.size(), 1u);
}

// ---- quotas

TEST_F(ShardSettingsTest, SendsOverTheQuotaOfATopicAreRefusedAndOthersAreNot) {
  world.definitions.topics["t"] = {.name = "t", .topic_id = 900, .version = 900, .quota = {.messages = 10}};
  world.Start();
  int stored = 0;
  for (int i = 0; i < 30; ++i) {
    const auto sent = world.Send("t", {"x"});
    stored += sent.ok();
    if (!sent.ok()) {
      EXPECT_V2(sent.status(), 42900);
    }
    ASSERT_TRUE(world.Send("other", {"x"}).ok());
  }
  EXPECT_GE(stored, 10);
  EXPECT_LE(stored, 15);
  EXPECT_GT(world.counts.throttled, 0u);
  world.scheduler.RunFor(absl::Seconds(2));
  EXPECT_TRUE(world.Send("t", {"x"}).ok());
}

TEST_F(ShardSettingsTest, AGroupGetsNoMoreThanItsQuotaAndAGreedyOneSlowsNoOther) {
  world.definitions.groups["greedy"] = {.name = "greedy", .version = 1000, .quota = {.messages = 20}};
  world.Start();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(world.Send("t", std::vector<std::string>(50, "x")).ok());
  // Sixteen polls of the greedy group at any time, for ten seconds.
  int64_t greedy = 0, refused = 0;
  bool over = false;
  std::function<void()> poll = [&] {
    ReceiveCommand command;
    command.wait = absl::Seconds(5);
    world.shard->Receive(world.MakeReceive("t", "greedy", command), [&](absl::StatusOr<std::vector<Delivered>> result) {
      if (over) return;
      if (result.ok()) greedy += static_cast<int64_t>(result->size());
      if (!result.ok() && V2CodeOf(result.status()) == 42900) ++refused;
      poll();
    });
  };
  for (int i = 0; i < 16; ++i) poll();
  world.scheduler.RunFor(absl::Seconds(1));
  const absl::Time before = world.clock.Now();
  EXPECT_EQ(world.Drain("t", "modest").size(), 1000u);
  EXPECT_LT(world.clock.Now() - before, absl::Seconds(5)) << "nobody waits for the greedy group";
  world.scheduler.RunFor(before + absl::Seconds(9) - world.clock.Now());
  over = true;
  EXPECT_GE(greedy, 150);
  EXPECT_LE(greedy, 20 * 11 + 32);
  EXPECT_GT(refused, 0);
  world.Stop();
}

TEST_F(ShardSettingsTest, AParkedReceiveIsServedAsSoonAsTheQuotaAllows) {
  world.definitions.groups["g"] = {.name = "g", .version = 1000, .quota = {.messages = 1}};
  world.Start();
  Answer first, second;
  Park(first, absl::Seconds(30));
  Park(second, absl::Seconds(30));
  world.scheduler.RunFor(absl::Seconds(1));
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  ASSERT_TRUE(world.Send("t", {"b"}).ok());
  world.scheduler.RunFor(absl::Milliseconds(100));
  EXPECT_TRUE(first.has_value());
  EXPECT_FALSE(second.has_value());
  world.scheduler.RunFor(absl::Seconds(2));
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(second->ok()) << second->status();
}

TEST_F(ShardSettingsTest, AGroupThatAcknowledgesNothingSlowsNoOther) {
  world.options.max_in_flight_per_group = 100;
  world.Start();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(world.Send("t", std::vector<std::string>(50, "x")).ok());
  while (world.Receive("t", "stuck").ok()) {
  }
  const absl::Time before = world.clock.Now();
  EXPECT_EQ(world.Drain("t", "lively").size(), 1000u);
  EXPECT_LT(world.clock.Now() - before, absl::Seconds(5));
}

// ---- time to live

TEST_F(ShardSettingsTest, AMessageThatOutlivedItsTtlIsPassedOverAndCounted) {
  world.Start();
  ASSERT_TRUE(SendWithTtl("short", "1000").ok());
  ASSERT_TRUE(SendWithTtl("long", "60000").ok());
  ASSERT_TRUE(world.Send("t", {"plain"}).ok());
  world.scheduler.RunFor(absl::Seconds(2));
  EXPECT_THAT(world.Drain("t", "g"), UnorderedElementsAre("long", "plain"));
  EXPECT_EQ(Lag("g"), 0);
  EXPECT_EQ(world.counts.expired, 1u);
}

TEST_F(ShardSettingsTest, AMessageIsDeliveredUntilTheLastMomentOfItsTtl) {
  world.Start();
  ASSERT_TRUE(SendWithTtl("a", "10000").ok());
  world.scheduler.RunFor(absl::Milliseconds(9900));
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("a"));
}

TEST_F(ShardSettingsTest, TheTtlOfATopicIsCutShorterByTheMessageOnly) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"first"}).ok());
  index::TopicDefinition topic = world.definitions.topics.at("t");
  topic.message_ttl = absl::Seconds(10);
  SetTopic(topic);
  ASSERT_TRUE(SendWithTtl("longer", "60000").ok());
  ASSERT_TRUE(SendWithTtl("shorter", "2000").ok());
  ASSERT_TRUE(world.Send("t", {"plain"}).ok());
  world.scheduler.RunFor(absl::Seconds(5));
  EXPECT_THAT(world.Drain("t", "g"), UnorderedElementsAre("first", "longer", "plain"));
  world.scheduler.RunFor(absl::Seconds(6));
  EXPECT_THAT(world.Drain("t", "h"), IsEmpty());
  EXPECT_EQ(world.counts.expired, 5u);
}

TEST_F(ShardSettingsTest, AMessageInFlightIsNotCalledBackAndItsRetryIsNotDelivered) {
  world.Start();
  ASSERT_TRUE(SendWithTtl("kept", "20000").ok());
  const auto kept = world.Receive("t", "g");
  ASSERT_TRUE(kept.ok());
  world.scheduler.RunFor(absl::Seconds(25));
  EXPECT_TRUE(world.Ack("t", "g", kept->front().receipt_handle).ok());
  ASSERT_TRUE(SendWithTtl("dropped", "20000").ok());
  ASSERT_TRUE(world.Receive("t", "g").ok());
  world.scheduler.RunFor(absl::Seconds(31));  // its invisible time is over, and its TTL
  EXPECT_V2(world.Receive("t", "g").status(), 40401);
  EXPECT_EQ(Lag("g"), 0);
  EXPECT_EQ(world.counts.expired, 1u);
  EXPECT_EQ(world.counts.dead_lettered, 0u);
}

TEST_F(ShardSettingsTest, AnExpiredMessageIsNeverADeadLetter) {
  world.definitions.groups["g"] = {.name = "g", .version = 1000, .retry = {.max_attempts = 1, .delays = {}}};
  world.Start();
  ASSERT_TRUE(SendWithTtl("last attempt", "20000").ok());
  ASSERT_TRUE(world.Receive("t", "g").ok());
  world.scheduler.RunFor(absl::Seconds(31));
  ASSERT_TRUE(SendWithTtl("forwarded", "20000").ok());
  const auto received = world.Receive("t", "g");
  ASSERT_TRUE(received.ok());
  world.scheduler.RunFor(absl::Seconds(25));
  EXPECT_TRUE(world.Forward("t", "g", received->front().receipt_handle).ok());
  world.scheduler.RunFor(absl::Seconds(5));
  EXPECT_EQ(world.counts.dead_lettered, 0u);
  EXPECT_EQ(world.counts.expired, 2u);
  EXPECT_EQ(Lag("g"), 0);
  // While one that lives on is.
  ASSERT_TRUE(SendWithTtl("dies", "3600000").ok());
  ASSERT_TRUE(world.Receive("t", "g").ok());
  world.scheduler.RunFor(absl::Seconds(31));
  EXPECT_EQ(world.counts.dead_lettered, 1u);
}

TEST_F(ShardSettingsTest, ExpiryHoldsAfterARestartAndFromOldSegments) {
  world.Start();
  ASSERT_TRUE(SendWithTtl("a", "5000").ok());
  ASSERT_TRUE(world.Send("t", {"b"}).ok());
  world.Kill();
  world.Start();
  world.scheduler.RunFor(absl::Seconds(6));
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("b"));
  EXPECT_EQ(world.counts.expired, 1u);
}

TEST_F(ShardSettingsTest, APullPassesOverWhatExpired) {
  world.Start();
  ASSERT_TRUE(SendWithTtl("a", "1000").ok());
  world.scheduler.RunFor(absl::Seconds(2));
  int64_t next = 0;
  for (int32_t queue = 0; queue < 4; ++queue) {
    std::optional<absl::StatusOr<PullOutcome>> answer;
    PullCommand pull;
    pull.client.client_id = "consumer";
    pull.topic = "t";
    pull.queue = queue;
    world.shard->Pull(pull, [&](auto result) { answer = std::move(result); });
    const auto outcome = world.Await(answer);
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_THAT(outcome->messages, IsEmpty());
    next += outcome->next_offset;
  }
  EXPECT_EQ(next, 1);
}

}  // namespace
}  // namespace fulmar::broker
