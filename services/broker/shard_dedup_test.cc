// Dedup windows of topics: a whole shard on simulated time and disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>
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
using testing::UnorderedElementsAre;

class ShardDedupTest : public testing::Test {
 protected:
  using Answer = std::optional<absl::StatusOr<std::vector<SendOutcome>>>;
  explicit ShardDedupTest(uint64_t seed = sim::TestSeed()) : seed_(seed), world(seed) {
    world.definitions.topics["d"] = {.name = "d", .topic_id = 900, .version = 900, .dedup_window = absl::Minutes(10)};
    world.options.log.segment_bytes = 256 << 10;
    world.options.retention_check_interval = absl::Seconds(10);
  }
  SendCommand Command(const std::string& id, const std::string& body, const std::string& client = "producer") {
    SendCommand command = ShardWorld::MakeSend("d", {body}, "");
    command.client.client_id = client;
    MessageView view;
    view.type = 1;
    view.message_id = id;
    view.body = body;
    command.messages.front() = {.record = EncodeMessageRecord(view), .message_id = id, .body_digest = body};
    return command;
  }
  void SendLater(Answer& answer, SendCommand command) {
    world.shard->Send(std::move(command), [&answer](auto result) { answer = std::move(result); });
  }
  SendOutcome Send(const std::string& id, const std::string& body, const std::string& client = "producer") {
    Answer answer;
    SendLater(answer, Command(id, body, client));
    const auto sent = world.Await(answer);
    EXPECT_TRUE(sent.ok()) << sent.status();
    return sent.ok() ? sent->front() : SendOutcome{sent.status(), "", -1, -1};
  }
  static testing::AssertionResult Alike(const SendOutcome& a, const SendOutcome& b) {
    if (a.status.ok() && b.status.ok() && a.message_id == b.message_id && a.queue == b.queue && a.offset == b.offset) return testing::AssertionSuccess();
    return testing::AssertionFailure() << a.status << " " << a.message_id << " " << a.queue << "/" << a.offset << " and " << b.status << " "
                                       << b.message_id << " " << b.queue << "/" << b.offset;
  }
  const uint64_t seed_;
  common::LogCapture quiet;
  ShardWorld world;
};

TEST_F(ShardDedupTest, ARepeatInsideTheWindowIsStoredOnceAndAnsweredAlike) {
  world.Start();
  const SendOutcome first = Send("1", "a");
  Send("2", "b");
  world.scheduler.RunFor(absl::Minutes(9));
  EXPECT_TRUE(Alike(first, Send("1", "a")));
  EXPECT_THAT(world.Drain("d", "g"), UnorderedElementsAre("a", "b"));
  EXPECT_EQ(world.counts.stored, 2u);
  EXPECT_EQ(world.counts.deduplicated, 1u);
}

TEST_F(ShardDedupTest, AfterTheWindowItIsAnotherMessageWithAWindowOfItsOwn) {
  world.Start();
  const SendOutcome first = Send("1", "a");
  world.scheduler.RunFor(absl::Minutes(10));
  const SendOutcome second = Send("1", "a");
  EXPECT_FALSE(Alike(first, second));
  world.scheduler.RunFor(absl::Minutes(9));
  EXPECT_TRUE(Alike(second, Send("1", "a")));
  EXPECT_THAT(world.Drain("d", "g"), UnorderedElementsAre("a", "a"));
}

TEST_F(ShardDedupTest, AnotherClientAnotherIdOrAnotherBodyIsAnotherMessage) {
  world.Start();
  Send("1", "a");
  Send("1", "a", "another client");
  Send("2", "a");
  Send("1", "another body");
  EXPECT_EQ(world.Drain("d", "g").size(), 4u);
}

TEST_F(ShardDedupTest, ATopicWithoutAWindowStoresEveryRepeat) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  EXPECT_THAT(world.Drain("t", "g"), ElementsAre("a", "a"));
}

TEST_F(ShardDedupTest, ARepeatWhileTheFirstIsBeingAppendedWaitsForItsAnswer) {
  for (const log::Durability durability : {log::Durability::kSync, log::Durability::kAsync}) {
    world.definitions.topics.at("d").durability = durability;
    world.Start();
    const std::string id = absl::StrCat("id", static_cast<int>(durability));
    Answer first, second, third;
    SendLater(first, Command(id, "a"));
    SendLater(second, Command(id, "a"));
    SendLater(third, Command(id, "a"));
    world.scheduler.RunFor(absl::Seconds(1));
    ASSERT_TRUE(first && second && third);
    EXPECT_TRUE(Alike((**first).front(), (**second).front()));
    EXPECT_TRUE(Alike((**first).front(), (**third).front()));
    EXPECT_EQ(world.Drain("d", "g").size(), 1u);
    world.Stop();
  }
}

TEST_F(ShardDedupTest, ARepeatInTheSameRequestIsStoredOnce) {
  world.Start();
  SendCommand command = Command("1", "a");
  command.messages.push_back(command.messages.front());
  Answer answer;
  SendLater(answer, std::move(command));
  const auto sent = world.Await(answer);
  ASSERT_TRUE(sent.ok());
  EXPECT_TRUE(Alike((*sent)[0], (*sent)[1]));
  EXPECT_EQ(world.Drain("d", "g").size(), 1u);
}

TEST_F(ShardDedupTest, WhatWasRefusedMayBeSentAgain) {
  world.Start();
  Send("0", "x");
  world.scheduler.RunFor(absl::Seconds(1));
  world.files.SetCapacity(600 << 10);
  Answer refused;
  std::string body(32 << 10, 'x');
  int i = 0;
  do {
    refused.reset();
    SendLater(refused, Command(absl::StrCat("big", ++i), body));
    world.scheduler.RunFor(absl::Seconds(1));
    ASSERT_TRUE(refused);
  } while (refused->ok() && i < 100);
  ASSERT_FALSE(refused->ok());
  world.files.SetCapacity(std::nullopt);
  world.scheduler.RunFor(absl::Seconds(5));
  const SendOutcome stored = Send(absl::StrCat("big", i), body);
  EXPECT_TRUE(Alike(stored, Send(absl::StrCat("big", i), body)));
}

TEST_F(ShardDedupTest, TheWindowSurvivesRestartAndALostIndex) {
  world.Start();
  const SendOutcome first = Send("1", "a");
  world.LosePower();
  world.Start();
  EXPECT_TRUE(Alike(first, Send("1", "a")));
  world.Kill();
  world.kv = std::make_unique<index::MemKv>();
  world.Start();
  EXPECT_TRUE(Alike(first, Send("1", "a")));
  EXPECT_THAT(world.Drain("d", "g"), ElementsAre("a"));
}

TEST_F(ShardDedupTest, TheWindowSurvivesTheRetentionOfItsMessages) {
  world.definitions.topics.at("d").dedup_window = absl::Hours(6);
  world.options.retention_time = absl::Hours(1);
  world.Start();
  const SendOutcome first = Send("1", "a");
  const std::string filler(8 << 10, 'x');
  for (int hour = 0; hour < 4; ++hour) {
    for (int i = 0; i < 64; ++i) ASSERT_TRUE(world.Send("t", {absl::StrCat(hour, "-", i, filler)}).ok());
    world.scheduler.RunFor(absl::Hours(1));
  }
  ASSERT_GT(world.Status().log.begin.value, 1 << 20) << "the first message is gone";
  EXPECT_TRUE(Alike(first, Send("1", "a")));
  world.Kill();
  world.kv = std::make_unique<index::MemKv>();
  world.Start();
  EXPECT_TRUE(Alike(first, Send("1", "a"))) << "from what was written again";
  world.scheduler.RunFor(absl::Hours(2));
  EXPECT_FALSE(Alike(first, Send("1", "a"))) << "the window is over";
}

TEST_F(ShardDedupTest, EntriesLeaveTheIndexAfterTheirWindow) {
  world.Start();
  const auto rows = [&] {
    size_t count = 0;
    for (const auto& [key, value] : world.kv->Contents()) count += key[0] == 'd';
    return count;
  };
  for (int i = 0; i < 100; ++i) Send(absl::StrCat(i), "x");
  EXPECT_EQ(rows(), 200u);
  world.scheduler.RunFor(absl::Minutes(11));
  EXPECT_EQ(rows(), 0u);
}

// Random sends, repeats, pauses and crashes against a map of what was stored when.
TEST_F(ShardDedupTest, EveryRepeatIsAnsweredAsTheWindowSays) {
  std::mt19937_64 chance(seed_);
  world.definitions.topics.at("d").dedup_window = absl::Minutes(1);
  world.options.retention_time = absl::Minutes(2);
  world.Start();
  struct Stored {
    SendOutcome outcome;
    absl::Time before, after;
  };
  std::map<std::string, Stored> newest;
  int64_t stored = 0;
  for (int step = 0; step < 3000; ++step) {
    SCOPED_TRACE(absl::StrCat("step ", step, ", seed ", seed_));
    const uint64_t what = chance() % 100;
    if (what < 90) {
      const std::string id = absl::StrCat(chance() % 50);
      const std::string body = absl::StrCat(id, std::string(chance() % 2 == 0 ? 10 : 3000, 'b').substr(0, 3000));
      const std::string name = absl::StrCat(id, "/", body.size());
      const absl::Time before = world.clock.Now();
      const SendOutcome outcome = Send(id, body);
      ASSERT_TRUE(outcome.status.ok());
      const auto known = newest.find(name);
      const bool same = known != newest.end() && Alike(known->second.outcome, outcome);
      if (known != newest.end() && world.clock.Now() - known->second.before < absl::Minutes(1)) {
        ASSERT_TRUE(same) << "inside the window";
      } else if (known == newest.end() || before - known->second.after > absl::Minutes(1)) {
        ASSERT_FALSE(same) << "outside of it";
      }
      if (!same) {
        newest[name] = {outcome, before, world.clock.Now()};
        ++stored;
      }
    } else if (what < 98) {
      world.scheduler.RunFor(absl::Seconds(static_cast<int64_t>(chance() % 20)));
    } else if (what == 98) {
      world.Kill();
      world.Start();
    } else {
      world.Stop();
      world.kv = std::make_unique<index::MemKv>();
      world.Start();
    }
  }
  EXPECT_EQ(world.counts.stored, static_cast<uint64_t>(stored));
}

}  // namespace
}  // namespace fulmar::broker
