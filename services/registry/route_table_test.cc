#include "services/registry/route_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fulmar::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;

class HandClock : public common::Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + steady_; }
  absl::Duration Steady() const override { return steady_; }
  void Advance(absl::Duration by) { steady_ += by; }

 private:
  absl::Duration steady_;
};

Announcement From(const std::string& shard, uint64_t replica, uint64_t term, int port) {
  Announcement announcement;
  announcement.shard = shard;
  announcement.replica = replica;
  announcement.term = term;
  announcement.leader = announcement.serving = announcement.full = true;
  announcement.endpoint = Endpoint{AddressScheme::kIpv4, "127.0.0.1", port};
  announcement.lease = absl::Seconds(10);
  return announcement;
}

index::TopicDefinition Topic(const std::string& name, uint64_t version) {
  index::TopicDefinition topic;
  topic.name = name;
  topic.version = version;
  return topic;
}

class RouteTableTest : public testing::Test {
 protected:
  HandClock clock_;
  RouteTable table_{clock_};
};

TEST_F(RouteTableTest, NamesALeaderWhileItsLeaseHoldsAndNoLonger) {
  table_.Announce(From("s1", 1, 5, 1000));

  clock_.Advance(absl::Seconds(9));
  EXPECT_TRUE(table_.LeaderOf("s1").has_value());
  clock_.Advance(absl::Seconds(1));

  EXPECT_FALSE(table_.LeaderOf("s1").has_value());
  EXPECT_THAT(table_.Brokers(), IsEmpty());
}

TEST_F(RouteTableTest, HigherTermWinsWhicheverAnnouncesLast) {
  table_.Announce(From("s1", 1, 7, 1001));
  table_.Announce(From("s1", 2, 6, 1002));

  ASSERT_TRUE(table_.LeaderOf("s1").has_value());
  EXPECT_EQ(table_.LeaderOf("s1")->replica, 1u);

  table_.Announce(From("s1", 2, 8, 1002));
  EXPECT_EQ(table_.LeaderOf("s1")->replica, 2u);
}

TEST_F(RouteTableTest, AReplicaThatDoesNotServeIsNotNamed) {
  Announcement announcement = From("s1", 1, 5, 1000);
  announcement.serving = false;

  table_.Announce(announcement);

  EXPECT_FALSE(table_.LeaderOf("s1").has_value());
  EXPECT_EQ(table_.Brokers().size(), 1u);
}

TEST_F(RouteTableTest, LeadersComeInTheOrderOfTheDefinition) {
  table_.Announce(From("a", 1, 1, 1));
  table_.Announce(From("b", 1, 1, 2));
  table_.Announce(From("c", 1, 1, 3));

  EXPECT_THAT(table_.Leaders({"c", "missing", "a"}),
              ElementsAre(Field(&BrokerView::shard, "c"), Field(&BrokerView::shard, "a")));
  EXPECT_EQ(table_.Leaders({}).size(), 3u);
}

TEST_F(RouteTableTest, NewestDefinitionWinsAndForgettingNeedsANewerVersion) {
  table_.Learn(Topic("t", 5));
  table_.Learn(Topic("t", 4));
  EXPECT_EQ(table_.FindTopic("t")->version, 5u);

  table_.Forget("t", 4);
  EXPECT_TRUE(table_.FindTopic("t").has_value());
  table_.Forget("t", 6);
  EXPECT_FALSE(table_.FindTopic("t").has_value());
}

TEST_F(RouteTableTest, GoodByeRemovesAtOnce) {
  table_.Announce(From("s1", 1, 5, 1000));

  table_.Withdraw("s1", 1);

  EXPECT_THAT(table_.Leaders({}), IsEmpty());
}

TEST(EndpointTest, ParsesEveryKindOfHost) {
  EXPECT_EQ(ParseEndpoint("127.0.0.1:80")->scheme, AddressScheme::kIpv4);
  EXPECT_EQ(ParseEndpoint("[::1]:80")->scheme, AddressScheme::kIpv6);
  EXPECT_EQ(ParseEndpoint("[::1]:80")->host, "::1");
  EXPECT_EQ(ParseEndpoint("broker-0.fulmar:8081")->scheme, AddressScheme::kDomainName);
  EXPECT_EQ(ToString(*ParseEndpoint("[::1]:80")), "[::1]:80");
}

TEST(EndpointTest, RefusesWhatHasNoHostOrNoPort) {
  for (const char* bad : {"", "host", ":80", "host:", "host:0", "host:65536", "host:x", "::1:80", "host:-1"}) {
    EXPECT_FALSE(ParseEndpoint(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace fulmar::registry
