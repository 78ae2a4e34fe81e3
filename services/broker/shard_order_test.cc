// The order of message groups, seen from outside: a whole shard (log, index, progress) on simulated time and disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
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

// Bodies are "group-number".
SendCommand MakeFifo(const std::string& topic, const std::vector<std::string>& bodies) {
  SendCommand command;
  command.client.client_id = "producer";
  command.topic = topic;
  command.type = 2;
  for (const std::string& body : bodies) {
    const std::vector<std::string> parts = absl::StrSplit(body, absl::MaxSplits('-', 1));
    const std::string id = absl::StrCat("id-", body.substr(0, 40));
    MessageView view;
    view.type = 2;
    view.message_id = id;
    view.body = body;
    view.group_hash = MessageGroupHash(parts[0]);
    command.messages.push_back({.record = EncodeMessageRecord(view), .message_id = id, .group_hash = view.group_hash});
  }
  return command;
}

class ShardOrderTest : public testing::Test {
 protected:
  ShardOrderTest() : world(sim::TestSeed()) {
    world.definitions.topics["orders"] = {.name = "orders", .topic_id = 900, .version = 900, .type = index::TopicType::kFifo, .queues = 2};
    world.definitions.topics["mixed"] = {.name = "mixed", .topic_id = 901, .version = 901, .type = index::TopicType::kMixed, .queues = 2};
  }
  absl::StatusOr<std::vector<SendOutcome>> Send(const std::vector<std::string>& bodies, const std::string& topic = "orders") {
    std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
    world.shard->Send(MakeFifo(topic, bodies), [&](auto result) { answer = std::move(result); });
    return world.Await(answer);
  }
  // Of the last Get(), by body.
  std::string Handle(const std::string& body) { return handles.at(body); }
  std::vector<std::string> Get(ReceiveCommand command = {}, const std::string& group = "g") {
    const auto received = world.Receive("orders", group, std::move(command));
    std::vector<std::string> bodies;
    if (!received.ok()) return bodies;
    for (const Delivered& message : *received) {
      bodies.push_back(ShardWorld::Body(message));
      handles[bodies.back()] = message.receipt_handle;
      attempts[bodies.back()] = message.attempt;
    }
    return bodies;
  }
  absl::Status Ack(const std::string& body, const std::string& group = "g") { return world.Ack("orders", group, Handle(body)); }
  static ReceiveCommand With(int32_t max, absl::Duration invisible = absl::Seconds(30), std::string attempt_id = "") {
    ReceiveCommand command;
    command.max_messages = max;
    command.invisible_duration = invisible;
    command.attempt_id = std::move(attempt_id);
    return command;
  }
  common::LogCapture quiet;
  ShardWorld world;
  std::map<std::string, std::string> handles;
  std::map<std::string, int32_t> attempts;
};

// ---- sending

TEST_F(ShardOrderTest, AllMessagesOfAGroupLieInItsHomeQueueInTheOrderOfTheirComing) {
  world.Start();
  std::map<std::string, std::set<int32_t>> queues;
  for (int i = 0; i < 20; ++i) {
    for (const char* group : {"a", "b", "c", "d", "e", "f"}) {
      const auto sent = Send({absl::StrCat(group, "-", i)});
      ASSERT_TRUE(sent.ok()) << sent.status();
      queues[group].insert(sent->front().queue);
    }
  }
  std::set<int32_t> used;
  for (const auto& [group, of_group] : queues) {
    EXPECT_EQ(of_group.size(), 1u) << group;
    used.insert(*of_group.begin());
  }
  EXPECT_EQ(used.size(), 2u);
}

TEST_F(ShardOrderTest, TheHashThatChoosesAHomeNeverChanges) {
  EXPECT_EQ(MessageGroupHash("order-1"), MessageGroupHash("order-1"));
  EXPECT_EQ(MessageGroupHash(""), 0u);
  EXPECT_EQ(MessageGroupHash("order-1"), 17631458686181642996u);
  EXPECT_EQ(MessageGroupHash("Bestellung \xc3\xa4"), 10491589306163145659u);
}

TEST_F(ShardOrderTest, EachTopicTakesItsOwnKindsOfMessages) {
  world.Start();
  EXPECT_V2(world.Send("orders", {"x"}).status(), 40014);
  EXPECT_V2(Send({"a-1"}, "normal").status(), 40014);
  EXPECT_TRUE(Send({"a-1"}, "mixed").ok());
  EXPECT_TRUE(world.Send("mixed", {"x"}).ok());
  SendCommand nameless = MakeFifo("orders", {"a-1"});
  nameless.messages.front().group_hash = 0;
  std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
  world.shard->Send(std::move(nameless), [&](auto result) { answer = std::move(result); });
  EXPECT_V2(world.Await(answer).status(), 40006);
}

// ---- order

TEST_F(ShardOrderTest, NothingComesWhileAnEarlierMessageOfTheGroupIsUnacknowledgedAndOthersFlowOn) {
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2", "b-1", "b-2", "c-1"}).ok());
  EXPECT_THAT(Get(With(1)), ElementsAre(testing::AnyOf("a-1", "b-1", "c-1")));
  EXPECT_THAT(Get(With(1)), ElementsAre(testing::AnyOf("a-1", "b-1", "c-1")));
  EXPECT_THAT(Get(With(1)), ElementsAre(testing::AnyOf("a-1", "b-1", "c-1")));
  EXPECT_THAT(Get(With(10)), IsEmpty());
  ASSERT_TRUE(Ack("b-1").ok());
  EXPECT_THAT(Get(With(10)), ElementsAre("b-2"));
  EXPECT_THAT(Get(With(10)), IsEmpty());
  ASSERT_TRUE(Ack("a-1").ok());
  EXPECT_THAT(Get(With(10)), ElementsAre("a-2"));
}

TEST_F(ShardOrderTest, OneReceiveMayTakeSeveralOfAGroupButOneOfEachFirst) {
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2", "a-3", "b-1"}).ok());
  const auto got = Get(With(3));
  ASSERT_EQ(got.size(), 3u);
  EXPECT_THAT((std::vector<std::string>{got[0], got[1]}), UnorderedElementsAre("a-1", "b-1"));
  EXPECT_EQ(got[2], "a-2");
}

TEST_F(ShardOrderTest, AParkedReceiveIsWokenWhenItsGroupIsFree) {
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2"}).ok());
  ASSERT_THAT(Get(With(1)), ElementsAre("a-1"));
  std::optional<absl::StatusOr<std::vector<Delivered>>> parked;
  ReceiveCommand command = With(10);
  command.wait = absl::Seconds(20);
  world.shard->Receive(world.MakeReceive("orders", "g", command), [&](auto result) { parked = std::move(result); });
  world.scheduler.RunFor(absl::Seconds(1));
  ASSERT_FALSE(parked.has_value());
  ASSERT_TRUE(Ack("a-1").ok());
  world.scheduler.RunUntilIdle();
  ASSERT_TRUE(parked.has_value());
  EXPECT_EQ(ShardWorld::Body(parked->value().front()), "a-2");
}

TEST_F(ShardOrderTest, AGroupMadeConcurrentExplicitlyGetsEverythingAtOnce) {
  world.definitions.groups["fast"] = {.name = "fast", .version = 50, .order = index::DeliveryOrder::kConcurrent};
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2"}).ok());
  EXPECT_EQ(Get(With(1), "fast").size(), 1u);
  EXPECT_EQ(Get(With(1), "fast").size(), 1u);
}

TEST_F(ShardOrderTest, AChangedOrderHoldsFromThenOnAndLosesNothing) {
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2", "a-3"}).ok());
  ASSERT_THAT(Get(With(1)), ElementsAre("a-1"));
  world.definitions.UpdateGroup({.name = "g", .order = index::DeliveryOrder::kConcurrent}, [](const auto&) {});
  world.scheduler.RunFor(absl::Seconds(1));
  EXPECT_THAT(Get(With(10)), ElementsAre("a-1", "a-2", "a-3"));
  ASSERT_TRUE(Ack("a-2").ok());
  world.definitions.UpdateGroup({.name = "g", .order = index::DeliveryOrder::kFifo}, [](const auto&) {});
  world.scheduler.RunFor(absl::Seconds(1));
  EXPECT_THAT(Get(With(1)), ElementsAre("a-1"));
  EXPECT_THAT(Get(With(10)), IsEmpty());
}

// ---- acknowledgements out of order

TEST_F(ShardOrderTest, AnAcknowledgementBehindAnOpenMessageIsOkAndCountsWithIt) {
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2", "a-3"}).ok());
  ASSERT_EQ(Get(With(3)).size(), 3u);
  EXPECT_TRUE(Ack("a-3").ok());
  EXPECT_TRUE(Ack("a-2").ok());
  EXPECT_EQ(world.Group("g")->queues[0].lag + world.Group("g")->queues[1].lag, 3);
  EXPECT_TRUE(Ack("a-1").ok());
  EXPECT_EQ(world.Group("g")->queues[0].lag + world.Group("g")->queues[1].lag, 0);
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(Get(With(10)), IsEmpty());
}

TEST_F(ShardOrderTest, WhatWasAcknowledgedBehindAnOpenMessageComesAgainWhenItsTimeEndsFirst) {
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2", "a-3"}).ok());
  ASSERT_EQ(Get(With(3)).size(), 3u);
  ASSERT_TRUE(Ack("a-2").ok());
  world.scheduler.RunFor(absl::Seconds(31));
  EXPECT_THAT(Get(With(10)), ElementsAre("a-1", "a-2", "a-3"));
  EXPECT_EQ(attempts["a-2"], 2);
}

TEST_F(ShardOrderTest, TheLastAttemptMakesADeadLetterAndTheGroupGoesOn) {
  world.definitions.groups["g"] = {.name = "g", .version = 50, .retry = {.max_attempts = 2, .delays = {}}};
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2", "a-3", "a-4"}).ok());
  for (int attempt = 1; attempt <= 2; ++attempt) {
    ASSERT_THAT(Get(With(3)), ElementsAre("a-1", "a-2", "a-3"));
    ASSERT_TRUE(Ack("a-2").ok());
    world.scheduler.RunFor(absl::Seconds(31));
  }
  EXPECT_THAT(world.Drain("%DLQ%g", "undertaker"), ElementsAre("a-1", "a-3")) << "a-2 was acknowledged";
  EXPECT_THAT(Get(With(10)), ElementsAre("a-4"));
}

TEST_F(ShardOrderTest, ANegativeAcknowledgementHoldsTheGroupUntilItsTime) {
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2"}).ok());
  ASSERT_EQ(Get(With(1)).size(), 1u);
  ASSERT_TRUE(world.Change("orders", "g", Handle("a-1"), absl::Seconds(5)).ok());
  world.scheduler.RunFor(absl::Seconds(4));
  EXPECT_THAT(Get(With(10)), IsEmpty());
  world.scheduler.RunFor(absl::Seconds(2));
  EXPECT_THAT(Get(With(10)), ElementsAre("a-1", "a-2"));
}

TEST_F(ShardOrderTest, FilteredMessagesAreOverWithoutBreakingTheOrder) {
  world.Start();
  SendCommand command = MakeFifo("orders", {"a-1", "a-2", "a-3"});
  for (size_t i = 0; i < 3; ++i) {
    MessageView view = *ParseMessageRecord(command.messages[i].record);
    view.tag = i == 1 ? "no" : "yes";
    view.tag_hash = TagHash(view.tag);
    command.messages[i].record = EncodeMessageRecord(view);
  }
  std::optional<absl::StatusOr<std::vector<SendOutcome>>> sent;
  world.shard->Send(std::move(command), [&](auto result) { sent = std::move(result); });
  ASSERT_TRUE(world.Await(sent).ok());
  ReceiveCommand receive = With(10);
  receive.filter = *Filter::Parse(FilterKind::kTag, "yes");
  EXPECT_THAT(Get(receive), ElementsAre("a-1", "a-3"));
  ASSERT_TRUE(Ack("a-3").ok());
  ASSERT_TRUE(Ack("a-1").ok());
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(Get(receive), IsEmpty());
  EXPECT_EQ(world.Group("g")->queues[0].lag + world.Group("g")->queues[1].lag, 0);
}

// ---- lost answers

TEST_F(ShardOrderTest, TheSameAttemptIdGetsTheSameBatchWithFreshHandlesAndTheSameAttempt) {
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2", "b-1", "a-3"}).ok());
  const auto first = Get(With(3, absl::Seconds(30), "try-1"));
  ASSERT_EQ(first.size(), 3u);
  const std::string old_handle = Handle(first[0]);
  world.scheduler.RunFor(absl::Seconds(20));

  const auto again = Get(With(10, absl::Seconds(30), "try-1"));
  EXPECT_EQ(again, first);
  for (const std::string& body : again) EXPECT_EQ(attempts[body], 1) << body;
  EXPECT_V2(world.Ack("orders", "g", old_handle), 40013);
  world.scheduler.RunFor(absl::Seconds(20));  // 40 s after the first answer: the invisible time began anew
  EXPECT_THAT(Get(With(10, absl::Seconds(30), "try-2")), IsEmpty());
  for (const std::string& body : again) EXPECT_TRUE(Ack(body).ok()) << body;
  EXPECT_THAT(Get(With(10, absl::Seconds(30), "try-1")), ElementsAre("a-3")) << "nothing of it is out any more";
}

TEST_F(ShardOrderTest, OnlyWhatIsStillOutComesAgainAndNobodyElseGetsIt) {
  world.Start();
  ASSERT_TRUE(Send({"a-1", "a-2"}).ok());
  ASSERT_THAT(Get(With(2, absl::Seconds(30), "try-1")), ElementsAre("a-1", "a-2"));
  ReceiveCommand other = With(2, absl::Seconds(30), "try-1");
  other.client.client_id = "another";
  EXPECT_THAT(Get(other), IsEmpty());
  ASSERT_TRUE(Ack("a-1").ok());
  EXPECT_THAT(Get(With(2, absl::Seconds(30), "try-1")), ElementsAre("a-2"));
}

// ---- many messages behind blocked groups

// Goal: others flow on without a bound on how far while messages stay unacknowledged for an hour; the index finds what waited.
TEST_F(ShardOrderTest, OthersFlowPastThousandsOfWaitingMessagesForAnHour) {
  constexpr int kBlocked = 100, kRounds = 60;
  world.options.log.segment_bytes = 8 << 20;
  world.Start();
  const auto send_all = [&](const std::string& prefix, int round) {
    std::vector<std::string> bodies;
    for (int i = 0; i < kBlocked; ++i) bodies.push_back(absl::StrCat(prefix, i, "-", round));
    ASSERT_TRUE(Send(bodies).ok());
  };
  send_all("slow", 0);
  std::set<std::string> blocked;
  while (true) {
    const auto got = Get(With(32, absl::Hours(2)));
    if (got.empty()) break;
    blocked.insert(got.begin(), got.end());
  }
  ASSERT_EQ(blocked.size(), static_cast<size_t>(kBlocked));
  for (int round = 1; round <= kRounds; ++round) {
    send_all("slow", round);
    ASSERT_TRUE(Send({absl::StrCat("free-", round)}).ok());
    if (round % 15 == 0) world.scheduler.RunFor(absl::Minutes(15));
  }
  for (int round = 1; round <= kRounds;) {
    const auto got = Get();
    ASSERT_FALSE(got.empty());
    for (const std::string& body : got) {
      EXPECT_EQ(body, absl::StrCat("free-", round++));
      EXPECT_TRUE(Ack(body).ok());
    }
  }
  EXPECT_THAT(Get(), IsEmpty());
  world.scheduler.RunFor(absl::Seconds(1));
  world.Kill();
  world.Start();
  EXPECT_THAT(Get(), IsEmpty());
  EXPECT_EQ(world.Group("g")->queues[0].lag + world.Group("g")->queues[1].lag, kBlocked * (kRounds + 1));
  for (const std::string& body : blocked) EXPECT_TRUE(Ack(body).ok()) << body;
  std::map<std::string, int> last;
  for (auto got = Get(); !got.empty(); got = Get()) {
    for (const std::string& body : got) {
      const std::vector<std::string> parts = absl::StrSplit(body, '-');
      EXPECT_EQ(std::stoi(parts[1]), ++last[parts[0]]) << body;
      EXPECT_TRUE(Ack(body).ok());
    }
  }
  EXPECT_EQ(last.size(), static_cast<size_t>(kBlocked));
  for (const auto& [group, number] : last) EXPECT_EQ(number, kRounds) << group;
}

TEST_F(ShardOrderTest, RetentionTakesWaitingMessagesAndTheirRowsInTheIndex) {
  world.options.log.segment_bytes = 64 << 10;
  world.options.retention_time = absl::Hours(1);
  world.Start();
  const std::string filler(2000, 'x');
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Send({absl::StrCat("a-", i, "-", filler)}).ok());
  ASSERT_EQ(Get(With(1, absl::Hours(3))).size(), 1u);
  world.scheduler.RunFor(absl::Hours(2));
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(world.Send("other", {filler}).ok());
  ASSERT_TRUE(Send({"a-100"}).ok());
  world.scheduler.RunFor(absl::Minutes(5));

  ASSERT_GT(world.counts.lost, 60u);
  int rows = 0;
  for (auto it = world.kv->Scan("o", "p"); it->Valid(); it->Next()) ++rows;
  EXPECT_EQ(rows, 101 - static_cast<int>(world.counts.lost));
  std::vector<std::string> rest;
  for (auto got = Get(); !got.empty(); got = Get()) {
    for (const std::string& body : got) {
      rest.push_back(body);
      EXPECT_TRUE(Ack(body).ok());
    }
  }
  EXPECT_EQ(rest.size(), 101 - world.counts.lost);
  EXPECT_EQ(rest.back(), "a-100");
  EXPECT_EQ(world.Group("g")->queues[0].lag + world.Group("g")->queues[1].lag, 0);
}

// ---- crashes

// What was sent, delivered and acknowledged, and whether the order of each message group was kept.
class OrderHistory {
 public:
  void Stored(const std::string& body, int32_t queue, int64_t offset) { lines_[GroupOf(body)].emplace(std::pair(queue, offset), body); }
  void Acknowledged(const std::string& body) { acknowledged_.insert(body); }
  // The messages of one answer, in its order.
  void Delivered(const std::vector<std::string>& bodies) {
    std::set<std::string> here;
    for (const std::string& body : bodies) {
      here.insert(body);
      delivered_.insert(body);
      for (const auto& [place, earlier] : lines_[GroupOf(body)]) {
        if (earlier == body) break;
        if (!acknowledged_.contains(earlier) && !here.contains(earlier)) {
          problems_.push_back(absl::StrCat(body, " came while ", earlier, " was open"));
        }
      }
    }
  }
  void Finish() {
    for (const auto& [group, line] : lines_) {
      for (const auto& [place, body] : line) {
        if (!delivered_.contains(body)) problems_.push_back(absl::StrCat("lost: ", body));
      }
    }
  }
  const std::vector<std::string>& problems() const { return problems_; }
  size_t delivered() const { return delivered_.size(); }

 private:
  static std::string GroupOf(const std::string& body) { return body.substr(0, body.find('-')); }
  std::map<std::string, std::map<std::pair<int32_t, int64_t>, std::string>> lines_;
  std::set<std::string> acknowledged_, delivered_;
  std::vector<std::string> problems_;
};

class OrderTorture {
 public:
  OrderTorture(uint64_t seed, index::DeliveryOrder order) : world(seed), random_(seed + 7) {
    world.options.log.segment_bytes = 256 << 10;
    world.options.min_invisible = absl::Milliseconds(100);
    world.options.index_flush_interval = absl::Milliseconds(300);
    world.definitions.topics["orders"] = {.name = "orders", .topic_id = 900, .version = 900, .type = index::TopicType::kFifo, .queues = 2};
    world.definitions.groups["g"] = {.name = "g", .version = 1, .order = order, .retry = {.max_attempts = 1000000, .delays = {}}};
  }
  void Life() {
    ++life_;
    world.progress.away = false;
    world.Start();
    for (uint64_t i = random_.Next() % 60; i > 0; --i) Step();
    if (random_.Next() % 2 == 0) world.Kill();
    else world.LosePower();
  }
  void Finish() {
    ++life_;
    world.progress.away = false;
    world.Start();
    world.scheduler.RunFor(absl::Minutes(1));
    for (int idle = 0; idle < 2;) {
      const auto received = world.Receive("orders", "g");
      idle = received.ok() ? 0 : idle + 1;
      if (!received.ok()) continue;
      history.Delivered(Bodies(*received));
      for (const Delivered& message : *received) {
        if (world.Ack("orders", "g", message.receipt_handle).ok()) history.Acknowledged(ShardWorld::Body(message));
      }
    }
    history.Finish();
  }
  ShardWorld world;
  OrderHistory history;

 private:
  static std::vector<std::string> Bodies(const std::vector<Delivered>& messages) {
    std::vector<std::string> bodies;
    for (const Delivered& message : messages) bodies.push_back(ShardWorld::Body(message));
    return bodies;
  }
  void Step() {
    const int life = life_;
    switch (random_.Next() % 6) {
      case 0:
      case 1: {
        std::vector<std::string> bodies;
        for (uint64_t i = 0; i <= random_.Next() % 5; ++i) {
          bodies.push_back(absl::StrCat("g", random_.Next() % 5, "-", ++sent_, "-", std::string(random_.Next() % 2000, 'x')));
        }
        world.shard->Send(MakeFifo("orders", bodies), [this, bodies](absl::StatusOr<std::vector<SendOutcome>> outcomes) {
          if (!outcomes.ok()) return;
          for (size_t i = 0; i < bodies.size(); ++i) {
            if ((*outcomes)[i].status.ok()) history.Stored(bodies[i], (*outcomes)[i].queue, (*outcomes)[i].offset);
          }
        });
        break;
      }
      case 2:
      case 3:
      case 4: {
        ReceiveCommand command;
        command.max_messages = 1 + static_cast<int32_t>(random_.Next() % 6);
        command.wait = absl::Milliseconds(random_.Next() % 300);
        command.invisible_duration = absl::Milliseconds(100 + random_.Next() % 3000);
        command.auto_renew = random_.Next() % 4 == 0;
        if (random_.Next() % 2 == 0) command.attempt_id = absl::StrCat("try-", random_.Next() % 4);
        world.shard->Receive(world.MakeReceive("orders", "g", command), [this, life](absl::StatusOr<std::vector<Delivered>> received) {
          if (!received.ok() || life != life_) return;
          history.Delivered(Bodies(*received));
          for (const Delivered& message : *received) Consume(message);
        });
        break;
      }
      case 5: world.progress.away = random_.Next() % 6 == 0; break;
    }
    world.scheduler.RunFor(absl::Microseconds(random_.Next() % 60000));
  }
  void Consume(const Delivered& message) {
    const std::string body = ShardWorld::Body(message);
    switch (random_.Next() % 8) {
      case 0: return;  // forgets it
      case 1:
        world.shard->ChangeInvisible({.client = {.client_id = "consumer"},
                                      .topic = "orders",
                                      .group = "g",
                                      .receipt_handle = message.receipt_handle,
                                      .message_id = "",
                                      .invisible_duration = absl::Milliseconds(random_.Next() % 2000)},
                                     [](const absl::StatusOr<std::string>&) {});
        return;
      case 2: world.shard->ReturnUndelivered("g", {message.receipt_handle}); return;
      default:
        world.shard->Ack({.client = {.client_id = "consumer"}, .topic = "orders", .group = "g", .entries = {{message.receipt_handle, ""}}},
                         [this, body](absl::StatusOr<std::vector<absl::Status>> statuses) {
                           if (statuses.ok() && statuses->front().ok()) history.Acknowledged(body);
                         });
    }
  }
  sim::SeededRandom random_;
  uint64_t sent_ = 0;
  int life_ = 0;
};

std::string Report(const OrderHistory& history) {
  const auto& all = history.problems();
  return absl::StrCat(all.size(), " problems\n", absl::StrJoin(all.begin(), all.begin() + std::min<ptrdiff_t>(10, std::ssize(all)), "\n"));
}

// Goal: the order of every message group holds and nothing is lost over any crash. Method: lives of random length end by kill -9 or power
// loss; clients forget, give back, acknowledge in any order and repeat attempt ids. Replay: FULMAR_SEED=<seed>.
TEST(ShardOrderCrashTest, TheOrderOfEveryMessageGroupHoldsOverAnyCrash) {
  const uint64_t seed = sim::TestSeed();
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", seed));
  common::LogCapture quiet;
  size_t delivered = 0;
  for (uint64_t run = 0; run < 12; ++run) {
    OrderTorture torture(seed + run, index::DeliveryOrder::kByTopic);
    for (int life = 0; life < 12; ++life) torture.Life();
    torture.Finish();
    ASSERT_TRUE(torture.history.problems().empty()) << "run " << run << ": " << Report(torture.history);
    delivered += torture.history.delivered();
  }
  EXPECT_GT(delivered, 1000u);
}

// Goal: the checker above can fail. Method: the same over a group that was made concurrent, which keeps no order.
TEST(ShardOrderCrashTest, TheCheckerFindsAGroupWithoutOrder) {
  common::LogCapture quiet;
  OrderTorture torture(sim::TestSeed(), index::DeliveryOrder::kConcurrent);
  for (int life = 0; life < 12; ++life) torture.Life();
  torture.Finish();
  EXPECT_FALSE(torture.history.problems().empty());
}

}  // namespace
}  // namespace fulmar::broker
