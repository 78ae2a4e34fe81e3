#include "services/index/keys.h"

#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"
#include "services/index/mem_kv.h"
#include "services/index/queue_index.h"

namespace fulmar::index {
namespace {

std::string Hex(std::string_view bytes) { return absl::BytesToHexString(bytes); }

TEST(KeysTest, AreTheBytesThatTheHeaderDraws) {
  const QueueId queue{.topic_id = 0x01020304, .queue = 5};
  EXPECT_EQ(Hex(QueueEntryKey(queue, 0x1122)), "71" "01020304" "00000005" "0000000000001122");
  EXPECT_EQ(Hex(QueueCountersKey(queue)), "63" "01020304" "00000005");
  EXPECT_EQ(TopicKey("a"), "ta");
  EXPECT_EQ(GroupKey("a"), "ga");
  EXPECT_EQ(Hex(HandleKeyKey(9)), "68" "00000009");
  EXPECT_EQ(Hex(ProgressKey("g", queue)), "70" "67" "00" "01020304" "00000005");
  EXPECT_EQ(ClaimKey("s"), "ks");
  EXPECT_EQ(Hex(DeletionKey(3)), "78" "0000000000000003");
  EXPECT_EQ(Hex(ShardProgressKey("s", "g", queue)), "50" "73" "00" "67" "00" "01020304" "00000005");
}

TEST(KeysTest, ValuesAreTheBytesThatTheHeaderDraws) {
  EXPECT_EQ(Hex(EncodeApplied({.index = {1}, .term = {2}, .position = {3}})),
            "0100000000000000" "0200000000000000" "0300000000000000");
  EXPECT_EQ(Hex(EncodeStored(LogPosition{4}, "x")), "0400000000000000" "78");
  EXPECT_EQ(Hex(EncodeCounters({.next = 5, .min = 2})), "0500000000000000" "0200000000000000");
  EXPECT_EQ(Hex(EncodeQueueEntry({.offset = 1, .position = {0x10}, .length = 0x20, .tag_hash = 0x30, .store_time_ms = 0x40})),
            "1000000000000000" "20000000" "30000000" "4000000000000000");
}

TEST(KeysTest, ByteOrderOfQueueKeysIsTheOrderOfTheirNumbers) {
  EXPECT_LT(QueueEntryKey({1, 0}, 255), QueueEntryKey({1, 0}, 256));
  EXPECT_LT(QueueEntryKey({1, 0}, INT64_MAX), QueueEntryKey({1, 1}, 0));
  EXPECT_LT(QueueEntryKey({255, 9}, 0), QueueEntryKey({256, 0}, 0));
}

TEST(KeysTest, ANameThatContinuesAnotherIsNotInItsPrefix) {
  const std::string prefix = ShardGroupProgressPrefix("s", "g");
  const std::string other = ShardProgressKey("s", "g2", {});
  EXPECT_FALSE(prefix <= other && other < PrefixEnd(prefix));
}

TEST(KeysTest, PrefixEndCarriesOverBytesOfAllOnes) {
  EXPECT_EQ(PrefixEnd("ab"), "ac");
  EXPECT_EQ(PrefixEnd("a\xff\xff"), "b");
  EXPECT_EQ(PrefixEnd("\xff"), "");
}

TEST(KeysTest, CutValuesAreDataLoss) {
  const std::string applied = EncodeApplied({.index = {1}, .term = {2}, .position = {3}});
  for (size_t size = 0; size < applied.size(); ++size) EXPECT_FALSE(DecodeApplied(applied.substr(0, size)).ok());
  EXPECT_FALSE(DecodeStored("1234567").ok());
  EXPECT_FALSE(DecodeCounters(EncodeCounters({.next = 1, .min = 2})).ok()) << "next below min";
  EXPECT_FALSE(DecodeQueueEntry(QueueEntryKey({}, 0), "short").ok());
  EXPECT_FALSE(DecodeQueueEntry("q", EncodeQueueEntry({})).ok());
}

TEST(IndexFormatTest, AnEmptyStoreIsStampedAndAnotherFormatIsRefused) {
  MemKv kv;
  EXPECT_TRUE(CheckIndexFormat(kv).ok());
  EXPECT_TRUE(CheckIndexFormat(kv).ok());

  KvBatch batch;
  batch.Put(kFormatKey, std::string("\x63\0\0\0", 4));
  kv.Write(batch);

  EXPECT_EQ(CheckIndexFormat(kv).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(AppliedTest, ReadsZeroFromAnEmptyOrDamagedStore) {
  MemKv kv;
  EXPECT_EQ(ReadApplied(kv).index.value, 0);
  KvBatch batch;
  batch.Put(kAppliedKey, "damaged");
  kv.Write(batch);
  EXPECT_EQ(ReadApplied(kv).index.value, 0);
}

TEST(AppliedTest, TheDurablePointFollowsFlushes) {
  MemKv kv;
  KvBatch batch;
  PutApplied(batch, {.index = {5}, .term = {1}, .position = {100}});
  kv.Write(batch);
  EXPECT_EQ(ReadApplied(kv).index.value, 5);
  EXPECT_EQ(ReadDurableApplied(kv).index.value, 0);

  ASSERT_TRUE(kv.Flush().ok());

  EXPECT_EQ(ReadDurableApplied(kv).position.value, 100);
}

}  // namespace
}  // namespace fulmar::index
