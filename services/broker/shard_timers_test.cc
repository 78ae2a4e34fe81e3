// Delayed messages and their recall, from outside: a whole shard on simulated time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "services/broker/shard_world.h"
#include "services/common/errors.h"
#include "services/common/log.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAreArray;

constexpr int kMessageNotFound = 40401, kConflict = 40014, kBadRequest = 40000, kTopicNotFound = 40402;

class ShardTimersTest : public testing::Test {
 protected:
  ShardTimersTest() : world(sim::TestSeed()) {
    world.options.log.segment_bytes = 256 << 10;
    world.options.retention_time = absl::Hours(2);
    world.options.retention_check_interval = absl::Seconds(10);
    Topic("later", index::TopicType::kDelay);
    Topic("plain", index::TopicType::kNormal);
    world.Start();
  }
  void Topic(const std::string& name, index::TopicType type) {
    index::TopicDefinition topic;
    topic.name = name;
    topic.topic_id = static_cast<uint32_t>(900 + world.definitions.topics.size());
    topic.version = 900;
    topic.type = type;
    topic.queues = 2;
    topic.shards = {};
    world.definitions.topics[name] = topic;
  }
  absl::StatusOr<std::string> SendAt(const std::string& body, absl::Time at, const std::string& topic = "later") {
    SendCommand command = ShardWorld::MakeSend(topic, {body}, "");
    command.type = 3;
    command.messages[0].delivery_ms = absl::ToUnixMillis(at);
    std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
    world.shard->Send(std::move(command), [&](absl::StatusOr<std::vector<SendOutcome>> result) { answer = std::move(result); });
    const auto outcomes = world.Await(answer);
    if (!outcomes.ok()) return outcomes.status();
    if (!outcomes->front().status.ok()) return outcomes->front().status;
    return outcomes->front().recall_handle;
  }
  absl::StatusOr<std::string> SendIn(const std::string& body, absl::Duration delay) { return SendAt(body, world.clock.Now() + delay); }
  absl::StatusOr<std::string> Recall(const std::string& handle, const std::string& topic = "later") {
    std::optional<absl::StatusOr<std::string>> answer;
    world.shard->Recall(topic, handle, [&](absl::StatusOr<std::string> result) { answer = std::move(result); });
    return world.Await(answer);
  }
  absl::StatusOr<std::vector<Delivered>> Receive(absl::Duration wait) {
    ReceiveCommand command;
    command.wait = wait;
    return world.Receive("later", "g", command);
  }
  void Fill(int segments) {
    const std::string body(8 << 10, 'x');
    for (int i = 0; i < segments * 32; ++i) ASSERT_TRUE(world.Send("plain", {absl::StrCat(i, body)}).ok());
  }
  std::map<std::string, std::string> Contents() {
    std::map<std::string, std::string> contents = world.kv->Contents();
    contents.erase("a");
    return contents;
  }
  // What the log alone makes, against what was there.
  void ExpectRebuildsAlike() {
    const auto before = Contents();
    world.Kill();
    world.kv = std::make_unique<index::MemKv>();
    world.Start();
    world.scheduler.RunFor(absl::Milliseconds(1));
    EXPECT_EQ(Contents(), before);
  }
  LogPosition Begin() { return world.Status().log.begin; }

  common::LogCapture quiet;
  ShardWorld world;
};

TEST_F(ShardTimersTest, AMessageComesAtItsMillisecondAndNotBefore) {
  const absl::Time at = world.clock.Now() + absl::Milliseconds(1234);
  ASSERT_TRUE(SendAt("a", at).ok());
  EXPECT_FALSE(Receive(absl::Milliseconds(500)).ok());

  const auto received = Receive(absl::Seconds(10));

  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(ShardWorld::Body(received->front()), "a");
  EXPECT_GE(world.clock.Now(), absl::FromUnixMillis(absl::ToUnixMillis(at)));
  EXPECT_LT(world.clock.Now(), at + absl::Milliseconds(20));
}

TEST_F(ShardTimersTest, PastTimesDeliverAtOnceHoweverLongAgo) {
  ASSERT_TRUE(SendIn("yesterday", -absl::Hours(24)).ok());
  ASSERT_TRUE(SendAt("long ago", absl::FromUnixSeconds(-62'000'000'000)).ok());
  ASSERT_TRUE(SendIn("now", absl::ZeroDuration()).ok());
  world.scheduler.RunFor(absl::Milliseconds(50));
  EXPECT_THAT(world.Drain("later", "g"), testing::UnorderedElementsAre("yesterday", "long ago", "now"));
}

TEST_F(ShardTimersTest, ManyDueTogetherAllComeOnceInTheOrderOfTheirTime) {
  std::vector<std::string> all;
  for (int i = 0; i < 5000; ++i) {
    all.push_back(absl::StrCat("m", i));
    ASSERT_TRUE(SendIn(all.back(), absl::Minutes(5)).ok());
  }
  world.scheduler.RunFor(absl::Minutes(6));
  EXPECT_THAT(world.Drain("later", "g"), UnorderedElementsAreArray(all));
}

TEST_F(ShardTimersTest, AStoredTimeAndThePlaceAreThoseOfTheDelivery) {
  ASSERT_TRUE(SendIn("a", absl::Hours(1)).ok());
  const absl::Time due = world.clock.Now() + absl::Hours(1);
  world.scheduler.RunFor(absl::Hours(1) + absl::Seconds(1));
  const auto received = Receive(absl::Seconds(1));
  ASSERT_TRUE(received.ok());
  const auto message = ParseMessageRecord(received->front().record.view());
  EXPECT_GE(message->store_time_ms, absl::ToUnixMillis(due) - 1);
  EXPECT_EQ(message->queue, received->front().queue);
  EXPECT_EQ(message->offset, received->front().offset);
}

TEST_F(ShardTimersTest, AWallClockThatIsSetBackMakesNothingEarly) {
  const absl::Time at = world.clock.Now() + absl::Seconds(10);
  ASSERT_TRUE(SendAt("a", at).ok());
  world.scheduler.RunFor(absl::Seconds(5));
  world.clock.JumpWall(-absl::Minutes(1));
  world.scheduler.RunFor(absl::Seconds(30));
  EXPECT_FALSE(Receive(absl::ZeroDuration()).ok());

  const auto received = Receive(absl::Minutes(1));

  ASSERT_TRUE(received.ok());
  EXPECT_GE(world.clock.Now(), absl::FromUnixMillis(absl::ToUnixMillis(at)));
}

TEST_F(ShardTimersTest, AWallClockThatIsSetForwardIsNoticedWithinASecond) {
  ASSERT_TRUE(SendIn("a", absl::Hours(5)).ok());
  world.clock.JumpWall(absl::Hours(5));
  const auto received = Receive(absl::Milliseconds(1100));
  EXPECT_TRUE(received.ok()) << received.status();
}

TEST_F(ShardTimersTest, TenYearsAheadWaitsTenYears) {
  ASSERT_TRUE(SendIn("a", absl::Hours(24 * 3650)).ok());
  world.clock.JumpWall(absl::Hours(24 * 3650) - absl::Seconds(10));
  world.scheduler.RunFor(absl::Seconds(5));
  EXPECT_FALSE(Receive(absl::ZeroDuration()).ok());
  EXPECT_TRUE(Receive(absl::Seconds(10)).ok());
}

TEST_F(ShardTimersTest, WaitingMessagesSurviveCrashesAndPowerLoss) {
  std::vector<std::string> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(absl::StrCat("m", i));
    ASSERT_TRUE(SendIn(all.back(), absl::Seconds(60 + i)).ok());
    if (i == 30) {
      world.Kill();
      world.Start();
    }
    if (i == 60) {
      world.LosePower();
      world.Start();
    }
  }
  world.LosePower();
  world.scheduler.RunFor(absl::Minutes(2));  // some came due while nobody was there
  world.Start();
  world.scheduler.RunFor(absl::Minutes(3));
  EXPECT_THAT(world.Drain("later", "g"), UnorderedElementsAreArray(all));
}

TEST_F(ShardTimersTest, ATopicForOtherKindsRefusesDelayedMessages) {
  const auto sent = SendAt("a", world.clock.Now(), "plain");
  EXPECT_EQ(V2CodeOf(sent.status()), kConflict);
}

TEST_F(ShardTimersTest, ADelayTopicRefusesNormalMessages) {
  const auto sent = world.Send("later", {"a"});
  EXPECT_EQ(V2CodeOf(sent.status()), kConflict);
}

TEST_F(ShardTimersTest, AMessageOfADeletedTopicIsDroppedWhenItsTimeComes) {
  ASSERT_TRUE(SendIn("a", absl::Minutes(1)).ok());
  world.definitions.DeleteTopic("later", [](const absl::Status&) {});
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_EQ(world.counts.unreadable, 0u);
  ExpectRebuildsAlike();
}

TEST_F(ShardTimersTest, AFullDiskDelaysWhatIsDueAndLosesNothing) {
  ASSERT_TRUE(SendIn("a", absl::Seconds(10)).ok());
  world.scheduler.RunFor(absl::Minutes(1));
  EXPECT_THAT(world.Drain("later", "g"), ElementsAre("a"));
}

// ---- recall

TEST_F(ShardTimersTest, ARecalledMessageNeverComesAndTheRecallAnswersItsId) {
  const auto handle = SendIn("a", absl::Minutes(1));
  const auto recalled = Recall(*handle);
  ASSERT_TRUE(recalled.ok()) << recalled.status();
  EXPECT_EQ(*recalled, "id-a");
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(world.Drain("later", "g"), IsEmpty());
}

TEST_F(ShardTimersTest, ASecondRecallOfARecalledMessageIsOkAlsoBehindACrash) {
  const auto handle = SendIn("a", absl::Minutes(1));
  ASSERT_TRUE(Recall(*handle).ok());
  EXPECT_TRUE(Recall(*handle).ok());
  world.LosePower();
  world.Start();
  EXPECT_EQ(Recall(*handle).value_or("?"), "id-a");
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(world.Drain("later", "g"), IsEmpty());
}

TEST_F(ShardTimersTest, ARecallBehindTheDeliveryFindsNothing) {
  const auto handle = SendIn("a", absl::Seconds(1));
  world.scheduler.RunFor(absl::Seconds(2));
  EXPECT_EQ(V2CodeOf(Recall(*handle).status()), kMessageNotFound);
  EXPECT_THAT(world.Drain("later", "g"), ElementsAre("a"));
  EXPECT_EQ(V2CodeOf(Recall(*handle).status()), kMessageNotFound);
}

TEST_F(ShardTimersTest, ARecallAtTheVeryMomentOfTheDeliveryIsOneOrTheOther) {
  for (int i = 0; i < 40; ++i) {
    const std::string body = absl::StrCat("m", i);
    const auto handle = SendIn(body, absl::Seconds(1));
    world.scheduler.RunFor(absl::Seconds(1) - absl::Microseconds(500) + absl::Microseconds(i * 50));
    const bool recalled = Recall(*handle).ok();
    world.scheduler.RunFor(absl::Seconds(1));
    const std::vector<std::string> delivered = world.Drain("later", "g");
    if (recalled) EXPECT_THAT(delivered, IsEmpty()) << i;
    else EXPECT_THAT(delivered, ElementsAre(body)) << i;
  }
}

TEST_F(ShardTimersTest, ForgedAndForeignHandlesAreBadRequests) {
  const auto handle = SendIn("a", absl::Minutes(1));
  Topic("other", index::TopicType::kDelay);
  EXPECT_EQ(V2CodeOf(Recall("nonsense").status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Recall("").status()), kBadRequest);
  EXPECT_EQ(V2CodeOf(Recall(*handle, "other").status()), kBadRequest);
  std::string bytes;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(*handle, &bytes));
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string forged = bytes;
    forged[i] = static_cast<char>(forged[i] ^ 1);
    EXPECT_EQ(V2CodeOf(Recall(absl::WebSafeBase64Escape(forged)).status()), kBadRequest) << "byte " << i;
  }
  ASSERT_TRUE(Recall(*handle).ok());
}

TEST_F(ShardTimersTest, AReceiptHandleIsNoRecallHandle) {
  ASSERT_TRUE(SendIn("a", absl::ZeroDuration()).ok());
  const auto received = Receive(absl::Seconds(1));
  ASSERT_TRUE(received.ok());
  EXPECT_EQ(V2CodeOf(Recall(received->front().receipt_handle).status()), kBadRequest);
}

TEST_F(ShardTimersTest, ARecallOnATopicOfAnotherTypeIsAConflict) {
  const auto handle = SendIn("a", absl::Minutes(1));
  EXPECT_EQ(V2CodeOf(Recall(*handle, "plain").status()), kConflict);
  EXPECT_EQ(V2CodeOf(Recall(*handle, "nowhere").status()), kTopicNotFound);
}

// ---- retention and rebuilding

TEST_F(ShardTimersTest, AWaitingMessageOutlivesItsSegmentsAgainAndAgain) {
  const auto handle = SendIn("kept", absl::Hours(12));
  const auto recalled = SendIn("recalled", absl::Hours(12));
  for (int i = 0; i < 4; ++i) {
    const LogPosition begin = Begin();
    Fill(2);
    world.scheduler.RunFor(absl::Minutes(150));
    ASSERT_GT(Begin(), begin);
    ExpectRebuildsAlike();
  }
  EXPECT_TRUE(Recall(*recalled).ok());
  EXPECT_FALSE(Receive(absl::ZeroDuration()).ok());
  world.scheduler.RunFor(absl::Hours(3));
  EXPECT_THAT(world.Drain("later", "g"), ElementsAre("kept"));
}

TEST_F(ShardTimersTest, ABodyOlderThanRetentionStaysWhileItsDeliveryIsYoung) {
  ASSERT_TRUE(SendIn("a", absl::Minutes(110)).ok());
  Fill(2);
  world.scheduler.RunFor(absl::Minutes(111));  // released, its body ten minutes before its end
  Fill(2);
  world.scheduler.RunFor(absl::Minutes(30));
  ASSERT_GT(Begin().value, 0);
  ExpectRebuildsAlike();
  EXPECT_THAT(world.Drain("later", "late"), ElementsAre("a"));

  // And goes with it.
  Fill(2);
  world.scheduler.RunFor(absl::Hours(3));
  Fill(2);
  world.scheduler.RunFor(absl::Hours(3));
  EXPECT_THAT(world.Drain("later", "later still"), IsEmpty());
  for (const auto& [key, value] : Contents()) EXPECT_FALSE(key.starts_with("w")) << absl::CEscape(key);
  ExpectRebuildsAlike();
}

TEST_F(ShardTimersTest, ARebuiltIndexIsByteEqualWithEveryKindOfEnd) {
  std::vector<std::string> handles;
  for (int i = 0; i < 20; ++i) handles.push_back(SendIn(absl::StrCat("m", i), absl::Minutes(10 + 10 * i)).value());
  for (int i = 0; i < 20; i += 3) ASSERT_TRUE(Recall(handles[static_cast<size_t>(i)]).ok());
  for (int i = 0; i < 8; ++i) {
    Fill(1);
    world.scheduler.RunFor(absl::Minutes(29));
    ExpectRebuildsAlike();
  }
}

TEST_F(ShardTimersTest, WhatWaitsDoesNotCountForTheSizeBound) {
  world.Stop();
  world.options.retention_bytes = 1 << 20;
  world.Start();
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(SendIn(std::string(8 << 10, 'x'), absl::Hours(5)).ok());  // 2.4 MiB
  world.scheduler.RunFor(absl::Minutes(10));
  const uint64_t appended = world.Status().log.appended_bytes;
  world.scheduler.RunFor(absl::Minutes(10));
  EXPECT_LT(world.Status().log.appended_bytes, appended + (1 << 20)) << "waiting bodies are copied round and round";
}

}  // namespace
}  // namespace fulmar::broker
