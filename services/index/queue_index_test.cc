#include "services/index/queue_index.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/index/mem_kv.h"

namespace fulmar::index {
namespace {

using ::testing::IsEmpty;

QueueEntry EntryAt(int64_t offset) {
  return {.offset = offset, .position = {offset * 100}, .length = 50, .tag_hash = 9, .store_time_ms = offset * 10};
}

class QueueIndexTest : public ::testing::Test {
 protected:
  void Fill(QueueId queue, int64_t from, int64_t to) {
    KvBatch batch;
    for (int64_t offset = from; offset < to; ++offset) QueueIndex::Append(batch, queue, EntryAt(offset));
    kv_.Write(batch);
  }
  MemKv kv_;
  QueueIndex index_{kv_};
};

TEST_F(QueueIndexTest, ReadGivesTheEntriesOfOneQueueInOrder) {
  Fill({1, 0}, 0, 10);
  Fill({1, 1}, 0, 10);

  EXPECT_THAT(index_.Read({1, 0}, 3, 6, 100).value(), ::testing::ElementsAre(EntryAt(3), EntryAt(4), EntryAt(5)));
  EXPECT_THAT(index_.Read({1, 0}, 8, 100, 100).value(), ::testing::ElementsAre(EntryAt(8), EntryAt(9)));
  EXPECT_THAT(index_.Read({1, 0}, 0, 10, 1).value(), ::testing::ElementsAre(EntryAt(0)));
  EXPECT_THAT(index_.Read({1, 0}, 5, 5, 1).value(), IsEmpty());
  EXPECT_THAT(index_.Read({2, 0}, 0, 10, 1).value(), IsEmpty());
}

TEST_F(QueueIndexTest, ADamagedEntryIsDataLossNotASkippedMessage) {
  Fill({1, 0}, 0, 3);
  KvBatch batch;
  batch.Put(QueueEntryKey({1, 0}, 1), "bad");
  kv_.Write(batch);

  EXPECT_EQ(index_.Read({1, 0}, 0, 3, 100).status().code(), absl::StatusCode::kDataLoss);
}

// The store answers `good_seeks` seeks, then it meets damage.
class DyingKv final : public MemKv {
 public:
  std::unique_ptr<Iterator> Scan(std::string_view begin, std::string_view end) const override {
    return std::make_unique<Dying>(MemKv::Scan(begin, end), good_seeks);
  }
  int good_seeks = 0;

 private:
  struct Dying final : Iterator {
    Dying(std::unique_ptr<Iterator> whole, int seeks) : it(std::move(whole)), left(seeks) {}
    void Seek(std::string_view key) override {
      --left;
      it->Seek(key);
    }
    bool Valid() const override { return left >= 0 && it->Valid(); }
    void Next() override { it->Next(); }
    std::string_view key() const override { return it->key(); }
    std::string_view value() const override { return it->value(); }
    absl::Status status() const override { return left >= 0 ? absl::OkStatus() : absl::DataLossError("a bad block"); }
    const std::unique_ptr<Iterator> it;
    int left;
  };
};

TEST_F(QueueIndexTest, DamageMetByASearchIsAnErrorAndNotTheEndOfTheQueue) {
  DyingKv kv;
  const QueueIndex index{kv};
  KvBatch batch;
  for (int64_t offset = 0; offset < 16; ++offset) QueueIndex::Append(batch, {1, 0}, EntryAt(offset));
  kv.Write(batch);
  const QueueCounters counters{.next = 16, .min = 0};
  int errors = 0;
  for (kv.good_seeks = 0; kv.good_seeks < 20; ++kv.good_seeks) {
    const absl::StatusOr<int64_t> found = index.FindByPosition({1, 0}, counters, {700});
    if (found.ok()) {
      EXPECT_EQ(*found, 7) << kv.good_seeks;
    } else {
      ++errors;
    }
  }
  EXPECT_GE(errors, 4);  // each seek of the search in its turn
}

TEST_F(QueueIndexTest, FindByTimeGivesTheFirstMessageStoredAtOrAfterIt) {
  Fill({1, 0}, 5, 20);
  const QueueCounters counters{.next = 20, .min = 5};

  const auto find = [&](int64_t ms) { return index_.FindByTime({1, 0}, counters, absl::FromUnixMillis(ms)).value(); };
  EXPECT_EQ(find(0), 5);
  EXPECT_EQ(find(50), 5);
  EXPECT_EQ(find(51), 6);
  EXPECT_EQ(find(190), 19);
  EXPECT_EQ(find(191), 20);
  EXPECT_EQ(index_.FindByTime({1, 0}, counters, absl::InfiniteFuture()).value(), 20);
  EXPECT_EQ(index_.FindByTime({1, 0}, counters, absl::InfinitePast()).value(), 5);
  EXPECT_EQ(index_.FindByTime({1, 0}, {.next = 7, .min = 7}, absl::InfinitePast()).value(), 7);
}

TEST_F(QueueIndexTest, FindByPositionFindsWhereASegmentBeginsAlsoAcrossHoles) {
  Fill({1, 0}, 0, 3);
  Fill({1, 0}, 10, 13);
  const QueueCounters counters{.next = 13, .min = 0};

  const auto find = [&](int64_t at) { return index_.FindByPosition({1, 0}, counters, LogPosition{at}).value(); };
  EXPECT_EQ(find(0), 0);
  EXPECT_EQ(find(100), 1);
  EXPECT_EQ(find(201), 10);
  EXPECT_EQ(find(1200), 12);
  EXPECT_EQ(find(1201), 13);
}

TEST_F(QueueIndexTest, TrimForgetsOneRangeAndRemoveForgetsTheQueue) {
  Fill({1, 0}, 0, 10);
  Fill({1, 1}, 0, 2);
  KvBatch batch;
  QueueIndex::Trim(batch, {1, 0}, 0, 8);
  QueueIndex::PutCounters(batch, {1, 0}, {.next = 10, .min = 8}, LogPosition{7});
  kv_.Write(batch);

  EXPECT_THAT(index_.Read({1, 0}, 0, 10, 100).value(), ::testing::ElementsAre(EntryAt(8), EntryAt(9)));
  EXPECT_EQ(index_.ReadCounters({1, 0}).value()->counters, (QueueCounters{.next = 10, .min = 8}));

  batch.Clear();
  QueueIndex::Remove(batch, {1, 0});
  kv_.Write(batch);

  EXPECT_THAT(index_.Read({1, 0}, 0, 10, 100).value(), IsEmpty());
  EXPECT_FALSE(index_.ReadCounters({1, 0}).value().has_value());
  EXPECT_EQ(index_.Read({1, 1}, 0, 10, 100).value().size(), 2u);
}

TEST_F(QueueIndexTest, AllCountersComeInTheOrderOfTheirQueues) {
  KvBatch batch;
  for (QueueId queue : {QueueId{300, 1}, QueueId{2, 0}, QueueId{300, 0}}) {
    QueueIndex::PutCounters(batch, queue, {.next = queue.topic_id, .min = 0}, LogPosition{5});
  }
  kv_.Write(batch);

  std::vector<QueueId> queues;
  const auto all = index_.ReadAllCounters().value();
  for (const auto& [queue, stored] : all) {
    queues.push_back(queue);
    EXPECT_EQ(stored.counters.next, queue.topic_id);
    EXPECT_EQ(stored.newest_record.value, 5);
  }
  EXPECT_EQ(queues, (std::vector<QueueId>{{2, 0}, {300, 0}, {300, 1}}));
}

}  // namespace
}  // namespace fulmar::index
