#include "services/broker/message_record.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fulmar::broker {
namespace {

MessageView Example() {
  return {.type = 1, .topic_id = 7, .queue = 3, .tag_hash = TagHash("t"), .offset = 41, .store_time_ms = 1'700'000'000'123,
          .born_time_ms = 1'700'000'000'001, .message_id = "01AB", .tag = "t", .system = "sys", .user = "usr", .body = "body",
          .origin_topic = "", .origin_id = ""};
}

TEST(MessageRecordTest, EveryFieldComesBack) {
  MessageView in = Example();
  in.origin_topic = "orders";
  in.origin_id = "01CD";
  const std::string record = EncodeMessageRecord(in);

  const absl::StatusOr<MessageView> out = ParseMessageRecord(record);

  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->type, in.type);
  EXPECT_EQ(out->topic_id, in.topic_id);
  EXPECT_EQ(out->queue, in.queue);
  EXPECT_EQ(out->tag_hash, in.tag_hash);
  EXPECT_EQ(out->offset, in.offset);
  EXPECT_EQ(out->store_time_ms, in.store_time_ms);
  EXPECT_EQ(out->born_time_ms, in.born_time_ms);
  EXPECT_EQ(out->message_id, in.message_id);
  EXPECT_EQ(out->tag, in.tag);
  EXPECT_EQ(out->system, in.system);
  EXPECT_EQ(out->user, in.user);
  EXPECT_EQ(out->body, in.body);
  EXPECT_EQ(out->origin_topic, in.origin_topic);
  EXPECT_EQ(out->origin_id, in.origin_id);
}

TEST(MessageRecordTest, PlacingChangesThePlaceAndNothingElse) {
  std::string record = EncodeMessageRecord(Example());

  PlaceMessage(record, 9, 2, 77, 1'800'000'000'000);

  const absl::StatusOr<MessageView> out = ParseMessageRecord(record);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->topic_id, 9u);
  EXPECT_EQ(out->queue, 2);
  EXPECT_EQ(out->offset, 77);
  EXPECT_EQ(out->store_time_ms, 1'800'000'000'000);
  EXPECT_EQ(out->born_time_ms, Example().born_time_ms);
  EXPECT_EQ(out->tag_hash, Example().tag_hash);
  EXPECT_EQ(out->body, "body");
}

// The bytes are on disk: a change of this test is a change of the format and needs a new version number.
TEST(MessageRecordTest, BytesAreAsDrawn) {
  const std::string record = EncodeMessageRecord(
      {.type = 1, .topic_id = 0x01020304, .queue = 5, .tag_hash = 6, .offset = 7, .store_time_ms = 8, .born_time_ms = 9, .message_id = "i",
       .tag = "t", .system = "s", .user = "u", .body = "b", .origin_topic = "o", .origin_id = "p"});

  const std::string expected(
      "\x01\x01\x00\x00" "\x04\x03\x02\x01" "\x05\x00\x00\x00" "\x06\x00\x00\x00"
      "\x07\x00\x00\x00\x00\x00\x00\x00" "\x08\x00\x00\x00\x00\x00\x00\x00" "\x09\x00\x00\x00\x00\x00\x00\x00"
      "\x01\x00\x00\x00" "\x01\x00\x00\x00" "\x01\x00\x00\x00" "\x01\x00\x00\x00" "\x01\x00\x00\x00" "\x01\x00\x00\x00" "\x01\x00\x00\x00"
      "itsubop", 75);
  EXPECT_EQ(record, expected);
}

TEST(MessageRecordTest, EveryTruncationIsDataLoss) {
  const std::string record = EncodeMessageRecord(Example());

  for (size_t size = 0; size < record.size(); ++size)
    EXPECT_EQ(ParseMessageRecord(std::string_view(record).substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  EXPECT_EQ(ParseMessageRecord(record + "x").status().code(), absl::StatusCode::kDataLoss);
}

TEST(MessageRecordTest, AnotherVersionIsDataLoss) {
  std::string record = EncodeMessageRecord(Example());

  record[0] = 2;

  EXPECT_EQ(ParseMessageRecord(record).status().code(), absl::StatusCode::kDataLoss);
}

TEST(TagHashTest, IsStableAndZeroOnlyForNoTag) {
  EXPECT_EQ(TagHash(""), 0u);
  EXPECT_EQ(TagHash("a"), 0xe40c292cu);  // published test value of FNV-1a
  EXPECT_EQ(TagHash("foobar"), 0xbf9cf968u);
}

}  // namespace
}  // namespace fulmar::broker
