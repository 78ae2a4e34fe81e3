#include "services/broker/dedup_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "services/broker/dedup.h"
#include "services/broker/message_record.h"
#include "services/common/sim/test_seed.h"
#include "services/index/mem_kv.h"

namespace fulmar::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

DedupKey Key(uint8_t n) {
  DedupKey key{};
  key[0] = n;
  key[15] = 0xff;
  return key;
}
DedupEntry Entry(uint8_t n, int64_t position, int64_t store_time_ms = 1000) {
  return {.topic_id = 7, .key = Key(n), .queue = 3, .offset = 10 + n, .store_time_ms = store_time_ms, .position = LogPosition{position}};
}

class DedupIndexTest : public testing::Test {
 protected:
  void Put(const DedupEntry& entry) {
    index::KvBatch batch;
    DedupIndex::Put(batch, entry);
    kv.Write(batch);
  }
  bool Expire(size_t slice, absl::FunctionRef<bool(const DedupEntry&)> is_over) {
    index::KvBatch batch;
    const bool some = dedup.Expire(slice, is_over, batch);
    kv.Write(batch);
    return some;
  }
  static bool All(const DedupEntry&) { return true; }
  index::MemKv kv;
  DedupIndex dedup{kv};
};

TEST_F(DedupIndexTest, WhatWasPutIsFoundUnderItsTopicAndKey) {
  Put(Entry(1, 100));
  EXPECT_EQ(dedup.Find(7, Key(1)), Entry(1, 100));
  EXPECT_EQ(dedup.Find(7, Key(2)), std::nullopt);
  EXPECT_EQ(dedup.Find(8, Key(1)), std::nullopt);
}

TEST_F(DedupIndexTest, EntriesBelowAPositionComeInTheOrderOfTheLogAndOnlyWhileTheyCount) {
  Put(Entry(3, 300));
  Put(Entry(1, 100));
  Put(Entry(2, 200));
  EXPECT_THAT(dedup.Below(LogPosition{300}, 10, All), ElementsAre(Entry(1, 100), Entry(2, 200)));
  EXPECT_THAT(dedup.Below(LogPosition{300}, 1, All), ElementsAre(Entry(1, 100)));
  Put(Entry(1, 400));  // said again at the head
  EXPECT_THAT(dedup.Below(LogPosition{300}, 10, All), ElementsAre(Entry(2, 200)));
}

TEST_F(DedupIndexTest, ExpiryGoesInSlicesAndLeavesNothingBehind) {
  for (uint8_t n = 0; n < 100; ++n) Put(Entry(n, 100 + n, n));
  Put(Entry(5, 500, 5));  // voids a row
  const auto old = [](const DedupEntry& entry) { return entry.store_time_ms < 50; };
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(Expire(7, old));
  for (uint8_t n = 0; n < 100; ++n) EXPECT_EQ(dedup.Find(7, Key(n)).has_value(), n >= 50) << int{n};
  while (Expire(7, All)) {
  }
  EXPECT_THAT(kv.Contents(), IsEmpty());
}

TEST(DedupEntriesTest, DecodeToWhatWasEncodedAndRefuseDamage) {
  const std::vector<DedupEntry> entries = {Entry(1, 9), Entry(2, 9, -5)};
  const std::string body = EncodeDedupEntries(entries);
  EXPECT_EQ(DecodeDedupEntries(body, LogPosition{9}).value(), entries);
  for (size_t size = 0; size < body.size(); ++size) EXPECT_FALSE(DecodeDedupEntries(body.substr(0, size), LogPosition{9}).ok()) << size;
  EXPECT_FALSE(DecodeDedupEntries(body + "x", LogPosition{9}).ok());
}

TEST(DedupKeyTest, EveryPartCountsAndNoTwoSplitsAreAlike) {
  const DedupKey key = MakeDedupKey("client", "id", "digest");
  EXPECT_EQ(key, MakeDedupKey("client", "id", "digest"));
  EXPECT_NE(key, MakeDedupKey("clienti", "d", "digest"));
  EXPECT_NE(key, MakeDedupKey("client2", "id", "digest"));
  EXPECT_NE(key, MakeDedupKey("client", "id2", "digest"));
  EXPECT_NE(key, MakeDedupKey("client", "id", "digest2"));
}

TEST(DedupKeyTest, TravelsInTheRecordAndIsNotCopiedToAnother) {
  MessageView view;
  view.message_id = "id";
  view.body = "body";
  std::string record = EncodeMessageRecord(view);
  AddDedupKey(record, "0123456789abcdef");
  const auto parsed = ParseMessageRecord(record);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->dedup_key, "0123456789abcdef");
  EXPECT_EQ(parsed->body, "body");
  EXPECT_EQ(ParseMessageRecord(EncodeMessageRecord(*parsed))->dedup_key, "");
  for (size_t cut = 1; cut <= 16; ++cut) EXPECT_FALSE(ParseMessageRecord(record.substr(0, record.size() - cut)).ok()) << cut;
}

}  // namespace
}  // namespace fulmar::broker
