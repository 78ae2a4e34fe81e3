// The rules of delivery, each seen from outside: a whole shard (log, index, progress) on simulated time and disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/broker/shard_world.h"
#include "services/common/errors.h"
#include "services/common/files.h"
#include "services/common/log.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

#define EXPECT_V2(status, code) EXPECT_EQ(V2CodeOf(status), code) << (status)

class ShardTest : public testing::Test {
 protected:
  ShardTest() : world(sim::TestSeed()) {}
  std::vector<std::string> Bodies(const std::vector<Delivered>& messages) {
    std::vector<std::string> bodies;
    for (const Delivered& message : messages) bodies.push_back(ShardWorld::Body(message));
    return bodies;
  }
  // One message delivered to "g".
  Delivered SendAndReceive(const std::string& body, ReceiveCommand command = {}) {
    EXPECT_TRUE(world.Send("t", {body}).ok());
    const auto received = world.Receive("t", "g", std::move(command));
    EXPECT_TRUE(received.ok()) << received.status();
    EXPECT_EQ(received->size(), 1u);
    return received->front();
  }
  int64_t Lag(const std::string& group) {
    const absl::StatusOr<GroupState> state = world.Group(group);
    EXPECT_TRUE(state.ok()) << state.status();
    int64_t lag = 0;
    for (const GroupQueueState& queue : state->queues) lag += queue.lag;
    return lag;
  }
  ReceiveCommand Wait(absl::Duration wait) {
    ReceiveCommand command;
    command.wait = wait;
    return command;
  }
  common::LogCapture quiet;
  ShardWorld world;
};

// ---- send and receive

TEST_F(ShardTest, WhatIsSentIsReceivedOnceAndAcknowledged) {
  world.Start();
  const auto sent = world.Send("t", {"a", "b", "c", "d", "e"});
  ASSERT_TRUE(sent.ok()) << sent.status();
  for (const SendOutcome& outcome : *sent) EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ((*sent)[0].message_id, "id-a");

  EXPECT_THAT(world.Drain("t", "g"), UnorderedElementsAre("a", "b", "c", "d", "e"));
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
  EXPECT_EQ(world.counts.stored, 5u);
  EXPECT_EQ(world.counts.acknowledged, 5u);
}

TEST_F(ShardTest, SendsGoRoundTheQueuesAndEachQueueKeepsItsOrder) {
  world.Start();
  std::vector<std::string> bodies;
  for (int i = 0; i < 40; ++i) bodies.push_back(absl::StrCat(i));
  ASSERT_TRUE(world.Send("t", bodies).ok());

  std::map<int32_t, std::vector<int>> by_queue;
  for (int i = 0; i < 2; ++i) {
    const auto received = world.Receive("t", "g");
    ASSERT_TRUE(received.ok());
    for (const Delivered& message : *received) by_queue[message.queue].push_back(std::stoi(ShardWorld::Body(message)));
  }
  ASSERT_EQ(by_queue.size(), 4u);
  for (const auto& [queue, numbers] : by_queue) {
    EXPECT_EQ(numbers.size(), 10u);
    EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  }
}

TEST_F(ShardTest, EveryGroupGetsEveryMessage) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a", "b"}).ok());
  EXPECT_THAT(world.Drain("t", "g"), UnorderedElementsAre("a", "b"));
  EXPECT_THAT(world.Drain("t", "h"), UnorderedElementsAre("a", "b"));
}

TEST_F(ShardTest, AReceiveTakesAtMostWhatIsAllowed) {
  world.Start();
  std::vector<std::string> bodies(100, "x");
  ASSERT_TRUE(world.Send("t", bodies).ok());
  ReceiveCommand command;
  command.max_messages = 100000;
  EXPECT_EQ(world.Receive("t", "g", command)->size(), 32u);
  command.max_messages = 1;
  EXPECT_EQ(world.Receive("t", "g", command)->size(), 1u);
  command.max_messages = 0;
  EXPECT_EQ(world.Receive("t", "g", command)->size(), 1u);
}

TEST_F(ShardTest, OtherMessageTypesAreRefusedAndNeverStoredAsNormal) {
  world.Start();
  for (const int type : {4, 5, 0}) {
    SendCommand command = ShardWorld::MakeSend("t", {"x"}, "");
    command.type = static_cast<uint8_t>(type);
    std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
    world.shard->Send(std::move(command), [&](auto result) { answer = std::move(result); });
    EXPECT_V2(world.Await(answer).status(), 50100);
  }
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
}

TEST_F(ShardTest, ANormalMessageInATopicOfAnotherTypeIsAConflict) {
  world.definitions.topics["orders"] = {.name = "orders", .topic_id = 900, .version = 900, .type = index::TopicType::kFifo};
  world.Start();
  EXPECT_V2(world.Send("orders", {"x"}).status(), 40014);
}

// ---- definitions

TEST_F(ShardTest, AnUnknownTopicIsMadeWithFourQueuesWhenTheSwitchIsOn) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  EXPECT_EQ(world.definitions.topics.at("t").queues, 4);
}

TEST_F(ShardTest, AnUnknownTopicIsNotFoundWhenTheSwitchIsOff) {
  world.options.auto_create_topics = false;
  world.Start();
  EXPECT_V2(world.Send("t", {"a"}).status(), 40402);
  EXPECT_V2(world.Receive("t", "g").status(), 40402);
}

TEST_F(ShardTest, AnUnknownGroupIsNotFoundWhenTheSwitchIsOff) {
  world.options.auto_create_groups = false;
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  EXPECT_V2(world.Receive("t", "g").status(), 40403);
}

TEST_F(ShardTest, ManyWhoNeedTheSameUnknownTopicCauseOneLookUp) {
  world.Start();
  int answered = 0;
  for (int i = 0; i < 50; ++i) {
    world.shard->Send(ShardWorld::MakeSend("t", {"a"}, ""), [&](auto result) { answered += result.ok() ? 1 : 0; });
  }
  world.scheduler.RunUntilIdle();
  EXPECT_EQ(answered, 50);
  EXPECT_EQ(world.definitions.lookups, 2);  // get, ensure
}

TEST_F(ShardTest, AnErrorOnAReceiveIsToldAfterASecond) {
  world.options.auto_create_topics = false;
  world.Start();
  const absl::Time before = world.clock.Now();
  EXPECT_FALSE(world.Receive("t", "g").ok());
  EXPECT_GE(world.clock.Now() - before, absl::Seconds(1));
}

TEST_F(ShardTest, ADeletedTopicEndsItsReceivesAndItsNameBeginsAnew) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"old"}).ok());
  std::optional<absl::StatusOr<std::vector<Delivered>>> parked;
  ASSERT_THAT(world.Drain("t", "g"), ElementsAre("old"));
  world.shard->Receive(world.MakeReceive("t", "g", Wait(absl::Seconds(50))), [&](auto result) { parked = std::move(result); });
  world.scheduler.RunFor(absl::Seconds(1));
  world.definitions.DeleteTopic("t", [](const absl::Status&) {});
  EXPECT_V2(world.Await(parked).status(), 40402);

  const auto sent = world.Send("t", {"new"});
  ASSERT_TRUE(sent.ok()) << sent.status();
  EXPECT_EQ(sent->front().offset, 0);
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("new"));
}

TEST_F(ShardTest, ADeletedGroupIsForgottenAtTheOffsetService) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  ASSERT_THAT(world.Drain("t", "g"), ElementsAre("a"));
  world.scheduler.RunFor(absl::Seconds(1));
  ASSERT_FALSE(world.progress.kept.empty());
  world.definitions.DeleteGroup("g", [](const absl::Status&) {});
  world.scheduler.RunFor(absl::Seconds(1));

  EXPECT_TRUE(world.progress.kept.empty());
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("a"));  // made again: from the beginning
}

TEST_F(ShardTest, AGroupThatStartsAtTheLatestSkipsWhatWasThere) {
  world.definitions.groups["g"] = {.name = "g", .version = 50, .from = index::StartFrom::kLatest};
  world.Start();
  ASSERT_TRUE(world.Send("t", {"before"}).ok());
  EXPECT_V2(world.Receive("t", "g").status(), 40401);
  world.scheduler.RunFor(absl::Seconds(1));
  ASSERT_TRUE(world.Send("t", {"after"}).ok());
  world.Kill();  // the start is remembered although nothing was ever acknowledged
  world.Start();
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("after"));
}

// ---- parking

TEST_F(ShardTest, AParkedReceiveIsWokenByTheMessageAndNotByATimer) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  ASSERT_THAT(world.Drain("t", "g"), ElementsAre("x"));
  std::optional<absl::StatusOr<std::vector<Delivered>>> parked;
  world.shard->Receive(world.MakeReceive("t", "g", Wait(absl::Seconds(20))), [&](auto result) { parked = std::move(result); });
  world.scheduler.RunFor(absl::Seconds(3));
  ASSERT_FALSE(parked.has_value());
  EXPECT_EQ(world.Status().parked_receives, 1);

  world.shard->Send(ShardWorld::MakeSend("t", {"y"}, ""), [](auto) {});
  world.scheduler.RunUntilIdle();  // no time passes
  ASSERT_TRUE(parked.has_value());
  EXPECT_THAT(Bodies(parked->value()), ElementsAre("y"));
}

TEST_F(ShardTest, AnEmptyPollEndsAtItsTimeAndNotBefore) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  world.Drain("t", "g");
  const absl::Time before = world.clock.Now();
  EXPECT_V2(world.Receive("t", "g", Wait(absl::Seconds(10))).status(), 40401);
  EXPECT_GE(world.clock.Now() - before, absl::Seconds(10));
  EXPECT_LE(world.clock.Now() - before, absl::Milliseconds(10100));
}

TEST_F(ShardTest, TwoWhoWaitAreServedInTheOrderOfTheirComing) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  world.Drain("t", "g");
  std::optional<absl::StatusOr<std::vector<Delivered>>> first, second;
  ReceiveCommand one = Wait(absl::Seconds(20));
  one.max_messages = 1;
  world.shard->Receive(world.MakeReceive("t", "g", one), [&](auto result) { first = std::move(result); });
  world.shard->Receive(world.MakeReceive("t", "g", one), [&](auto result) { second = std::move(result); });
  world.scheduler.RunFor(absl::Seconds(1));

  ASSERT_TRUE(world.Send("t", {"1"}).ok());
  world.scheduler.RunUntilIdle();
  EXPECT_TRUE(first.has_value());
  EXPECT_FALSE(second.has_value());
  ASSERT_TRUE(world.Send("t", {"2"}).ok());
  world.scheduler.RunUntilIdle();
  ASSERT_TRUE(second.has_value());
  EXPECT_THAT(Bodies(second->value()), ElementsAre("2"));
}

TEST_F(ShardTest, ACancelledReceiveGetsNothingAndLosesNothing) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  world.Drain("t", "g");
  std::optional<absl::StatusOr<std::vector<Delivered>>> gone;
  const ReceiveId id =
      world.shard->Receive(world.MakeReceive("t", "g", Wait(absl::Seconds(20))), [&](auto result) { gone = std::move(result); });
  world.scheduler.RunFor(absl::Seconds(1));
  world.shard->CancelReceive(id);
  world.shard->CancelReceive(id + 1000);
  world.scheduler.RunUntilIdle();
  ASSERT_TRUE(gone.has_value());
  EXPECT_TRUE(absl::IsCancelled(gone->status()));

  ASSERT_TRUE(world.Send("t", {"y"}).ok());
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("y"));
}

TEST_F(ShardTest, ParkedReceivesHaveABound) {
  world.options.max_parked_receives = 10;
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  world.Drain("t", "g");
  for (int i = 0; i < 10; ++i) world.shard->Receive(world.MakeReceive("t", "g", Wait(absl::Seconds(50))), [](auto) {});
  world.scheduler.RunUntilIdle();
  const absl::Time before = world.clock.Now();
  EXPECT_V2(world.Receive("t", "g", Wait(absl::Seconds(50))).status(), 42900);
  EXPECT_GE(world.clock.Now() - before, absl::Seconds(1));
}

TEST_F(ShardTest, AtTheBoundOfAGroupOnlyRetriesAreDeliveredUntilSomethingIsAcknowledged) {
  world.options.max_in_flight_per_group = 3;
  world.Start();
  ASSERT_TRUE(world.Send("t", {"1", "2", "3", "4", "5"}).ok());
  const auto first = world.Receive("t", "g");
  ASSERT_EQ(first->size(), 3u);
  std::optional<absl::StatusOr<std::vector<Delivered>>> parked;
  world.shard->Receive(world.MakeReceive("t", "g", Wait(absl::Seconds(20))), [&](auto result) { parked = std::move(result); });
  world.scheduler.RunFor(absl::Seconds(5));
  ASSERT_FALSE(parked.has_value());

  ASSERT_TRUE(world.Ack("t", "g", first->front().receipt_handle).ok());
  world.scheduler.RunUntilIdle();
  ASSERT_TRUE(parked.has_value());
  EXPECT_EQ(parked->value().size(), 1u);
}

// ---- retries

TEST_F(ShardTest, WithoutAnAnswerAMessageComesAgainAfterItsInvisibleTimeWithAHigherAttempt) {
  world.Start();
  const Delivered first = SendAndReceive("x");
  EXPECT_EQ(first.attempt, 1);
  EXPECT_V2(world.Receive("t", "g", Wait(absl::Seconds(20))).status(), 40401);

  const auto again = world.Receive("t", "g", Wait(absl::Seconds(20)));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->front().attempt, 2);
  EXPECT_V2(world.Ack("t", "g", first.receipt_handle), 40013);
  EXPECT_TRUE(world.Ack("t", "g", again->front().receipt_handle).ok());
  EXPECT_V2(world.Ack("t", "g", again->front().receipt_handle), 40013);
  EXPECT_EQ(world.counts.redelivered, 1u);
}

TEST_F(ShardTest, AnExpiredHandleStillCountsIfNobodyTookTheMessage) {
  world.Start();
  const Delivered message = SendAndReceive("x");
  world.scheduler.RunFor(absl::Minutes(1));
  EXPECT_TRUE(world.Ack("t", "g", message.receipt_handle).ok());
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
}

TEST_F(ShardTest, AChangedInvisibleTimeHoldsUnderTheNewHandleOnly) {
  world.Start();
  const Delivered message = SendAndReceive("x");
  const auto changed = world.Change("t", "g", message.receipt_handle, absl::Minutes(5));
  ASSERT_TRUE(changed.ok()) << changed.status();
  EXPECT_NE(*changed, message.receipt_handle);
  EXPECT_V2(world.Ack("t", "g", message.receipt_handle), 40013);
  EXPECT_V2(world.Receive("t", "g", Wait(absl::Seconds(60))).status(), 40401);
  EXPECT_TRUE(world.Ack("t", "g", *changed).ok());
}

TEST_F(ShardTest, ANackOfZeroWaitsASecond) {
  world.Start();
  const Delivered message = SendAndReceive("x");
  ASSERT_TRUE(world.Change("t", "g", message.receipt_handle, absl::ZeroDuration()).ok());
  const absl::Time before = world.clock.Now();
  const auto again = world.Receive("t", "g", Wait(absl::Seconds(10)));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->front().attempt, 2);
  EXPECT_GE(world.clock.Now() - before, absl::Milliseconds(999));
  EXPECT_LE(world.clock.Now() - before, absl::Milliseconds(1100));
}

TEST_F(ShardTest, InvisibleTimesHaveLimits) {
  world.Start();
  const Delivered message = SendAndReceive("x");
  EXPECT_V2(world.Change("t", "g", message.receipt_handle, absl::Hours(13)).status(), 40011);
  EXPECT_V2(world.Change("t", "g", message.receipt_handle, -absl::Seconds(1)).status(), 40011);
  ReceiveCommand command;
  command.invisible_duration = absl::Seconds(9);
  EXPECT_V2(world.Receive("t", "g", command).status(), 40011);
  command.invisible_duration = absl::Hours(13);
  EXPECT_V2(world.Receive("t", "g", command).status(), 40011);
}

TEST_F(ShardTest, WhatNeverReachedItsClientIsThereAtOnceAndTheAttemptDoesNotCount) {
  world.Start();
  const Delivered message = SendAndReceive("x");
  world.shard->ReturnUndelivered("g", {message.receipt_handle, "nonsense"});
  const auto again = world.Receive("t", "g");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->front().attempt, 1);
  EXPECT_V2(world.Ack("t", "g", message.receipt_handle), 40013);
}

TEST_F(ShardTest, HandlesOfOthersAreInvalid) {
  world.Start();
  const Delivered message = SendAndReceive("x");
  ASSERT_TRUE(world.Send("u", {"y"}).ok());
  ASSERT_TRUE(world.Receive("u", "h").ok());
  EXPECT_V2(world.Ack("t", "h", message.receipt_handle), 40013);
  EXPECT_V2(world.Ack("u", "g", message.receipt_handle), 40013);
  EXPECT_V2(world.Ack("t", "nobody", message.receipt_handle), 40013);
  EXPECT_V2(world.Ack("t", "g", "made up"), 40013);
  EXPECT_V2(world.Change("t", "h", message.receipt_handle, absl::Seconds(1)).status(), 40013);
  EXPECT_TRUE(world.Ack("t", "g", message.receipt_handle).ok());
}

// ---- dead letters

TEST_F(ShardTest, AfterTheLastAttemptAMessageIsADeadLetterOfItsGroup) {
  world.definitions.groups["g"] = {.name = "g", .version = 50, .retry = {.max_attempts = 2, .delays = {}}};
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}, "tag").ok());
  for (int attempt = 1; attempt <= 2; ++attempt) {
    const auto received = world.Receive("t", "g", Wait(absl::Seconds(40)));
    ASSERT_TRUE(received.ok()) << received.status();
    EXPECT_EQ(received->front().attempt, attempt);
  }
  EXPECT_V2(world.Receive("t", "g", Wait(absl::Seconds(59))).status(), 40401);

  const auto dead = world.Receive("%DLQ%g", "undertaker");
  ASSERT_TRUE(dead.ok()) << dead.status();
  const auto message = ParseMessageRecord(dead->front().record.view());
  EXPECT_EQ(message->body, "x");
  EXPECT_EQ(message->message_id, "id-x");
  EXPECT_EQ(message->tag, "tag");
  EXPECT_EQ(message->origin_topic, "t");
  EXPECT_EQ(message->origin_id, "id-x");
  EXPECT_EQ(world.definitions.topics.at("%DLQ%g").queues, 1);
  EXPECT_EQ(Lag("g"), 0);
}

TEST_F(ShardTest, AForwardedMessageIsADeadLetterOnceHoweverOftenItIsAsked) {
  world.Start();
  const Delivered message = SendAndReceive("x");
  int answered = 0;
  for (int i = 0; i < 3; ++i) {
    world.shard->ForwardToDeadLetter({.client = {.client_id = "c"},
                                      .topic = "t",
                                      .group = "g",
                                      .receipt_handle = message.receipt_handle,
                                      .message_id = "",
                                      .delivery_attempt = 1},
                                     [&](const absl::Status& status) { answered += status.ok() ? 1 : 0; });
  }
  world.scheduler.RunUntilIdle();
  EXPECT_EQ(answered, 3);
  EXPECT_TRUE(world.Forward("t", "g", message.receipt_handle).ok());
  EXPECT_THAT(world.Drain("%DLQ%g", "undertaker"), ElementsAre("x"));
  EXPECT_V2(world.Ack("t", "g", message.receipt_handle), 40013);
  EXPECT_EQ(world.counts.dead_lettered, 1u);
}

TEST_F(ShardTest, DeadLettersWaitWhileTheirTopicCannotBeMade) {
  world.definitions.groups["g"] = {.name = "g", .version = 50, .retry = {.max_attempts = 1, .delays = {}}};
  world.Start();
  SendAndReceive("x");
  world.definitions.away = true;
  world.scheduler.RunFor(absl::Seconds(40));
  EXPECT_EQ(world.counts.dead_lettered, 0u);
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
  world.definitions.away = false;
  world.scheduler.RunFor(absl::Seconds(5));
  EXPECT_THAT(world.Drain("%DLQ%g", "undertaker"), ElementsAre("x"));
}

// ---- automatic renewal

TEST_F(ShardTest, AnAutoRenewedMessageStaysAwayWhileItsClientLives) {
  world.Start();
  ReceiveCommand push;
  push.auto_renew = true;
  push.client.client_id = "push";
  const Delivered message = SendAndReceive("x", push);
  for (int i = 0; i < 60; ++i) {  // ten minutes of heartbeats
    world.scheduler.RunFor(absl::Seconds(10));
    world.shard->TouchClient({.client_id = "push"}, "g");
  }
  EXPECT_V2(world.Receive("t", "g").status(), 40401);
  EXPECT_TRUE(world.Ack("t", "g", message.receipt_handle).ok());
}

TEST_F(ShardTest, AnAutoRenewedMessageComesBackSoonAfterItsClientIsSilent) {
  world.Start();
  ReceiveCommand push;
  push.auto_renew = true;
  push.client.client_id = "push";
  SendAndReceive("x", push);
  const absl::Time before = world.clock.Now();
  const auto again = world.Receive("t", "g", Wait(absl::Seconds(59)));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->front().attempt, 2);
  EXPECT_GE(world.clock.Now() - before, absl::Seconds(25));
  EXPECT_LE(world.clock.Now() - before, absl::Seconds(28));
}

TEST_F(ShardTest, AClientThatSaysGoodByeGivesBackAfterASecond) {
  world.Start();
  ReceiveCommand push;
  push.auto_renew = true;
  push.client.client_id = "push";
  SendAndReceive("x", push);
  world.shard->ClientTerminated("push", "g");
  const absl::Time before = world.clock.Now();
  ASSERT_TRUE(world.Receive("t", "g", Wait(absl::Seconds(20))).ok());
  EXPECT_LE(world.clock.Now() - before, absl::Seconds(2));
}

TEST_F(ShardTest, RenewalEndsAfterItsLimit) {
  world.options.auto_renew_limit = absl::Minutes(3);
  world.Start();
  ReceiveCommand push;
  push.auto_renew = true;
  push.client.client_id = "push";
  SendAndReceive("x", push);
  for (int i = 0; i < 19; ++i) {
    world.scheduler.RunFor(absl::Seconds(10));
    world.shard->TouchClient({.client_id = "push"}, "g");
  }
  EXPECT_EQ(world.Receive("t", "g")->front().attempt, 2);
}

// ---- filters

TEST_F(ShardTest, WhatDoesNotMatchTheTagIsDoneForTheGroup) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a1", "a2"}, "A").ok());
  ASSERT_TRUE(world.Send("t", {"b1"}, "B").ok());
  ReceiveCommand command;
  command.filter = Filter::Parse(FilterKind::kTag, "A").value();
  const auto received = world.Receive("t", "g", command);
  EXPECT_THAT(Bodies(*received), UnorderedElementsAre("a1", "a2"));
  for (const Delivered& message : *received) ASSERT_TRUE(world.Ack("t", "g", message.receipt_handle).ok());
  EXPECT_V2(world.Receive("t", "g", command).status(), 40401);
  EXPECT_EQ(Lag("g"), 0);
}

TEST_F(ShardTest, ManyFilteredMessagesDoNotHoldUpTheOthers) {
  world.options.scan_budget = 50;
  world.Start();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(world.Send("t", std::vector<std::string>(100, "no"), "B").ok());
  ASSERT_TRUE(world.Send("t", {"yes"}, "A").ok());
  ReceiveCommand command;
  command.filter = Filter::Parse(FilterKind::kTag, "A").value();
  EXPECT_THAT(Bodies(world.Receive("t", "g", command).value()), ElementsAre("yes"));
}

// ---- progress

TEST_F(ShardTest, AfterARestartConsumptionGoesOnWhereItWas) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a", "b", "c"}).ok());
  const auto received = world.Receive("t", "g");
  ASSERT_EQ(received->size(), 3u);
  for (const Delivered& message : *received) {
    if (ShardWorld::Body(message) == "b") continue;
    ASSERT_TRUE(world.Ack("t", "g", message.receipt_handle).ok());
  }
  world.scheduler.RunFor(absl::Milliseconds(200));
  world.Kill();
  world.Start();
  EXPECT_V2(world.Receive("t", "g").status(), 40401);  // still invisible
  const auto again = world.Receive("t", "g", Wait(absl::Seconds(40)));
  ASSERT_TRUE(again.ok());
  EXPECT_THAT(Bodies(*again), ElementsAre("b"));
  EXPECT_EQ(again->front().attempt, 2);
}

TEST_F(ShardTest, ANewLeaderHonoursTheHandlesOfTheOldOne) {
  world.Start();
  const Delivered kept = SendAndReceive("kept");
  world.scheduler.RunFor(absl::Milliseconds(200));
  const Delivered unkept = SendAndReceive("unkept");
  world.Kill();  // before the progress of the second was written
  world.Start();
  EXPECT_TRUE(world.Ack("t", "g", kept.receipt_handle).ok());
  EXPECT_TRUE(world.Ack("t", "g", unkept.receipt_handle).ok());
  EXPECT_V2(world.Ack("t", "g", kept.receipt_handle), 40013);
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
}

TEST_F(ShardTest, WithIntervalZeroAnAnsweredAcknowledgementIsNeverUndone) {
  world.options.progress_flush_interval = absl::ZeroDuration();
  world.Start();
  const Delivered message = SendAndReceive("x");
  ASSERT_TRUE(world.Ack("t", "g", message.receipt_handle).ok());
  world.Kill();
  world.Start();
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
}

TEST_F(ShardTest, ServesOnWhileTheOffsetServiceIsAwayAndResumesFromItsOwnLog) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a", "b"}).ok());
  world.progress.away = true;
  EXPECT_THAT(world.Drain("t", "g"), UnorderedElementsAre("a", "b"));
  ASSERT_TRUE(world.Send("t", {"c"}).ok());
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("c"));
  world.scheduler.RunFor(absl::Seconds(1));
  world.Kill();
  world.progress.away = false;  // back, with what it knew before
  world.Start();
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
  int64_t cursors = 0;
  for (const auto& [key, entry] : world.progress.kept) cursors += entry.cursor;
  EXPECT_EQ(cursors, 3);  // and it was told what it lacked
}

TEST_F(ShardTest, AnAcknowledgementIsAnsweredFromTheOwnLogWhenTheOffsetServiceIsSilent) {
  world.options.progress_flush_interval = absl::ZeroDuration();
  world.Start();
  const Delivered message = SendAndReceive("x");
  world.scheduler.RunFor(absl::Seconds(1));
  world.progress.silent = true;
  EXPECT_TRUE(world.Ack("t", "g", message.receipt_handle).ok());
  world.Kill();
  world.progress.silent = false;
  world.Start();
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
}

TEST_F(ShardTest, AFencedLeaderServesNothingMore) {
  world.Start();
  const Delivered message = SendAndReceive("x");
  world.progress.claimed = Term{1000};
  EXPECT_TRUE(world.Ack("t", "g", message.receipt_handle).ok());  // inside the window: not yet known
  world.scheduler.RunFor(absl::Seconds(1));
  EXPECT_FALSE(world.Status().serving);
  EXPECT_FALSE(world.Status().health.ok());
  EXPECT_V2(world.Receive("t", "g").status(), 50002);
}

TEST_F(ShardTest, CommandsWaitForTheClaimAndSaySoWhenItDoesNotCome) {
  world.progress.away = true;
  world.Start(/*wait=*/false);
  EXPECT_TRUE(world.Send("t", {"a"}).ok());  // needs no progress
  EXPECT_V2(world.Receive("t", "g").status(), 50002);
  world.progress.away = false;
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("a"));
}

TEST_F(ShardTest, StopWritesProgressAndAnswersTheParked) {
  world.Start();
  const Delivered message = SendAndReceive("x");
  std::optional<absl::StatusOr<std::vector<Delivered>>> parked;
  world.shard->Receive(world.MakeReceive("t", "g", Wait(absl::Seconds(50))), [&](auto result) { parked = std::move(result); });
  ASSERT_TRUE(world.Ack("t", "g", message.receipt_handle).ok());
  world.Stop();
  ASSERT_TRUE(parked.has_value());
  EXPECT_V2(parked->status(), 40401);
  world.Start();
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
}

// ---- offsets

TEST_F(ShardTest, AResetGroupReadsAgainFromThereAndOldHandlesAreVoid) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a", "b", "c", "d"}).ok());
  EXPECT_EQ(world.Drain("t", "g").size(), 4u);
  std::optional<absl::StatusOr<bool>> reset;
  const auto note = [&](const absl::Status& status) { reset = status.ok() ? absl::StatusOr<bool>(true) : absl::StatusOr<bool>(status); };
  world.shard->ResetGroupOffset("g", "t", {.policy = OffsetPolicy::kBeginning, .time = {}, .offset = {}}, note);
  ASSERT_TRUE(world.Await(reset).ok());
  world.Kill();  // a reset that was answered is kept
  world.Start();
  const auto again = world.Receive("t", "g");
  EXPECT_EQ(again->size(), 4u);

  reset.reset();
  world.shard->ResetGroupOffset("g", "", {.policy = OffsetPolicy::kEnd, .time = {}, .offset = {}}, note);
  ASSERT_TRUE(world.Await(reset).ok());
  EXPECT_V2(world.Ack("t", "g", again->front().receipt_handle), 40013);
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
}

TEST_F(ShardTest, OffsetsCanBeAskedSetAndPulled) {
  world.definitions.topics["one"] = {.name = "one", .topic_id = 901, .version = 900, .queues = 1};
  world.Start();
  ASSERT_TRUE(world.Send("one", {"a", "b"}).ok());
  world.scheduler.RunFor(absl::Seconds(10));
  const absl::Time between = world.clock.Now();
  world.scheduler.RunFor(absl::Seconds(10));
  ASSERT_TRUE(world.Send("one", {"c"}).ok());

  const auto offset = [&](auto ask) {
    std::optional<absl::StatusOr<int64_t>> answer;
    ask([&](absl::StatusOr<int64_t> result) { answer = std::move(result); });
    return world.Await(answer);
  };
  EXPECT_EQ(offset([&](auto done) { world.shard->QueryOffset("one", 0, OffsetPolicy::kBeginning, {}, done); }).value(), 0);
  EXPECT_EQ(offset([&](auto done) { world.shard->QueryOffset("one", 0, OffsetPolicy::kEnd, {}, done); }).value(), 3);
  EXPECT_EQ(offset([&](auto done) { world.shard->QueryOffset("one", 0, OffsetPolicy::kTime, between, done); }).value(), 2);
  EXPECT_V2(offset([&](auto done) { world.shard->QueryOffset("one", 7, OffsetPolicy::kEnd, {}, done); }).status(), 40000);
  EXPECT_V2(offset([&](auto done) { world.shard->QueryOffset("two", 0, OffsetPolicy::kEnd, {}, done); }).status(), 40402);
  EXPECT_V2(offset([&](auto done) { world.shard->GetOffset("one", "g", 0, done); }).status(), 40404);
  const auto update = [&](int64_t to) {
    std::optional<absl::StatusOr<bool>> answer;
    world.shard->UpdateOffset("one", "g", 0, to, [&](const absl::Status& status) {
      answer = status.ok() ? absl::StatusOr<bool>(true) : absl::StatusOr<bool>(status);
    });
    return world.Await(answer).status();
  };
  EXPECT_TRUE(update(1).ok());
  EXPECT_V2(update(4), 40019);
  EXPECT_V2(update(-1), 40019);
  EXPECT_EQ(offset([&](auto done) { world.shard->GetOffset("one", "g", 0, done); }).value(), 1);

  const auto pull = [&](int64_t from, absl::Duration wait) {
    PullCommand command;
    command.client.client_id = "puller";
    command.topic = "one";
    command.offset = from;
    command.wait = wait;
    std::optional<absl::StatusOr<PullOutcome>> answer;
    world.shard->Pull(command, [&](absl::StatusOr<PullOutcome> result) { answer = std::move(result); });
    return world.Await(answer);
  };
  const auto pulled = pull(1, absl::ZeroDuration());
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_THAT(Bodies(pulled->messages), ElementsAre("b", "c"));
  EXPECT_EQ(pulled->next_offset, 3);
  const auto nothing = pull(3, absl::Seconds(2));
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_TRUE(nothing->messages.empty());
  EXPECT_EQ(nothing->next_offset, 3);
  EXPECT_V2(pull(-1, absl::Seconds(2)).status(), 40019);
}

// ---- definitions

TEST_F(ShardTest, WhatWasJustMadeIsDescribedThoughItsNewsHaveNotComeYet) {
  world.Start();
  index::TopicDefinition topic;
  topic.name = "new";
  std::optional<absl::StatusOr<index::TopicDefinition>> made;
  world.definitions.EnsureTopic(topic, [&](absl::StatusOr<index::TopicDefinition> result) { made = std::move(result); });
  ASSERT_TRUE(world.Await(made).ok());
  const auto describe = [&](const std::string& name) {
    std::optional<absl::StatusOr<TopicState>> answer;
    world.shard->DescribeTopic(name, [&](absl::StatusOr<TopicState> result) { answer = std::move(result); });
    return world.Await(answer);
  };

  const absl::StatusOr<TopicState> state = describe("new");

  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->queues.size(), 4U);
  EXPECT_V2(describe("nowhere").status(), 40402);  // and it is not made by being asked for
  EXPECT_V2(describe("nowhere").status(), 40402);
}

TEST_F(ShardTest, AReceiveWithoutTopicAndGroupIsToldOfTheTopic) {
  world.options.auto_create_topics = false;
  world.options.auto_create_groups = false;
  world.Start();

  EXPECT_V2(world.Receive("nowhere", "nobody").status(), 40402);
}

// ---- trouble

TEST_F(ShardTest, AFailedSyncIsNeverAnsweredAsSuccessAndTheShardSaysWhy) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  world.files.FailNth(sim::FileOp::kSync);
  EXPECT_FALSE(world.Send("t", {"b"}).ok());
  EXPECT_FALSE(world.Send("t", {"c"}).ok());
  EXPECT_FALSE(world.Status().health.ok());
  EXPECT_FALSE(world.Status().serving);
}

// Goal: garbage is never delivered, the message stays in the lag, and trying again does not become a hot loop.
TEST_F(ShardTest, AMessageWithDamagedBytesIsHeldBackAndCountedWhileTheOthersFlow) {
  world.options.log.cache_bytes = 1;
  world.Start();
  for (const std::string body : {"one", "the-bad-one", "three"}) ASSERT_TRUE(world.Send("t", {body}).ok());
  world.scheduler.RunFor(absl::Seconds(1));
  world.Stop();
  int flipped = 0;
  const std::vector<std::string> names = world.files.List("/data/log/segments").value();
  for (const std::string& name : names) {
    const std::string path = absl::StrCat("/data/log/segments/", name);
    const std::string bytes = common::ReadWholeFile(world.files, path).value();
    const size_t at = bytes.rfind("the-bad-one");
    if (at == std::string::npos) continue;
    world.Start();  // opened while it was whole
    world.files.FlipBit(path, at);
    ++flipped;
    break;
  }
  ASSERT_EQ(flipped, 1);

  EXPECT_THAT(world.Drain("t", "g"), UnorderedElementsAre("one", "three"));
  EXPECT_EQ(world.counts.unreadable, 1u);
  world.scheduler.RunFor(absl::Seconds(90));
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
  EXPECT_EQ(world.counts.unreadable, 2u);
  EXPECT_EQ(Lag("g"), 1);
}

TEST_F(ShardTest, TenThousandParkedReceivesAreWokenAndEndedInTime) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  world.Drain("t", "g");
  int answered = 0, empty = 0;
  for (int i = 0; i < 10000; ++i) {
    world.shard->Receive(world.MakeReceive("t", "g", Wait(absl::Seconds(20))), [&](const auto& result) { result.ok() ? ++answered : ++empty; });
  }
  world.scheduler.RunFor(absl::Seconds(5));
  EXPECT_EQ(world.Status().parked_receives, 10000);
  ASSERT_TRUE(world.Send("t", {"1", "2", "3"}).ok());
  world.scheduler.RunUntilIdle();
  EXPECT_GE(answered, 1);
  world.scheduler.RunFor(absl::Seconds(20));
  EXPECT_EQ(answered + empty, 10000);
  EXPECT_EQ(world.Status().parked_receives, 0);
}

TEST_F(ShardTest, AFullDiskRefusesSendsWhileReceivesAndAcknowledgementsGoOn) {
  world.options.log.segment_bytes = 256 << 10;
  world.Start();
  const std::string big(32 << 10, 'x');
  ASSERT_TRUE(world.Send("t", {"first"}).ok());
  world.scheduler.RunFor(absl::Seconds(1));
  world.files.SetCapacity(600 << 10);
  absl::Status refused;
  for (int i = 0; i < 100 && refused.ok(); ++i) refused = world.Send("t", {absl::StrCat(i, big)}).status();
  EXPECT_V2(refused, 42900);
  const auto received = world.Receive("t", "g");
  ASSERT_TRUE(received.ok());
  EXPECT_TRUE(world.Ack("t", "g", received->front().receipt_handle).ok());

  world.files.SetCapacity(std::nullopt);
  world.scheduler.RunFor(absl::Seconds(5));
  EXPECT_TRUE(world.Send("t", {"again"}).ok());
}

}  // namespace
}  // namespace fulmar::broker
