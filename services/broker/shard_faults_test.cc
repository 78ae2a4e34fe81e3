// Rare orders of events in which a shard must keep its promises: a disk that fills while sends wait, an index that cannot be read, a
// group made again at once, a retry while a message becomes a dead letter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/broker/records.h"
#include "services/broker/shard_state.h"
#include "services/broker/shard_world.h"
#include "services/common/errors.h"
#include "services/common/log.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// An index whose queue entries cannot be read while `broken`.
class BreakableKv final : public index::MemKv {
 public:
  std::unique_ptr<Iterator> Scan(std::string_view begin, std::string_view end) const override {
    if (broken) return std::make_unique<Broken>();
    return MemKv::Scan(begin, end);
  }
  bool broken = false;

 private:
  struct Broken final : Iterator {
    void Seek(std::string_view) override {}
    bool Valid() const override { return false; }
    void Next() override {}
    std::string_view key() const override { return {}; }
    std::string_view value() const override { return {}; }
    absl::Status status() const override { return absl::DataLossError("a block has a wrong checksum"); }
  };
};

class ShardFaultsTest : public testing::Test {
 protected:
  ShardFaultsTest() : world(sim::TestSeed()) {}
  common::LogCapture quiet;
  ShardWorld world;
};

// Goal: offsets of sends that were refused behind others are given again, else the queue has a hole that no start gets over.
TEST_F(ShardFaultsTest, SendsThatAFullDiskRefusesWhileTheyWaitLeaveNoHoleInTheirQueues) {
  world.options.log.segment_bytes = 256 << 10;
  world.options.log.max_batch_bytes = 48 << 10;
  world.Start();
  ASSERT_TRUE(world.Send("t", {"first"}).ok());
  world.scheduler.RunFor(absl::Seconds(1));
  world.files.SetCapacity(600 << 10);
  const std::string big(32 << 10, 'x');
  int stored = 0, refused = 0;
  for (int i = 0; i < 60; ++i) {
    world.shard->Send(ShardWorld::MakeSend("t", {absl::StrCat(i, big)}, ""), [&](const auto& result) { result.ok() ? ++stored : ++refused; });
  }
  world.scheduler.RunFor(absl::Seconds(10));
  ASSERT_GT(stored, 0);
  ASSERT_GT(refused, 0);

  world.files.SetCapacity(std::nullopt);
  world.scheduler.RunFor(absl::Seconds(5));
  ASSERT_TRUE(world.Send("t", {"a", "b", "c", "d"}).ok());
  world.Kill();
  world.Start();
  EXPECT_EQ(world.Drain("t", "g").size(), static_cast<size_t>(stored + 5));
}

// The same at random: space comes and goes while sends of both kinds wait and the process dies; what was answered is there, once.
TEST_F(ShardFaultsTest, NothingAnsweredIsLostWhileTheDiskFillsAndEmpties) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  world.options.log.segment_bytes = 256 << 10;
  world.options.log.max_batch_bytes = 64 << 10;
  world.definitions.topics["fast"] = {.name = "fast", .topic_id = 900, .version = 900, .queues = 2, .durability = log::Durability::kAsync};
  std::set<std::string> stored;
  int refused = 0, number = 0;
  for (int life = 0; life < 30; ++life) {
    world.files.SetCapacity(std::nullopt);
    world.Start();
    for (int step = 0; step < 20; ++step) {
      if (world.random.Next() % 4 == 0) {
        const uint64_t used = world.files.UsedBytes();
        world.files.SetCapacity(world.random.Next() % 3 == 0 ? std::nullopt : std::optional<uint64_t>(used + world.random.Next() % (700 << 10)));
      }
      const int burst = static_cast<int>(world.random.Next() % 12);
      for (int i = 0; i < burst; ++i) {
        const std::string body = absl::StrCat(number++, " ", std::string(world.random.Next() % (40 << 10), 'x'));
        world.shard->Send(ShardWorld::MakeSend(i % 3 == 0 ? "fast" : "t", {body}, ""), [&, body](const auto& result) {
          if (result.ok() && result->front().status.ok()) stored.insert(body);
          else ++refused;
        });
      }
      world.scheduler.RunFor(absl::Milliseconds(static_cast<int64_t>(world.random.Next() % 1500)));
    }
    if (life % 3 == 0) world.Stop();
    else world.Kill();  // not a power loss: that may take what was answered before its sync
  }
  world.files.SetCapacity(std::nullopt);
  world.Start();
  ASSERT_GT(refused, 0);
  std::multiset<std::string> got;
  for (const char* topic : {"t", "fast"}) {
    for (std::string& body : world.Drain(topic, "g")) got.insert(std::move(body));
  }
  for (const std::string& body : stored) EXPECT_EQ(got.count(body), 1u) << body.substr(0, 10);
}

// Goal: what the index cannot show is not the same as what retention removed: it must not count as consumed.
TEST_F(ShardFaultsTest, MessagesWhoseIndexEntriesCannotBeReadAreDeliveredLater) {
  auto kv = std::make_unique<BreakableKv>();
  BreakableKv& breakable = *kv;
  world.kv = std::move(kv);
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a", "b", "c", "d", "e"}).ok());
  world.scheduler.RunFor(absl::Seconds(1));
  world.Stop();
  world.Start();  // nothing of the queues is in memory
  breakable.broken = true;
  EXPECT_EQ(V2CodeOf(world.Receive("t", "g").status()), 40401);
  EXPECT_EQ(world.counts.lost, 0u);
  breakable.broken = false;
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_THAT(world.Drain("t", "g"), UnorderedElementsAre("a", "b", "c", "d", "e"));
}

TEST_F(ShardFaultsTest, AGroupMadeAgainAtOnceKeepsItsNewProgress) {
  world.options.progress_flush_interval = absl::Seconds(5);
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a", "b", "c", "d"}).ok());
  EXPECT_EQ(world.Drain("t", "g").size(), 4u);
  world.scheduler.RunFor(absl::Seconds(10));
  world.definitions.DeleteGroup("g", [](const absl::Status&) {});
  world.scheduler.RunUntilIdle();
  EXPECT_EQ(world.Drain("t", "g").size(), 4u);  // made again, from the beginning
  world.scheduler.RunFor(absl::Seconds(10));    // written
  world.Kill();
  world.Start();
  EXPECT_THAT(world.Drain("t", "g"), IsEmpty());
}

// Goal: a deletion that comes while the copy of what it deletes is still on its way is not overlooked.
TEST_F(ShardFaultsTest, ADeletionRightBehindTheCreationIsNotOverlooked) {
  world.options.auto_create_topics = world.options.auto_create_groups = false;
  world.Start();
  world.definitions.EnsureTopic({.name = "brief"}, [](const auto&) {});
  world.definitions.DeleteTopic("brief", [](const auto&) {});
  world.definitions.EnsureGroup({.name = "brief-g"}, [](const auto&) {});
  world.definitions.DeleteGroup("brief-g", [](const auto&) {});
  world.scheduler.RunFor(absl::Seconds(5));
  EXPECT_EQ(world.Status().topics, 0);
  EXPECT_EQ(world.Status().groups, 0);
  EXPECT_EQ(V2CodeOf(world.Send("brief", {"x"}).status()), 40402);
}

// Goal: retention says old progress again while newer progress is on its way in front of it; the newer one stays.
TEST_F(ShardFaultsTest, OlderProgressThatIsSaidAgainDoesNotReplaceNewer) {
  index::MemKv kv;
  ShardState state(kv);
  ASSERT_TRUE(state.Load().ok());
  Changes changes;
  int64_t at = 0;
  const auto apply = [&](uint64_t sequence, int64_t cursor) {
    index::QueueProgress progress;
    progress.group = "g";
    progress.topic_id = 1;
    progress.queue = 0;
    progress.cursor = cursor;
    progress.sequence = sequence;
    const std::vector<log::AppliedRecord> records = {
        {log::RecordType::kProgressBatch, {at}, common::SharedBytes(EncodeProgressBatch({index::Encode(progress)}))}};
    at += 1000;
    state.Apply({.index = {at / 1000}, .term = {1}, .end = {at}, .time = absl::UnixEpoch(), .records = records}, changes);
  };
  apply(4, 40);
  apply(5, 50);
  apply(4, 40);
  const auto kept = state.ReadLoggedProgress({"g", {1, 0}});
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->cursor, 50);
}

// Goal: a client that only receives, and whose poll was parked for longer than silence is allowed, is alive when it gets its message.
TEST_F(ShardFaultsTest, AnAutoRenewedMessageOfALongParkedPollIsRenewed) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  world.Drain("t", "g");
  ReceiveCommand command;
  command.auto_renew = true;
  command.wait = absl::Seconds(55);
  command.client.client_id = "push";
  int got = 0;
  world.shard->Receive(world.MakeReceive("t", "g", command), [&](const auto& result) { got += result.ok() ? static_cast<int>(result->size()) : 0; });
  world.scheduler.RunFor(absl::Seconds(40));
  ASSERT_TRUE(world.Send("t", {"y"}).ok());
  for (int i = 0; i < 12; ++i) {
    world.shard->TouchClient({.client_id = "push"}, "g");
    world.scheduler.RunFor(absl::Seconds(10));
  }
  EXPECT_EQ(got, 1);
  EXPECT_EQ(V2CodeOf(world.Receive("t", "g").status()), 40401);
}

// Goal: while a message is on its way to the dead letters nobody gives it back to the queue, else it would be in both.
TEST_F(ShardFaultsTest, AMessageOnItsWayToTheDeadLettersCannotBeGivenBack) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"x"}).ok());
  const auto received = world.Receive("t", "g");
  ASSERT_TRUE(received.ok());
  const std::string handle = received->front().receipt_handle;
  std::optional<absl::Status> forwarded;
  std::optional<absl::StatusOr<std::string>> changed;
  world.shard->ForwardToDeadLetter({.client = {.client_id = "consumer"}, .topic = "t", .group = "g", .receipt_handle = handle, .message_id = "", .delivery_attempt = 1},
                                   [&](const absl::Status& status) { forwarded = status; });
  world.shard->ChangeInvisible({.client = {.client_id = "consumer"}, .topic = "t", .group = "g", .receipt_handle = handle, .message_id = "", .invisible_duration = absl::Seconds(5)},
                               [&](absl::StatusOr<std::string> result) { changed = std::move(result); });
  world.scheduler.RunFor(absl::Minutes(1));
  ASSERT_TRUE(forwarded.has_value());
  EXPECT_TRUE(forwarded->ok()) << *forwarded;
  ASSERT_TRUE(changed.has_value());
  EXPECT_FALSE(changed->ok());
  EXPECT_EQ(V2CodeOf(world.Receive("t", "g").status()), 40401);
  EXPECT_THAT(world.Drain("%DLQ%g", "h"), ElementsAre("x"));
}

// Goal: an index that cannot write keeps in memory what the log says, but not without end: then sends wait for space as with a full log,
// what is there goes on being delivered and acknowledged, and the health tells why.
TEST_F(ShardFaultsTest, AnIndexThatHoldsTooMuchInMemoryMakesSendsWaitForSpace) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"before"}).ok());
  ASSERT_TRUE(world.kv->Flush().ok());
  EXPECT_TRUE(world.Status().health.ok());
  world.kv->SetFull(true);
  world.kv->SetMaxUnflushed(20);
  absl::Status refusal;
  int stored = 0;
  while (refusal.ok() && stored < 100) {
    refusal = world.Send("t", {absl::StrCat(stored)}).status();
    if (refusal.ok()) ++stored;
  }

  EXPECT_EQ(V2CodeOf(refusal), 42900) << refusal;
  EXPECT_THAT(std::string(refusal.message()), testing::HasSubstr("no disk space for the index"));
  EXPECT_GT(stored, 5);
  EXPECT_TRUE(world.Status().serving);
  EXPECT_FALSE(world.Status().health.ok());
  EXPECT_THAT(std::string(world.Status().health.message()), testing::HasSubstr("no space left"));
  EXPECT_EQ(world.Drain("t", "new-group").size(), static_cast<size_t>(stored) + 1) << "a new group is an internal record";

  world.kv->SetFull(false);
  ASSERT_TRUE(world.kv->Flush().ok());
  EXPECT_TRUE(world.Status().health.ok());
  EXPECT_TRUE(world.Send("t", {"after"}).ok());
}

// Goal: however many queues changed, no write and no record of progress grows with their number: above 64 MB it would fail for ever. Method:
// 200,000 changed queues, kept by the service; then by the own log while the service is away; then by the service again.
TEST_F(ShardFaultsTest, ProgressOfVeryManyQueuesGoesOutInPieces) {
  constexpr int kGroups = 10, kQueues = 20000;
  constexpr size_t kAll = size_t{kGroups} * kQueues;
  world.definitions.topics["wide"] = {.name = "wide", .topic_id = 900, .version = 900, .queues = kQueues};
  world.Start();
  const auto reset = [&](int64_t offset) {
    int done = 0;
    for (int group = 0; group < kGroups; ++group) {
      world.shard->ResetGroupOffset(absl::StrCat("g", group), "wide", {.policy = offset == 0 ? OffsetPolicy::kBeginning : OffsetPolicy::kEnd},
                                    [&](const absl::Status& status) { done += status.ok(); });
    }
    EXPECT_TRUE(world.scheduler.RunUntil([&] { return done == kGroups; }, absl::Minutes(1)));
  };
  for (int group = 0; group < kGroups; ++group) world.Drain("wide", absl::StrCat("g", group));

  reset(1);
  ASSERT_TRUE(world.scheduler.RunUntil([&] { return world.progress.kept.size() == kAll; }, absl::Minutes(1))) << world.progress.kept.size();
  EXPECT_LE(world.progress.largest_write, 5000u);
  EXPECT_GE(world.progress.writes, 40);

  world.progress.away = true;
  reset(0);
  world.scheduler.RunFor(absl::Seconds(10));
  world.progress.kept.clear();
  world.Kill();
  size_t records = 0, largest = 0;
  ASSERT_TRUE(log::ScanLog(world.files, world.options.log.dir, [&](const log::AppliedEntry& entry) {
                for (const log::AppliedRecord& record : entry.records) {
                  if (record.type != log::RecordType::kProgressBatch) continue;
                  ++records;
                  largest = std::max(largest, record.body.size());
                }
                return true;
              }).ok());
  EXPECT_GE(records, 40u);
  EXPECT_LE(largest, 2u << 20);

  world.progress.away = false;
  world.Start();
  EXPECT_TRUE(world.scheduler.RunUntil([&] { return world.progress.kept.size() == kAll; }, absl::Minutes(1))) << world.progress.kept.size();
  EXPECT_LE(world.progress.largest_write, 5000u);
}

TEST_F(ShardFaultsTest, WhatWaitsForTheClaimHasABound) {
  world.options.max_parked_receives = 100;
  world.progress.silent = true;
  world.Start(/*wait=*/false);
  world.scheduler.RunFor(absl::Milliseconds(200));
  int refused_at_once = 0;
  for (int i = 0; i < 1000; ++i) {
    world.shard->Ack({.client = {.client_id = "c"}, .topic = "t", .group = "g", .entries = {{"x", ""}}},
                     [&](const auto& result) { refused_at_once += V2CodeOf(result.status()) == 42900; });
  }
  world.scheduler.RunFor(absl::Seconds(1));
  EXPECT_EQ(refused_at_once, 900);
}

}  // namespace
}  // namespace fulmar::broker
