#include "services/broker/message_ttl.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"

namespace fulmar::broker {
namespace {

std::string Property(const std::string& key, const std::string& value) {
  const auto field = [](char tag, const std::string& bytes) {
    std::string length;
    for (size_t rest = bytes.size();; rest >>= 7) {
      if (rest < 0x80) {
        length.push_back(static_cast<char>(rest));
        break;
      }
      length.push_back(static_cast<char>((rest & 0x7f) | 0x80));
    }
    return absl::StrCat(std::string(1, tag), length, bytes);
  };
  return field('\x12', field('\x0a', key) + field('\x12', value));
}

TEST(MessageTtlTest, APropertyIsFoundAmongOthers) {
  const std::string user = Property("a", std::string(300, 'x')) + Property("b", "FULMAR_TTL_MS") + Property("FULMAR_TTL_MS", "12") + Property("c", "");
  EXPECT_EQ(FindUserProperty(user, "FULMAR_TTL_MS"), "12");
  EXPECT_EQ(FindUserProperty(user, "a"), std::string(300, 'x'));
  EXPECT_EQ(FindUserProperty(user, "c"), "");
  EXPECT_EQ(FindUserProperty(user, "d"), std::nullopt);
  EXPECT_EQ(FindUserProperty(Property("b", "FULMAR_TTL_MS"), "FULMAR_TTL_MS"), std::nullopt);
  EXPECT_EQ(FindUserProperty("", "a"), std::nullopt);
}

TEST(MessageTtlTest, DamagedPropertiesAreReadNoFurtherThanTheyGo) {
  const std::string user = Property("FULMAR_TTL_MS", "1200");
  for (size_t size = 0; size < user.size(); ++size) FindUserProperty(user.substr(0, size), "FULMAR_TTL_MS");
  for (size_t at = 0; at < user.size(); ++at) {
    std::string damaged = user;
    damaged[at] = '\xff';
    FindUserProperty(damaged, "FULMAR_TTL_MS");
  }
}

TEST(MessageTtlTest, OnlyWholeNumbersOfMillisecondsAreTaken) {
  for (const char* good : {"1", "60000", "316224000000"}) EXPECT_TRUE(CheckTtlProperty(good).ok()) << good;
  for (const char* bad : {"", "0", "-1", "+5", "1.5", "10s", " 1", "316224000001", "9223372036854775808", "x"}) {
    EXPECT_EQ(V2CodeOf(CheckTtlProperty(bad)), 40007) << bad;
  }
}

TEST(MessageTtlTest, AMessageExpiresWhenItsTimeIsOverAndNotBefore) {
  const std::string user = Property("FULMAR_TTL_MS", "100");
  MessageView message;
  message.user = user;
  EXPECT_FALSE(ExpiredByItself(message, 1000, 1099));
  EXPECT_TRUE(ExpiredByItself(message, 1000, 1100));
  message.user = {};
  EXPECT_FALSE(ExpiredByItself(message, 1000, 1'000'000'000));
}

TEST(MessageTtlTest, ATopicWithoutATtlExpiresNothing) {
  index::TopicDefinition topic;
  EXPECT_FALSE(ExpiredByTopic(topic, 0, INT64_MAX));
  topic.message_ttl = absl::Milliseconds(100);
  EXPECT_FALSE(ExpiredByTopic(topic, 1000, 1099));
  EXPECT_TRUE(ExpiredByTopic(topic, 1000, 1100));
}

}  // namespace
}  // namespace fulmar::broker
