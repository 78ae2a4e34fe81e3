#include "services/broker/quotas.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "services/common/errors.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

TEST(TokenBucketTest, ASecondsWorthIsThereAtOnceAndComesBackInASecond) {
  TokenBucket bucket;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(bucket.WaitMs(10, 1000), 0) << i;
    bucket.Take(1, 10, 1000);
  }
  EXPECT_GT(bucket.WaitMs(10, 1000), 0);
  EXPECT_EQ(bucket.WaitMs(10, 1101), 0);
  EXPECT_FALSE(bucket.Full(10, 1999));
  EXPECT_TRUE(bucket.Full(10, 2001));
}

TEST(TokenBucketTest, WhatIsBiggerThanASecondsWorthPassesAndIsPaidFor) {
  TokenBucket bucket;
  EXPECT_EQ(bucket.WaitMs(100, 0), 0);
  bucket.Take(1000, 100, 0);
  const int64_t wait = bucket.WaitMs(100, 0);
  EXPECT_EQ(wait, 9010);
  EXPECT_GT(bucket.WaitMs(100, wait - 1), 0);
  EXPECT_EQ(bucket.WaitMs(100, wait), 0);
}

TEST(TokenBucketTest, InTheLongRunTheRateHolds) {
  std::mt19937_64 chance(sim::TestSeed());
  TokenBucket bucket;
  int64_t now_ms = 5000;
  uint64_t taken = 0;
  for (int i = 0; i < 100000; ++i) {
    now_ms += static_cast<int64_t>(chance() % 3);
    if (bucket.WaitMs(700, now_ms) > 0) continue;
    const uint64_t cost = 1 + chance() % 20;
    bucket.Take(cost, 700, now_ms);
    taken += cost;
  }
  const double seconds = static_cast<double>(now_ms - 5000) / 1000;
  EXPECT_LE(static_cast<double>(taken), 700 * seconds + 700 + 20);
  EXPECT_GE(static_cast<double>(taken), 700 * seconds * 0.95);
}

class QuotasTest : public testing::Test {
 protected:
  index::TopicDefinition topic{.name = "t"}, other_topic{.name = "u"};
  index::GroupDefinition group{.name = "g"}, other_group{.name = "h"};
  ShardOptions options;
  Quotas quotas{options};
};

TEST_F(QuotasTest, WithoutQuotasEverythingPassesAndNothingIsKept) {
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(quotas.AdmitSend(topic, "c", 100, 1 << 20, 0).ok());
  quotas.Delivered(group, "c", 1000, 1 << 30, 0);
  EXPECT_TRUE(quotas.AdmitReceive(group, "c", 0).ok());
  EXPECT_EQ(quotas.size(), 0u);
}

TEST_F(QuotasTest, ATopicOverItsQuotaIsRefusedByNameAndOthersAreNot) {
  topic.quota.messages = 5;
  ASSERT_TRUE(quotas.AdmitSend(topic, "c", 5, 100, 0).ok());
  const absl::Status over = quotas.AdmitSend(topic, "c", 1, 100, 0);
  EXPECT_EQ(V2CodeOf(over), 42900);
  EXPECT_NE(over.message().find("topic 't'"), std::string::npos) << over;
  EXPECT_TRUE(quotas.AdmitSend(other_topic, "c", 1000, 100, 0).ok());
  EXPECT_TRUE(quotas.AdmitSend(topic, "c", 1, 100, 1000).ok());
}

TEST_F(QuotasTest, BytesCountLikeMessages) {
  topic.quota.bytes = 1000;
  ASSERT_TRUE(quotas.AdmitSend(topic, "c", 1, 3000, 0).ok());
  EXPECT_FALSE(quotas.AdmitSend(topic, "c", 1, 1, 1900).ok());
  EXPECT_TRUE(quotas.AdmitSend(topic, "c", 1, 1, 2100).ok());
}

TEST_F(QuotasTest, WhoIsRefusedForItsOwnQuotaUsesNothingOfTheTopics) {
  options.client_quota.messages = 1;
  topic.quota.messages = 3;
  ASSERT_TRUE(quotas.AdmitSend(topic, "greedy", 1, 1, 0).ok());
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(quotas.AdmitSend(topic, "greedy", 1, 1, 0).ok());
  EXPECT_TRUE(quotas.AdmitSend(topic, "modest", 1, 1, 0).ok());
}

TEST_F(QuotasTest, TheDefinitionGoesBeforeTheDefault) {
  options.group_quota.messages = 2;
  other_group.quota.messages = 100;
  quotas.Delivered(group, "c", 2, 1, 0);
  quotas.Delivered(other_group, "c", 2, 1, 0);
  EXPECT_EQ(V2CodeOf(quotas.AdmitReceive(group, "c", 0)), 42900);
  EXPECT_GT(quotas.DeliveryWaitMs(group, 0), 0);
  EXPECT_TRUE(quotas.AdmitReceive(other_group, "c", 0).ok());
  EXPECT_EQ(quotas.DeliveryWaitMs(other_group, 0), 0);
}

TEST_F(QuotasTest, SendsAndDeliveriesOfOneClientAreCountedApart) {
  options.client_quota.messages = 1;
  ASSERT_TRUE(quotas.AdmitSend(topic, "c", 1, 1, 0).ok());
  EXPECT_TRUE(quotas.AdmitReceive(group, "c", 0).ok());
  quotas.Delivered(group, "c", 1, 1, 0);
  EXPECT_FALSE(quotas.AdmitReceive(group, "c", 0).ok());
  EXPECT_TRUE(quotas.AdmitReceive(group, "d", 0).ok());
}

TEST_F(QuotasTest, WhatIsFullAgainIsForgotten) {
  options.client_quota.messages = 10;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(quotas.AdmitSend(topic, std::to_string(i), 1, 1, 0).ok());
  EXPECT_EQ(quotas.size(), 1000u);
  quotas.Sweep(50);
  EXPECT_EQ(quotas.size(), 1000u);
  quotas.Sweep(200);
  EXPECT_EQ(quotas.size(), 0u);
}

}  // namespace
}  // namespace fulmar::broker
