#include "services/broker/held_records.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/escaping.h"
#include "services/broker/recall_handle.h"

namespace fulmar::broker {
namespace {

std::string Hex(std::string_view bytes) { return absl::BytesToHexString(bytes); }

TEST(HeldRecordsTest, TheBytesAreThoseOfTheDrawing) {
  EXPECT_EQ(Hex(EncodeHeldMessage({.kind = HeldKind::kHalf, .released = true, .parked = true, .checks = 5, .id = 7, .due_ms = 9, .message = "m"})),
            "01" "02" "03" "00" "05000000" "0700000000000000" "0900000000000000" "6d");
  EXPECT_EQ(Hex(EncodeHeldReleased({.kind = HeldKind::kTimed, .topic_id = 1, .queue = 2, .tag_hash = 3, .message_bytes = 4, .id = 5, .offset = 6, .store_time_ms = 7})),
            "01" "01" "01000000" "02000000" "03000000" "04000000" "0500000000000000" "0600000000000000" "0700000000000000");
  EXPECT_EQ(Hex(EncodeHeldDropped({.kind = HeldKind::kTimed, .reason = DropReason::kRolledBack, .topic_id = 1, .id = 5})),
            "01" "01" "02" "01000000" "0500000000000000");
  EXPECT_EQ(Hex(EncodeHeldUpdated({.parked = true, .checks = 3, .id = 5, .due_ms = 6})), "01" "02" "03000000" "0500000000000000" "0600000000000000");
}

TEST(HeldRecordsTest, WhatWasWrittenIsReadAndNothingShorter) {
  const std::string message = EncodeHeldMessage({.kind = HeldKind::kTimed, .id = 0, .due_ms = 12345, .message = "body"});
  ASSERT_TRUE(DecodeHeldMessage(message).ok());
  EXPECT_EQ(DecodeHeldMessage(message)->message, "body");
  EXPECT_EQ(DecodeHeldMessage(message)->due_ms, 12345);
  for (size_t size = 0; size < kHeldHeaderBytes; ++size) EXPECT_FALSE(DecodeHeldMessage(message.substr(0, size)).ok());

  const std::string released = EncodeHeldReleased({.id = 1, .offset = 2});
  ASSERT_TRUE(DecodeHeldReleased(released).ok());
  const std::string dropped = EncodeHeldDropped({.id = 1});
  ASSERT_TRUE(DecodeHeldDropped(dropped).ok());
  const std::string updated = EncodeHeldUpdated({.id = 1});
  ASSERT_TRUE(DecodeHeldUpdated(updated).ok());
  for (size_t size = 0; size < released.size(); ++size) EXPECT_FALSE(DecodeHeldReleased(released.substr(0, size)).ok());
  for (size_t size = 0; size < dropped.size(); ++size) EXPECT_FALSE(DecodeHeldDropped(dropped.substr(0, size)).ok());
  for (size_t size = 0; size < updated.size(); ++size) EXPECT_FALSE(DecodeHeldUpdated(updated.substr(0, size)).ok());
  EXPECT_FALSE(DecodeHeldDropped(dropped + "x").ok());
}

TEST(RecallHandleTest, TellsWhatItWasMadeOfAndRefusesAnotherTopicAndKey) {
  HandleKey key;
  key.id = 3;
  key.secret[0] = 9;
  const std::string text = EncodeRecallHandle({.shard = "s", .kind = HeldKind::kHalf, .id = 77, .message_id = "01AB"}, key, "t");
  const auto parsed = ParseRecallHandle(text);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->handle.shard, "s");
  EXPECT_EQ(parsed->handle.kind, HeldKind::kHalf);
  EXPECT_EQ(parsed->handle.id, 77);
  EXPECT_EQ(parsed->handle.message_id, "01AB");
  EXPECT_EQ(parsed->key_id, 3);
  EXPECT_TRUE(VerifyRecallHandle(*parsed, key, "t"));
  EXPECT_FALSE(VerifyRecallHandle(*parsed, key, "u"));
  HandleKey other = key;
  other.secret[1] = 1;
  EXPECT_FALSE(VerifyRecallHandle(*parsed, other, "t"));
  for (size_t size = 0; size < text.size(); ++size) {
    const auto shorter = ParseRecallHandle(text.substr(0, size));
    EXPECT_FALSE(shorter && VerifyRecallHandle(*shorter, key, "t")) << size;
  }
}

}  // namespace
}  // namespace fulmar::broker
