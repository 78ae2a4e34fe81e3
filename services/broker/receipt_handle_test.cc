#include "services/broker/receipt_handle.h"

#include <gtest/gtest.h>

#include <string>

#include "services/common/errors.h"

namespace fulmar::broker {
namespace {

HandleKey TestKey(unsigned char fill = 7) {
  HandleKey key{.id = 1};
  key.secret.fill(fill);
  return key;
}

ReceiptHandle TestHandle() {
  return {.shard = "shard-a", .topic_id = 12, .queue = 3, .offset = 1234567890123, .attempt = 2, .term = Term{9}, .serial = 77};
}

TEST(ReceiptHandleTest, ComesBackAsItWas) {
  const std::string text = EncodeHandle(TestHandle(), TestKey(), "group", "topic");
  HandleBytes scratch;
  const auto handle = ParseHandle(text, scratch);

  ASSERT_TRUE(handle.ok()) << handle.status();
  EXPECT_EQ(handle->shard, "shard-a");
  EXPECT_EQ(handle->topic_id, 12u);
  EXPECT_EQ(handle->queue, 3);
  EXPECT_EQ(handle->offset, 1234567890123);
  EXPECT_EQ(handle->attempt, 2);
  EXPECT_EQ(handle->term.value, 9);
  EXPECT_EQ(handle->serial, 77u);
  EXPECT_EQ(KeyIdOfHandle(scratch), 1);
  EXPECT_TRUE(VerifyHandle(scratch, TestKey(), "group", "topic"));
  EXPECT_EQ(ShardOfHandle(text).value(), "shard-a");
}

TEST(ReceiptHandleTest, IsGoodForItsGroupTopicAndKeyOnly) {
  HandleBytes scratch;
  ASSERT_TRUE(ParseHandle(EncodeHandle(TestHandle(), TestKey(), "group", "topic"), scratch).ok());

  EXPECT_FALSE(VerifyHandle(scratch, TestKey(), "group2", "topic"));
  EXPECT_FALSE(VerifyHandle(scratch, TestKey(), "group", "topic2"));
  EXPECT_FALSE(VerifyHandle(scratch, TestKey(), "groupt", "opic"));  // the same bytes one after the other
  EXPECT_FALSE(VerifyHandle(scratch, TestKey(8), "group", "topic"));
}

TEST(ReceiptHandleTest, IsAnHttpSafeText) {
  const std::string text = EncodeHandle(TestHandle(), TestKey(0xff), "group", "topic");
  EXPECT_EQ(text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), std::string::npos);
}

// Every change of one character is refused: by its form, or by its tag.
TEST(ReceiptHandleTest, NoChangedCharacterPasses) {
  const std::string text = EncodeHandle(TestHandle(), TestKey(), "group", "topic");
  for (size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'A', 'b', '-', '_', '9', '=', ' ', '\0'}) {
      if (text[i] == c) continue;
      std::string changed = text;
      changed[i] = c;
      HandleBytes scratch;
      EXPECT_FALSE(ParseHandle(changed, scratch).ok() && VerifyHandle(scratch, TestKey(), "group", "topic")) << i << " " << c;
    }
  }
}

TEST(ReceiptHandleTest, WhateverIsNoHandleIsAnInvalidReceiptHandle) {
  const std::string good = EncodeHandle(TestHandle(), TestKey(), "group", "topic");
  for (const std::string& bad : {std::string(), std::string("x"), std::string("made up"), good.substr(0, good.size() - 1), good + "A",
                                 good + good, std::string(100000, 'A'), std::string(1000, '\xff')}) {
    HandleBytes scratch;
    const auto handle = ParseHandle(bad, scratch);
    ASSERT_FALSE(handle.ok()) << bad.size();
    EXPECT_EQ(V2CodeOf(handle.status()), 40013);
  }
}

TEST(ReceiptHandleTest, LongNamesAreCoveredToTheirEnd) {
  const std::string long_name(2000, 'n');
  HandleBytes scratch;
  ASSERT_TRUE(ParseHandle(EncodeHandle(TestHandle(), TestKey(), long_name, "topic"), scratch).ok());
  EXPECT_TRUE(VerifyHandle(scratch, TestKey(), long_name, "topic"));
  EXPECT_FALSE(VerifyHandle(scratch, TestKey(), long_name + "n", "topic"));
}

}  // namespace
}  // namespace fulmar::broker
