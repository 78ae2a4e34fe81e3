// Look-ups and traces on a whole shard: simulated time and disk.
#include "services/broker/lookups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/broker/lookup_keys.h"
#include "services/broker/shard_world.h"
#include "services/common/errors.h"
#include "services/common/log.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class LookupsTest : public testing::Test {
 protected:
  LookupsTest() : world(sim::TestSeed()) {
    world.options.trace_bytes = 4 << 20;
    index::TopicDefinition later;
    later.name = "later";
    later.topic_id = 900;
    later.version = 900;
    later.type = index::TopicType::kDelay;
    later.queues = 2;
    world.definitions.topics[later.name] = later;
  }
  SendCommand Make(const std::string& id, const std::vector<std::string>& keys, const std::string& body = "body", const std::string& tag = "") {
    std::string system;
    for (const std::string& key : keys) system += absl::StrCat("\x12", std::string(1, static_cast<char>(key.size())), key);
    MessageView view;
    view.type = 1;
    view.message_id = id;
    view.tag = tag;
    view.tag_hash = tag.empty() ? 0 : TagHash(tag);
    view.system = system;
    view.body = body;
    SendCommand command;
    command.client.client_id = "producer";
    command.topic = "t";
    command.messages.push_back({EncodeMessageRecord(view), id, view.tag_hash});
    return command;
  }
  absl::StatusOr<SendOutcome> SendCommandOf(SendCommand command) {
    std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
    world.shard->Send(std::move(command), [&](absl::StatusOr<std::vector<SendOutcome>> result) { answer = std::move(result); });
    const auto outcomes = world.Await(answer);
    if (!outcomes.ok()) return outcomes.status();
    if (!outcomes->front().status.ok()) return outcomes->front().status;
    return outcomes->front();
  }
  void Send(const std::string& id, const std::vector<std::string>& keys = {}, const std::string& body = "body", const std::string& tag = "") {
    const auto sent = SendCommandOf(Make(id, keys, body, tag));
    ASSERT_TRUE(sent.ok()) << sent.status();
  }
  absl::StatusOr<FindOutcome> Find(FindCommand command) {
    if (command.topic.empty()) command.topic = "t";
    std::optional<absl::StatusOr<FindOutcome>> answer;
    world.shard->FindMessages(std::move(command), [&](absl::StatusOr<FindOutcome> result) { answer = std::move(result); });
    return world.Await(answer);
  }
  static std::vector<std::string> Ids(const absl::StatusOr<FindOutcome>& found) {
    EXPECT_TRUE(found.ok()) << found.status();
    std::vector<std::string> ids;
    if (!found.ok()) return ids;
    for (const FoundMessage& message : found->messages) ids.emplace_back(ParseMessageRecord(message.record.view())->message_id);
    return ids;
  }
  std::vector<std::string> ById(const std::string& id) { return Ids(Find({.message_id = id})); }
  std::vector<std::string> ByKey(const std::string& key) { return Ids(Find({.key = key})); }
  absl::StatusOr<std::vector<TraceEvent>> TraceOf(const std::string& id) {
    const auto found = Find({.message_id = id});
    if (!found.ok() || found->messages.empty()) return absl::NotFoundError(id);
    std::optional<absl::StatusOr<std::vector<TraceEvent>>> answer;
    world.shard->TraceMessage("t", found->messages.front(), [&](absl::StatusOr<std::vector<TraceEvent>> result) { answer = std::move(result); });
    return world.Await(answer);
  }
  static std::vector<TraceKind> Kinds(const absl::StatusOr<std::vector<TraceEvent>>& events) {
    EXPECT_TRUE(events.ok()) << events.status();
    std::vector<TraceKind> kinds;
    if (events.ok()) std::transform(events->begin(), events->end(), std::back_inserter(kinds), [](const TraceEvent& event) { return event.kind; });
    return kinds;
  }
  uint64_t TraceBytes() {
    uint64_t bytes = 0;
    const std::string dir = world.options.log.dir + "/trace";
    const std::vector<std::string> names = *world.files.List(dir);
    for (const std::string& name : names) bytes += world.files.Open(dir + "/" + name, common::OpenMode::kRead).value()->Size().value();
    return bytes;
  }
  // About 64 KiB of log each; eight blocks of the key index need a thousand.
  void Fill(int messages) {
    const std::string body(64 << 10, 'x');
    for (int i = 0; i < messages; ++i) Send(absl::StrCat("fill-", i), {"filler"}, body);
  }
  common::LogCapture quiet;
  ShardWorld world;
};

// As the official clients make them.
std::string IdMadeAt(absl::Time time, int counter) {
  return absl::StrCat("01AABBCCDDEEFF1234", absl::Hex(absl::ToUnixSeconds(time) - 1609459200, absl::kZeroPad8), absl::Hex(counter, absl::kZeroPad8));
}

TEST(LookupKeysTest, TheTimeOfAnOfficialIdIsReadAndNothingElse) {
  const absl::Time made = absl::FromUnixSeconds(1700000000);
  EXPECT_EQ(TimeOfMessageId(IdMadeAt(made, 5)), made);
  EXPECT_EQ(TimeOfMessageId("order-1"), std::nullopt);
  EXPECT_EQ(TimeOfMessageId(std::string(34, '0')), std::nullopt);
  EXPECT_EQ(TimeOfMessageId("01" + std::string(32, 'G')), std::nullopt);
}

TEST(LookupKeysTest, HashesAreOnDiskAndNeverChange) {
  EXPECT_EQ(LookupHash(LookupKind::kMessageId, 1, "id"), LookupHash(LookupKind::kMessageId, 1, "id"));
  EXPECT_NE(LookupHash(LookupKind::kMessageId, 1, "id"), LookupHash(LookupKind::kKey, 1, "id"));
  EXPECT_NE(LookupHash(LookupKind::kMessageId, 1, "id"), LookupHash(LookupKind::kMessageId, 2, "id"));
  EXPECT_EQ(LookupHash(LookupKind::kMessageId, 1, "id"), 3633090480u);
}

TEST_F(LookupsTest, AMessageIsFoundByItsIdAndByEachKey) {
  world.Start();
  Send("a", {"order-1", "customer-9"}, "first");
  Send("b", {"order-2", "customer-9"}, "second");

  EXPECT_THAT(ById("a"), ElementsAre("a"));
  EXPECT_THAT(ById("c"), IsEmpty());
  EXPECT_THAT(ByKey("order-1"), ElementsAre("a"));
  EXPECT_THAT(ByKey("customer-9"), ElementsAre("b", "a"));
  EXPECT_THAT(ByKey("a"), IsEmpty());
  const auto found = Find({.message_id = "b"});
  EXPECT_EQ(ParseMessageRecord(found->messages.front().record.view())->body, "second");
  EXPECT_EQ(found->messages.front().stage, MessageStage::kInQueue);
  EXPECT_EQ(V2CodeOf(Find({.topic = "nowhere", .message_id = "a"}).status()), 40402);
}

TEST_F(LookupsTest, BothCopiesOfARepeatedSendAreFound) {
  world.Start();
  Send("a");
  Send("a");
  EXPECT_THAT(ById("a"), ElementsAre("a", "a"));
  const auto one = Find({.message_id = "a", .max_messages = 1});
  EXPECT_EQ(one->messages.size(), 1u);
  EXPECT_TRUE(one->more);
}

TEST_F(LookupsTest, TheTimeInAnIdShortensTheWayAndAWrongOneDoesNotHideIt) {
  world.Start();
  const std::string right = IdMadeAt(world.clock.Now(), 1), wrong = IdMadeAt(world.clock.Now() - absl::Hours(2000), 2);
  Send(right);
  Send(wrong);
  Fill(300);
  EXPECT_THAT(ById(right), ElementsAre(right));
  EXPECT_THAT(ById(wrong), ElementsAre(wrong));
}

TEST_F(LookupsTest, KillsAndPowerLossesHideNothing) {
  world.Start();
  for (int i = 0; i < 200; ++i) {
    Send(absl::StrCat("m", i), {"k"}, std::string(120 << 10, 'x'));
    if (i % 20 == 7) {
      world.Kill();
      world.Start();
    } else if (i % 20 == 17) {
      world.LosePower();
      world.Start();
    }
  }
  for (int i = 0; i < 200; ++i) EXPECT_THAT(ById(absl::StrCat("m", i)), ElementsAre(absl::StrCat("m", i)));
  EXPECT_EQ(Find({.key = "k", .max_messages = 1000, .max_bytes = 1 << 30})->messages.size(), 200u);
}

TEST_F(LookupsTest, WhatRetentionRemovedIsNotFoundAndARebuiltIndexIsTheSame) {
  world.options.log.segment_bytes = 3 << 20;  // so that retention cuts blocks of the key index
  world.options.retention_time = absl::Hours(2);
  world.options.retention_check_interval = absl::Seconds(10);
  world.Start();
  Send("old", {"k"});
  Fill(200);
  world.scheduler.RunFor(absl::Hours(3));
  Send("new", {"k"});
  Fill(300);
  world.scheduler.RunFor(absl::Minutes(2));
  ASSERT_GT(world.Status().log.begin.value, 0);

  EXPECT_THAT(ById("old"), IsEmpty());
  EXPECT_THAT(ByKey("k"), ElementsAre("new"));

  world.Kill();
  world.Start();
  auto before = world.kv->Contents();
  world.Kill();
  world.kv = std::make_unique<index::MemKv>();
  world.Start();
  world.scheduler.RunFor(absl::Milliseconds(1));
  auto after = world.kv->Contents();
  before.erase("a");
  after.erase("a");
  EXPECT_EQ(before, after);
  EXPECT_THAT(ByKey("k"), ElementsAre("new"));
}

TEST_F(LookupsTest, AListByTimeMergesTheQueuesAndItsPagesMeetEveryMessageOnce) {
  world.Start();
  std::vector<std::string> sent;
  for (int i = 0; i < 200; ++i) {
    if (i % 3 == 0) world.scheduler.RunFor(absl::Milliseconds(10));
    sent.push_back(absl::StrCat("m", i));
    Send(sent.back(), {}, "body", i % 5 == 0 ? "five" : "other");
  }
  std::vector<std::string> listed;
  FindCommand command{.max_messages = 7};
  int64_t last_ms = 0;
  for (;;) {
    const auto page = Find(command);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const std::string& id : Ids(page)) listed.push_back(id);
    for (const FoundMessage& message : page->messages) {
      EXPECT_GE(message.store_time_ms, last_ms);
      last_ms = message.store_time_ms;
    }
    if (!page->more) break;
    ASSERT_TRUE(page->reached.has_value());
    command.after = page->reached;
  }
  std::sort(listed.begin(), listed.end());
  std::sort(sent.begin(), sent.end());
  EXPECT_EQ(listed, sent);
  EXPECT_EQ(Find({.filter = *Filter::Parse(FilterKind::kTag, "five"), .max_messages = 1000})->messages.size(), 40u);
}

TEST_F(LookupsTest, ASpanOfTimeHasItsBeginAndNotItsEnd) {
  world.Start();
  world.scheduler.RunFor(absl::Seconds(1));
  std::vector<absl::Time> times;
  for (int i = 0; i < 5; ++i) {
    times.push_back(absl::FromUnixMillis(absl::ToUnixMillis(world.clock.Now())));
    Send(absl::StrCat("m", i), {"k"});
    world.scheduler.RunFor(absl::Seconds(1));
  }
  EXPECT_THAT(Ids(Find({.from = times[1], .to = times[3]})), ElementsAre("m1", "m2"));
  EXPECT_THAT(Ids(Find({.key = "k", .from = times[1], .to = times[3]})), ElementsAre("m2", "m1"));
  EXPECT_THAT(Ids(Find({.from = world.clock.Now()})), IsEmpty());
}

TEST_F(LookupsTest, AnAnswerEndsWithTheMessageThatReachesItsBytes) {
  world.Start();
  Fill(10);
  const auto page = Find({.max_messages = 100, .max_bytes = 100 << 10});
  EXPECT_EQ(page->messages.size(), 2u);
  EXPECT_TRUE(page->more);
}

TEST_F(LookupsTest, ADelayedMessageIsFoundWhileItWaitsAndWhereItWent) {
  world.Start();
  SendCommand command = Make("d", {"k"});
  command.topic = "later";
  command.type = 3;
  const absl::Time due = world.clock.Now() + absl::Minutes(10);
  command.messages[0].delivery_ms = absl::ToUnixMillis(due);
  ASSERT_TRUE(SendCommandOf(std::move(command)).ok());

  const auto waiting = Find({.topic = "later", .message_id = "d"});
  ASSERT_EQ(Ids(waiting), std::vector<std::string>{"d"});
  EXPECT_EQ(waiting->messages[0].stage, MessageStage::kTimer);
  EXPECT_EQ(waiting->messages[0].due_ms, absl::ToUnixMillis(due));

  world.scheduler.RunFor(absl::Minutes(11));
  const auto released = Find({.topic = "later", .key = "k"});
  ASSERT_EQ(Ids(released), std::vector<std::string>{"d"});
  EXPECT_EQ(released->messages[0].stage, MessageStage::kInQueue);
  EXPECT_EQ(released->messages[0].offset, 0);
  EXPECT_GE(released->messages[0].store_time_ms, absl::ToUnixMillis(due));
  EXPECT_EQ(Ids(Find({.topic = "later"})), std::vector<std::string>{"d"});
}

TEST_F(LookupsTest, ARecalledMessageIsFoundAsThat) {
  world.Start();
  SendCommand command = Make("d", {});
  command.topic = "later";
  command.type = 3;
  command.messages[0].delivery_ms = absl::ToUnixMillis(world.clock.Now() + absl::Minutes(10));
  const auto sent = SendCommandOf(std::move(command));
  ASSERT_TRUE(sent.ok()) << sent.status();
  std::optional<absl::StatusOr<std::string>> recalled;
  world.shard->Recall("later", sent->recall_handle, [&](absl::StatusOr<std::string> result) { recalled = std::move(result); });
  ASSERT_TRUE(world.Await(recalled).ok());

  const auto found = Find({.topic = "later", .message_id = "d"});
  ASSERT_EQ(Ids(found), std::vector<std::string>{"d"});
  EXPECT_EQ(found->messages[0].stage, MessageStage::kRecalled);
}

TEST_F(LookupsTest, OnlyAFewRunAtOnceAndAllAreAnswered) {
  world.Start();
  Send("a");
  size_t answered = 0, refused = 0;
  for (size_t i = 0; i < Lookups::kMaxRunning + 5; ++i) {
    world.shard->FindMessages({.topic = "t", .message_id = "a"}, [&](const absl::StatusOr<FindOutcome>& result) {
      ++answered;
      if (!result.ok() && V2CodeOf(result.status()) == 42900) ++refused;
    });
  }
  world.scheduler.RunFor(absl::Seconds(1));
  EXPECT_EQ(answered, Lookups::kMaxRunning + 5);
  EXPECT_EQ(refused, 5u);
  EXPECT_THAT(ById("a"), ElementsAre("a"));
}

TEST_F(LookupsTest, AStopAnswersWhoStillLooks) {
  world.Start();
  Send("a");
  bool answered = false;
  world.shard->FindMessages({.topic = "t", .message_id = "a"}, [&](const absl::StatusOr<FindOutcome>&) { answered = true; });
  world.Stop();
  EXPECT_TRUE(answered);
}

// ---- traces

TEST_F(LookupsTest, ATraceTellsWhoSentReceivedAndAcknowledged) {
  world.Start();
  Send("a");
  auto received = world.Receive("t", "g");
  ASSERT_TRUE(received.ok());
  world.scheduler.RunFor(absl::Seconds(31));  // its invisible time is over
  received = world.Receive("t", "g");
  ASSERT_TRUE(received.ok());
  ASSERT_TRUE(world.Ack("t", "g", received->front().receipt_handle).ok());

  const auto events = TraceOf("a");
  ASSERT_THAT(Kinds(events), ElementsAre(TraceKind::kStored, TraceKind::kDelivered, TraceKind::kDelivered, TraceKind::kAcknowledged));
  EXPECT_EQ((*events)[0].client, "producer");
  EXPECT_EQ((*events)[1].client, "consumer");
  EXPECT_EQ((*events)[1].group, "g");
  EXPECT_EQ((*events)[1].attempt, 1);
  EXPECT_EQ((*events)[2].attempt, 2);
  EXPECT_EQ((*events)[3].attempt, 2);
  EXPECT_GE((*events)[2].time_ms - (*events)[1].time_ms, 30'000);
  EXPECT_EQ((*events)[3].time_ms, absl::ToUnixMillis(world.clock.Now()));
}

TEST_F(LookupsTest, ATraceOutlivesAKillButForItsLastSecond) {
  world.Start();
  Send("a");
  ASSERT_TRUE(world.Receive("t", "g").ok());
  world.scheduler.RunFor(absl::Seconds(2));
  Send("b");
  world.Kill();
  world.Start();
  EXPECT_THAT(Kinds(TraceOf("a")), ElementsAre(TraceKind::kStored, TraceKind::kDelivered));
  EXPECT_THAT(Kinds(TraceOf("b")), IsEmpty());
  Send("c");
  EXPECT_THAT(Kinds(TraceOf("c")), ElementsAre(TraceKind::kStored));
}

TEST_F(LookupsTest, AStopKeepsTheWholeTrace) {
  world.Start();
  Send("a");
  world.Stop();
  world.Start();
  EXPECT_THAT(Kinds(TraceOf("a")), ElementsAre(TraceKind::kStored));
}

TEST_F(LookupsTest, PowerLossMayTakeTracesButNothingElse) {
  world.Start();
  for (int life = 0; life < 20; ++life) {
    for (int i = 0; i < 20; ++i) Send(absl::StrCat("m", life, "-", i));
    world.scheduler.RunFor(absl::Milliseconds(700 * (life % 4)));
    world.LosePower();
    world.Start();
    for (int i = 0; i < 20; ++i) {
      const auto events = TraceOf(absl::StrCat("m", life, "-", i));
      ASSERT_TRUE(events.ok()) << events.status();
      EXPECT_LE(events->size(), 1u);
    }
  }
}

TEST_F(LookupsTest, TracesStayWithinTheirBytesAndTheNewestStay) {
  world.options.trace_bytes = 256 << 10;
  world.Start();
  std::vector<std::string> bodies(32, "x");
  for (int i = 0; i < 2000; ++i) {
    SendCommand command = ShardWorld::MakeSend("t", bodies, "");
    command.client.client_id = absl::StrCat("a client with a name of some length ", i);
    std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
    world.shard->Send(std::move(command), [&](absl::StatusOr<std::vector<SendOutcome>> result) { answer = std::move(result); });
    ASSERT_TRUE(world.Await(answer).ok());
    if (i % 100 == 0) world.scheduler.RunFor(absl::Seconds(1));
    if (i % 100 == 50) {
      EXPECT_LE(TraceBytes(), 256u << 10);
    }
  }
  Send("last");
  EXPECT_THAT(Kinds(TraceOf("last")), ElementsAre(TraceKind::kStored));
  EXPECT_LE(TraceBytes(), 256u << 10);
  EXPECT_GT(TraceBytes(), 128u << 10);
}

TEST_F(LookupsTest, WithoutBytesThereIsNoTraceAndTheAnswerSaysSo) {
  world.options.trace_bytes = 0;
  world.Start();
  Send("a");
  EXPECT_EQ(V2CodeOf(TraceOf("a").status()), 42800);
  EXPECT_FALSE(world.files.Exists(world.options.log.dir + "/trace").value());
}

TEST_F(LookupsTest, AFullDiskLosesTracesAndNoMessage) {
  world.Start();
  Send("a");
  world.scheduler.RunFor(absl::Seconds(2));
  world.files.SetCapacity(0);
  Send("b");  // the log has its spare
  world.scheduler.RunFor(absl::Seconds(2));
  EXPECT_THAT(ById("b"), ElementsAre("b"));
  world.files.SetCapacity(std::nullopt);
  world.scheduler.RunFor(absl::Seconds(20));
  Send("c");
  EXPECT_THAT(Kinds(TraceOf("a")), ElementsAre(TraceKind::kStored));
  EXPECT_THAT(Kinds(TraceOf("c")), ElementsAre(TraceKind::kStored));
}

}  // namespace
}  // namespace fulmar::broker
