// Retention and rebuilding: the segments that remain say everything, and say it alike.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "services/broker/shard_state.h"
#include "services/broker/shard_world.h"
#include "services/common/log.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using testing::IsEmpty;

class ShardRetentionTest : public testing::Test {
 protected:
  ShardRetentionTest() : world(sim::TestSeed()) {
    world.options.log.segment_bytes = 256 << 10;
    world.options.retention_time = absl::Hours(2);
    world.options.retention_check_interval = absl::Seconds(10);
  }
  // About `segments` segments full of messages for `topic`.
  void Fill(const std::string& topic, int segments) {
    const std::string body(8 << 10, 'x');
    for (int i = 0; i < segments * 32; ++i) ASSERT_TRUE(world.Send(topic, {absl::StrCat(i, body)}).ok());
  }
  // The index as the log alone makes it. Without format and so on: the whole content.
  std::map<std::string, std::string> Rebuilt() {
    world.Kill();
    world.kv = std::make_unique<index::MemKv>();
    world.Start();
    world.scheduler.RunFor(absl::Milliseconds(1));
    return Comparable();
  }
  // A start appends (an empty entry of the new term), so the applied point differs; everything else must not.
  std::map<std::string, std::string> Comparable() {
    std::map<std::string, std::string> contents = world.kv->Contents();
    contents.erase("a");
    return contents;
  }
  LogPosition Begin() { return world.Status().log.begin; }
  common::LogCapture quiet;
  ShardWorld world;
};

TEST_F(ShardRetentionTest, OldSegmentsGoAndYoungOnesStay) {
  world.Start();
  Fill("t", 3);
  world.scheduler.RunFor(absl::Hours(1));
  EXPECT_EQ(Begin().value, 0);
  Fill("t", 3);
  world.scheduler.RunFor(absl::Minutes(61));
  EXPECT_GT(Begin().value, 0);
  EXPECT_LT(Begin(), world.Status().log.end);
  EXPECT_EQ(world.Receive("t", "late")->size(), 32u);
}

TEST_F(ShardRetentionTest, ASizeBoundRemovesTheOldestFirst) {
  world.options.retention_bytes = 1 << 20;
  world.Start();
  Fill("t", 10);
  world.scheduler.RunFor(absl::Minutes(1));
  EXPECT_GT(Begin().value, 0);
  EXPECT_LE(world.Status().log.end.value - Begin().value, 2 << 20);
}

TEST_F(ShardRetentionTest, AGroupThatWasTooSlowGoesOnBehindTheLossAndItIsCounted) {
  world.Start();
  Fill("t", 2);
  const auto received = world.Receive("t", "slow");
  ASSERT_TRUE(received.ok());
  ASSERT_TRUE(world.Ack("t", "slow", received->front().receipt_handle).ok());
  world.scheduler.RunFor(absl::Hours(3));
  Fill("t", 1);
  world.scheduler.RunFor(absl::Minutes(1));

  EXPECT_GT(world.counts.lost, 0u);
  const auto state = world.Group("slow");
  for (const GroupQueueState& queue : state->queues) {
    EXPECT_GE(queue.cursor, queue.min_offset);
    EXPECT_GT(queue.min_offset, 0);
  }
  EXPECT_FALSE(world.Drain("t", "slow").empty());
  EXPECT_EQ(world.counts.unreadable, 0u);
}

TEST_F(ShardRetentionTest, ARebuiltIndexIsByteEqual) {
  world.Start();
  ASSERT_TRUE(world.Send("gone", {"x"}).ok());
  Fill("t", 2);
  world.Drain("t", "g");
  world.definitions.DeleteTopic("gone", [](const absl::Status&) {});
  world.scheduler.RunFor(absl::Seconds(5));

  const auto before = Comparable();
  EXPECT_GT(before.size(), 60u);
  EXPECT_EQ(Rebuilt(), before);
}

TEST_F(ShardRetentionTest, ARebuiltIndexIsByteEqualAlsoWhenTheSegmentInWhichTheTopicWasMadeIsGone) {
  world.Start();
  ASSERT_TRUE(world.Send("quiet", {"only one"}).ok());  // all its messages will be gone, its counters must not
  Fill("t", 2);
  ASSERT_TRUE(world.Receive("t", "g").ok());
  world.scheduler.RunFor(absl::Hours(3));
  Fill("t", 2);
  world.scheduler.RunFor(absl::Minutes(1));
  ASSERT_GT(Begin().value, 0);

  const auto before = Comparable();
  EXPECT_EQ(Rebuilt(), before);
  const auto sent = world.Send("quiet", {"next"});
  ASSERT_TRUE(sent.ok()) << sent.status();
  std::map<int32_t, int64_t> next;
  next[sent->front().queue] = sent->front().offset;
  EXPECT_THAT(world.Drain("quiet", "g"), testing::ElementsAre("next"));
}

// Offsets that a consumer has seen are never given again, though nothing but a snapshot remembers them.
TEST_F(ShardRetentionTest, AnEmptyQueueGoesOnCountingAfterARebuild) {
  world.definitions.topics["one"] = {.name = "one", .topic_id = 77, .version = 700, .queues = 1};
  world.Start();
  ASSERT_TRUE(world.Send("one", {"a", "b", "c"}).ok());
  Fill("t", 2);
  world.scheduler.RunFor(absl::Hours(3));
  Fill("t", 1);
  world.scheduler.RunFor(absl::Minutes(1));
  Rebuilt();
  EXPECT_EQ(world.Send("one", {"d"})->front().offset, 3);
}

TEST_F(ShardRetentionTest, HandlesStayGoodWhenTheSegmentWithTheirKeyIsGone) {
  world.Start();
  Fill("t", 2);
  world.scheduler.RunFor(absl::Hours(3));
  Fill("t", 1);
  const auto received = world.Receive("t", "g");
  ASSERT_TRUE(received.ok());
  world.scheduler.RunFor(absl::Seconds(15));
  ASSERT_GT(Begin().value, 0);
  Rebuilt();
  EXPECT_TRUE(world.Ack("t", "g", received->back().receipt_handle).ok());
}

TEST_F(ShardRetentionTest, NothingGoesBeforeTheIndexIsDurableBehindIt) {
  world.Start();
  Fill("t", 2);
  world.kv->SetFull(true);
  world.scheduler.RunFor(absl::Hours(3));
  EXPECT_EQ(Begin().value, 0);
  world.kv->SetFull(false);
  world.scheduler.RunFor(absl::Minutes(2));
  EXPECT_GT(Begin().value, 0);
}

// A crash at every stage of many rounds of retention; then the log alone makes what the index says.
TEST_F(ShardRetentionTest, CrashesDuringRetentionLeaveAnIndexThatTheLogCanRebuild) {
  SCOPED_TRACE(absl::StrCat("FULMAR_SEED=", sim::TestSeed()));
  world.options.retention_time = absl::Seconds(30);
  world.options.retention_check_interval = absl::Seconds(1);
  world.options.index_flush_interval = absl::Seconds(3);
  for (int round = 0; round < 20; ++round) {
    world.Start();
    Fill(absl::StrCat("t", world.random.Next() % 3), 1);
    world.scheduler.RunFor(absl::Milliseconds(world.random.Next() % 20000));
    if (world.random.Next() % 2 == 0) {
      world.Kill();
    } else {
      world.LosePower();
    }
  }
  world.Start();
  world.scheduler.RunFor(absl::Seconds(10));
  EXPECT_GT(Begin().value, 0);
  world.options.retention_check_interval = absl::Hours(100);
  const auto before = Comparable();
  EXPECT_EQ(Rebuilt(), before);
}

// Goal: retention never holds the shard for long, however many queues there are. Method: 100,000 queues; each step looks at its share only,
// and together they do what one look at all would.
TEST(ShardStateTest, ManyQueuesAreTrimmedInSteps) {
  constexpr int32_t kQueues = 100000;
  constexpr size_t kStep = 64;
  index::MemKv kv;
  index::KvBatch batch;
  for (int32_t queue = 0; queue < kQueues; ++queue) {
    for (int64_t offset = 0; offset < 2; ++offset) {
      index::QueueIndex::Append(batch, {7, queue}, {.offset = offset, .position = {offset * kQueues + queue}, .length = 1, .store_time_ms = 1});
    }
    index::QueueIndex::PutCounters(batch, {7, queue}, {.next = 2, .min = 0}, {kQueues + queue});
  }
  kv.Write(batch);
  ShardState state(kv);
  const absl::Status loaded = state.Load();
  ASSERT_TRUE(loaded.ok()) << loaded;

  ShardState::TrimPlace at;
  size_t steps = 0, moved_in_all = 0;
  for (bool done = false; !done; ++steps) {
    size_t moved = 0;
    const absl::StatusOr<bool> step = state.Trim({kQueues}, at, kStep, [&](Queue& queue) {
      EXPECT_EQ(queue.counters.min, 1);
      ++moved;
    });
    ASSERT_TRUE(step.ok());
    ASSERT_LE(moved, kStep);
    moved_in_all += moved;
    done = *step;
  }

  EXPECT_EQ(moved_in_all, size_t{kQueues});
  EXPECT_GE(steps, kQueues / kStep);
  EXPECT_EQ(index::QueueIndex(kv).Read({7, kQueues - 1}, 0, 10, 10)->size(), 1u);
}

// The same with a shard around it: what it does between two tasks reads the entries of few queues.
TEST_F(ShardRetentionTest, AWideTopicIsTrimmedBetweenOtherWork) {
  class CountingKv final : public index::MemKv {
   public:
    std::unique_ptr<Iterator> Scan(std::string_view begin, std::string_view end) const override {
      if (begin.starts_with("q")) ++scans;
      return MemKv::Scan(begin, end);
    }
    mutable int64_t scans = 0;
  };
  world.definitions.topics["wide"] = {.name = "wide", .topic_id = 900, .version = 900, .queues = 2000};
  auto kv = std::make_unique<CountingKv>();
  CountingKv& counting = *kv;
  world.kv = std::move(kv);
  world.Start();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(world.Send("wide", std::vector<std::string>(2000, std::string(300, 'x'))).ok());
  Fill("t", 2);
  const LogPosition begin = Begin();
  const int64_t at_first = counting.scans;
  int64_t most = 0, before = at_first;
  world.scheduler.RunUntil([&] {  // asked after each task
    most = std::max(most, counting.scans - before);
    before = counting.scans;
    return false;
  }, absl::Hours(3));
  const int64_t all = counting.scans - at_first;

  EXPECT_GT(Begin(), begin);
  EXPECT_GE(all, 2000);
  EXPECT_LE(most, 200);
}

// ---- an index that cannot be

class DamagedIndexTest : public ShardRetentionTest {
 protected:
  void ExpectUnhealthy() {
    world.scheduler.RunFor(absl::Seconds(5));
    const ShardStatus status = world.Status();
    EXPECT_FALSE(status.serving);
    EXPECT_THAT(std::string(status.health.message()), testing::HasSubstr("fulmar index rebuild"));
    EXPECT_FALSE(world.Send("t", {"refused"}).ok());
    EXPECT_FALSE(world.Receive("t", "g").ok());
  }
  // An empty index in its place: all of the log is there.
  void ExpectRebuilt(size_t messages) {
    world.Kill();
    world.kv = std::make_unique<index::MemKv>();
    world.Start();
    EXPECT_EQ(world.Drain("t", "after").size(), messages);
  }
  uint32_t TopicId() { return world.definitions.topics.at("t").topic_id; }
  void Put(const std::string& key, const std::string& value) {
    index::KvBatch batch;
    batch.Put(key, value);
    world.kv->Write(batch);
  }
};

TEST_F(DamagedIndexTest, CountersThatTheLogDisprovesStopTheShardAndNotTheProcess) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a", "b"}).ok());
  world.Stop();
  ASSERT_TRUE(world.kv->Flush().ok());
  Put(index::QueueCountersKey({TopicId(), 0}), "xx");

  ASSERT_TRUE(world.TryStart().ok());

  ExpectUnhealthy();
  world.Stop();
  ASSERT_TRUE(world.TryStart().ok()) << "never a loop of crashes";
  ExpectUnhealthy();
  ExpectRebuilt(2);
}

TEST_F(DamagedIndexTest, AnEntryThatCannotBeReadStopsTheShardWhenRetentionMeetsIt) {
  world.Start();
  Fill("t", 3);
  const LogPosition begin = Begin();
  for (int32_t queue = 0; queue < 8; ++queue) {
    for (int64_t offset = 0; offset < 200; ++offset) Put(index::QueueEntryKey({TopicId(), queue}, offset), "xx");
  }
  world.scheduler.RunFor(absl::Hours(3));

  ExpectUnhealthy();
  EXPECT_EQ(Begin(), begin) << "what a new index needs stays";
  ExpectRebuilt(96);
}

TEST_F(DamagedIndexTest, AnIndexOfAnotherFormatStopsTheShardAndNotTheProcess) {
  world.Start();
  ASSERT_TRUE(world.Send("t", {"a"}).ok());
  world.Stop();
  Put(std::string(index::kFormatKey), "9999");

  ASSERT_TRUE(world.TryStart().ok());

  ExpectUnhealthy();
  ExpectRebuilt(1);
}

}  // namespace
}  // namespace fulmar::broker
