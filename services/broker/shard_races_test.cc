// Events that meet: an acknowledgement and a dead letter, room that is freed and a receive that waits for it, a clock that steps back
// over a restart, calls whose client is gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
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

class ShardRacesTest : public testing::Test {
 protected:
  ShardRacesTest() : world(sim::TestSeed()) {}
  void MaxAttempts(int32_t attempts) {
    world.definitions.groups["g"] = {.name = "g", .version = 50, .retry = {.max_attempts = attempts, .delays = {}}};
  }
  std::optional<absl::StatusOr<std::vector<Delivered>>>& Park(const std::string& topic, absl::Duration wait) {
    ReceiveCommand command;
    command.wait = wait;
    world.shard->Receive(world.MakeReceive(topic, "g", command), [this](auto result) { parked = std::move(result); });
    world.scheduler.RunUntilIdle();
    return parked;
  }
  common::LogCapture quiet;
  ShardWorld world;
  std::optional<absl::StatusOr<std::vector<Delivered>>> parked;
};

// ---- definitions

// Goal: deletions that the full disk refused are not forgotten. Method: definitions fill what the log keeps in reserve for itself.
TEST_F(ShardRacesTest, DeletionsThatTheLogRefusedAreRepeatedWhenThereIsSpace) {
  constexpr int kGroups = 100;  // a few of their deletions may still fit
  world.options.log.segment_bytes = 256 << 10;
  world.options.auto_create_topics = world.options.auto_create_groups = false;
  world.definitions.EnsureTopic({.name = "t"}, [](const auto&) {});
  for (int i = 0; i < kGroups; ++i) world.definitions.EnsureGroup({.name = absl::StrCat("g", i)}, [](const auto&) {});
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  world.scheduler.RunFor(absl::Seconds(1));
  ASSERT_EQ(world.Status().groups, kGroups);
  world.files.SetCapacity(world.files.UsedBytes());
  for (const int bytes : {10 << 10, 100}) {
    for (int i = 0; i < 1000; ++i) {
      world.definitions.EnsureTopic({.name = absl::StrCat("filler-", bytes, "-", i), .shards = {"shard-a", std::string(bytes, 's')}}, [](const auto&) {});
    }
    world.scheduler.RunFor(absl::Seconds(2));
  }
  for (int i = 0; i < kGroups; ++i) world.definitions.DeleteGroup(absl::StrCat("g", i), [](const auto&) {});
  world.definitions.DeleteTopic("t", [](const auto&) {});
  world.scheduler.RunFor(absl::Seconds(5));
  ASSERT_GT(world.Status().groups, 0) << "the reserve is not used up";

  world.files.SetCapacity(std::nullopt);
  world.scheduler.RunFor(absl::Seconds(5));

  EXPECT_EQ(world.Status().groups, 0);
  EXPECT_EQ(V2CodeOf(world.Send("t", {"y"}).status()), 40402);
}

// Goal: a dead-letter topic that was made when this shard did not exist is no obstacle: the shard joins it.
TEST_F(ShardRacesTest, ADeadLetterTopicOfBeforeThisShardGetsThisShard) {
  MaxAttempts(1);
  world.definitions.topics["%DLQ%g"] = {.name = "%DLQ%g", .topic_id = 900, .version = 60, .queues = 1, .shards = {"shard-older"}};
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  ASSERT_TRUE(world.Receive("t", "g").ok());

  world.scheduler.RunFor(absl::Seconds(40));

  EXPECT_THAT(world.definitions.topics["%DLQ%g"].shards, ElementsAre("shard-older", "shard-a"));
  EXPECT_EQ(world.counts.dead_lettered, 1u);
  EXPECT_THAT(world.Drain("%DLQ%g", "undertaker"), ElementsAre("x"));
}

// ---- time

// Goal: an invisible time is never longer than it was given, though the wall clock stepped back while the shard was down.
TEST_F(ShardRacesTest, AClockThatSteppedBackOverARestartDoesNotLengthenAnInvisibleTime) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  ASSERT_TRUE(world.Receive("t", "g").ok());  // for 30 s
  world.scheduler.RunFor(absl::Seconds(1));
  world.Stop();
  world.clock.JumpWall(-absl::Hours(3));
  world.Start();

  ReceiveCommand command;
  command.wait = absl::Seconds(31);
  const auto again = world.Receive("t", "g", command);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->front().attempt, 2);
}

TEST_F(ShardRacesTest, AClockThatStepsWhileTheShardRunsChangesNoInvisibleTime) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  ASSERT_TRUE(world.Receive("t", "g").ok());
  world.clock.JumpWall(-absl::Hours(3));
  ReceiveCommand command;
  command.wait = absl::Seconds(29);
  EXPECT_EQ(V2CodeOf(world.Receive("t", "g", command).status()), 40401);
  command.wait = absl::Seconds(2);
  EXPECT_TRUE(world.Receive("t", "g", command).ok());
}

// ---- delays of retries

// Goal: a push consumer that gives back with 0 gets the delay of the group's policy for that attempt; another duration counts as it is.
TEST_F(ShardRacesTest, APushConsumerThatGivesBackWithZeroWaitsAsThePolicySays) {
  world.definitions.groups["g"] = {.name = "g", .version = 50, .retry = {.max_attempts = 9, .delays = {absl::Seconds(3), absl::Seconds(20)}}};
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  for (const absl::Duration delay : {absl::Seconds(3), absl::Seconds(20), absl::Seconds(20)}) {
    ReceiveCommand command;
    command.auto_renew = true;
    const auto received = world.Receive("t", "g", command);
    ASSERT_TRUE(received.ok()) << received.status();
    ASSERT_TRUE(world.Change("t", "g", received->front().receipt_handle, absl::ZeroDuration()).ok());
    world.scheduler.RunFor(delay - absl::Milliseconds(500));
    EXPECT_EQ(V2CodeOf(world.Receive("t", "g").status()), 40401);
    world.scheduler.RunFor(absl::Seconds(1));
  }
  EXPECT_EQ(world.Receive("t", "g")->front().attempt, 4);
}

// ---- calls whose client has given up

// Goal: what a client counts as failed, and sends again, is not stored late.
TEST_F(ShardRacesTest, ASendWhoseDeadlinePassedWhileItWaitedIsNotStored) {
  world.Start();
  std::optional<absl::StatusOr<std::vector<SendOutcome>>> late, timely;
  SendCommand command = ShardWorld::MakeSend("new", {"late"}, "");
  command.remaining = absl::Seconds(1);
  world.definitions.hold = true;  // the topic is being looked up
  world.shard->Send(std::move(command), [&](auto result) { late = std::move(result); });
  command = ShardWorld::MakeSend("new", {"timely"}, "");
  command.remaining = absl::Seconds(30);
  world.shard->Send(std::move(command), [&](auto result) { timely = std::move(result); });
  world.scheduler.RunFor(absl::Seconds(3));
  world.definitions.Release();
  world.scheduler.RunFor(absl::Seconds(3));

  ASSERT_TRUE(late.has_value());
  EXPECT_EQ(V2CodeOf(late->status()), 50400) << late->status();
  ASSERT_TRUE(timely.has_value());
  EXPECT_TRUE(timely->ok()) << timely->status();
  EXPECT_THAT(world.Drain("new", "g"), ElementsAre("timely"));
  EXPECT_EQ(world.counts.refused, 1u);
}

TEST_F(ShardRacesTest, ACancelledPullIsAnsweredAtOnceAndForgotten) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  std::optional<absl::StatusOr<PullOutcome>> answer;
  const ReceiveId id = world.shard->Pull({.client = {.client_id = "c"}, .topic = "t", .group = "", .queue = 3, .offset = 0,
                                          .max_messages = 32, .filter = {}, .wait = absl::Seconds(60)},
                                         [&](absl::StatusOr<PullOutcome> result) { answer = std::move(result); });
  world.scheduler.RunFor(absl::Seconds(1));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(world.Status().parked_receives, 1);

  world.shard->CancelPull(id);
  world.scheduler.RunUntilIdle();

  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(absl::IsCancelled(answer->status())) << answer->status();
  EXPECT_EQ(world.Status().parked_receives, 0);
  world.shard->CancelPull(id);
  world.shard->CancelPull(12345);
  world.scheduler.RunUntilIdle();
}

// ---- room

TEST_F(ShardRacesTest, RoomThatADeadLetterFreesWakesAParkedReceive) {
  world.options.max_in_flight_per_group = 1;
  MaxAttempts(1);
  world.Start();
  ASSERT_TRUE(world.Send("t", {"1", "2"}).ok());
  ASSERT_EQ(world.Receive("t", "g")->size(), 1u);
  Park("t", absl::Seconds(50));
  ASSERT_FALSE(parked.has_value());

  world.scheduler.RunFor(absl::Seconds(32));

  EXPECT_EQ(world.counts.dead_lettered, 1u);
  ASSERT_TRUE(parked.has_value());
  EXPECT_EQ(parked->value().size(), 1u);
}

TEST_F(ShardRacesTest, RoomThatRetentionFreesWakesAParkedReceive) {
  world.options.max_in_flight_per_group = 1;
  world.options.log.segment_bytes = 64 << 10;
  world.options.retention_time = absl::Hours(1);
  world.options.max_wait = absl::Hours(10);
  world.Start();
  ASSERT_TRUE(world.Send("t", {"old"}).ok());
  ReceiveCommand command;
  command.invisible_duration = absl::Hours(10);
  ASSERT_EQ(world.Receive("t", "g", command)->size(), 1u);
  Park("t", absl::Hours(9));
  world.scheduler.RunFor(absl::Minutes(50));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(world.Send("u", {std::string(60 << 10, 'x')}).ok());
  ASSERT_TRUE(world.Send("t", {"new"}).ok());
  world.scheduler.RunFor(absl::Minutes(1));
  ASSERT_FALSE(parked.has_value());

  world.scheduler.RunFor(absl::Minutes(90));

  EXPECT_EQ(world.counts.lost, 1u);
  ASSERT_TRUE(parked.has_value());
  EXPECT_EQ(ShardWorld::Body(parked->value().front()), "new");
}

TEST_F(ShardRacesTest, RoomThatADeletedTopicFreesWakesAParkedReceive) {
  world.options.max_in_flight_per_group = 1;
  world.Start();
  ASSERT_TRUE(world.Send("t", {"1"}).ok());
  ASSERT_TRUE(world.Send("u", {"2"}).ok());
  ASSERT_EQ(world.Receive("t", "g")->size(), 1u);
  Park("u", absl::Seconds(20));
  ASSERT_FALSE(parked.has_value());

  world.definitions.DeleteTopic("t", [](const absl::Status&) {});
  world.scheduler.RunFor(absl::Seconds(1));

  ASSERT_TRUE(parked.has_value());
  EXPECT_TRUE(parked->ok()) << parked->status();
}

// ---- an acknowledgement and the way to the dead letters

// Goal: a message is acknowledged or a dead letter, never both. Method: the acknowledgement comes at every step of the move.
TEST_F(ShardRacesTest, AnAcknowledgedMessageIsNeverADeadLetter) {
  for (int steps = 0; steps < 40; ++steps) {
    const std::string topic = absl::StrCat("t", steps), group = absl::StrCat("g", steps);
    if (steps == 0) world.Start();
    ASSERT_TRUE(world.Send(topic, {"x"}).ok());
    const auto received = world.Receive(topic, group);
    ASSERT_TRUE(received.ok());
    std::optional<absl::Status> forwarded;
    world.shard->ForwardToDeadLetter({.client = {.client_id = "consumer"}, .topic = topic, .group = group,
                                      .receipt_handle = received->front().receipt_handle, .message_id = "", .delivery_attempt = 1},
                                     [&](const absl::Status& status) { forwarded = status; });
    for (int i = 0; i < steps; ++i) world.scheduler.RunOne();
    const absl::Status acknowledged = world.Ack(topic, group, received->front().receipt_handle);
    world.scheduler.RunFor(absl::Seconds(5));

    ASSERT_TRUE(forwarded.has_value());
    const size_t dead = world.Drain(absl::StrCat("%DLQ%", group), "undertaker").size();
    EXPECT_EQ(dead, acknowledged.ok() ? 0u : 1u) << steps << " steps: " << acknowledged;
    if (!acknowledged.ok()) {
      EXPECT_EQ(V2CodeOf(acknowledged), 40013);
    }
  }
}

}  // namespace
}  // namespace fulmar::broker
