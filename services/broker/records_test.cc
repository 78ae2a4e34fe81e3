#include "services/broker/records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"

namespace fulmar::broker {
namespace {

TEST(RecordsTest, EachComesBackAsItWas) {
  const auto deleted = DecodeTopicDeleted(EncodeTopicDeleted({.topic_id = 3, .version = 9, .name = "t"}));
  ASSERT_TRUE(deleted.ok());
  EXPECT_EQ(deleted->topic_id, 3u);
  EXPECT_EQ(deleted->version, 9u);
  EXPECT_EQ(deleted->name, "t");

  const auto group = DecodeGroupDeleted(EncodeGroupDeleted({.version = 4, .name = "g"}));
  ASSERT_TRUE(group.ok());
  EXPECT_EQ(group->version, 4u);
  EXPECT_EQ(group->name, "g");

  HandleKey key{.id = 2};
  key.secret.fill(0xab);
  const auto same = DecodeHandleKey(EncodeHandleKey(key));
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->id, 2);
  EXPECT_EQ(same->secret, key.secret);

  const auto counters = DecodeCountersRecord(EncodeCountersRecord({{7, 1}, {.next = 100, .min = 40}}));
  ASSERT_TRUE(counters.ok());
  EXPECT_EQ(counters->queue, (index::QueueId{7, 1}));
  EXPECT_EQ(counters->counters, (index::QueueCounters{.next = 100, .min = 40}));

  const std::string batch = EncodeProgressBatch({"one", "", "three"});
  const auto entries = DecodeProgressBatch(batch);
  ASSERT_TRUE(entries.ok());
  EXPECT_THAT(*entries, testing::ElementsAre("one", "", "three"));

  index::TopicDefinition topic{.name = "topic", .topic_id = 5, .version = 6, .queues = 8};
  EXPECT_EQ(DecodeTopicCopy(EncodeTopicCopy(topic)).value(), topic);
}

// Records of old logs must be read for ever.
TEST(RecordsTest, BytesOnDiskAreTheseBytes) {
  EXPECT_EQ(absl::BytesToHexString(EncodeTopicDeleted({.topic_id = 3, .version = 9, .name = "ab"})), "010300000009000000000000000" "26162");
  EXPECT_EQ(absl::BytesToHexString(EncodeGroupDeleted({.version = 4, .name = "g"})), "0104000000000000000167");
  EXPECT_EQ(absl::BytesToHexString(EncodeCountersRecord({{7, 1}, {.next = 2, .min = 1}})),
            "01070000000100000002000000000000000100000000000000");
  EXPECT_EQ(absl::BytesToHexString(EncodeProgressBatch({"x"})), "01010178");
}

TEST(RecordsTest, CutOrUnknownBytesAreDataLoss) {
  const std::string good = EncodeCountersRecord({{7, 1}, {.next = 2, .min = 1}});
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeCountersRecord(good.substr(0, size)).status())) << size;
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeCountersRecord(good + "x").status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeCountersRecord("\x02" + good.substr(1)).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeTopicCopy("").status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeHandleKey("\x01short").status()));
}

}  // namespace
}  // namespace fulmar::broker
