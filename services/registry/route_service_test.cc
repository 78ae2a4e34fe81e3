#include "services/registry/route_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "services/common/errors.h"

namespace fulmar::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;

class HandClock : public common::Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch() + steady; }
  absl::Duration Steady() const override { return steady; }
  absl::Duration steady;
};

// An authority that lives in memory and counts what it is asked.
class FakeDefinitions : public index::DefinitionStore {
 public:
  void EnsureTopic(index::TopicDefinition topic, index::Done<index::TopicDefinition> done) override {
    ++asked;
    if (away) return std::move(done)(absl::UnavailableError("away"));
    auto [it, made] = topics.try_emplace(topic.name, topic);
    if (made) it->second.version = ++version;
    std::move(done)(it->second);
  }
  void UpdateTopic(index::TopicDefinition, index::Done<index::TopicDefinition>) override {}
  void DeleteTopic(std::string, index::DoneStatus) override {}
  void GetTopic(std::string name, index::Done<index::TopicDefinition> done) override {
    ++asked;
    const auto it = topics.find(name);
    if (it == topics.end()) return std::move(done)(absl::NotFoundError(name));
    std::move(done)(it->second);
  }
  void ListTopics(index::Done<std::vector<index::TopicDefinition>>) override {}
  void EnsureGroup(index::GroupDefinition group, index::Done<index::GroupDefinition> done) override {
    if (away) return std::move(done)(absl::UnavailableError("away"));
    std::move(done)(groups.try_emplace(group.name, group).first->second);
  }
  void UpdateGroup(index::GroupDefinition, index::Done<index::GroupDefinition>) override {}
  void DeleteGroup(std::string, index::DoneStatus) override {}
  void GetGroup(std::string name, index::Done<index::GroupDefinition> done) override {
    const auto it = groups.find(name);
    if (it == groups.end()) return std::move(done)(absl::NotFoundError(name));
    std::move(done)(it->second);
  }
  void ListGroups(index::Done<std::vector<index::GroupDefinition>>) override {}
  std::unique_ptr<Watch> WatchDefinitions(uint64_t, absl::AnyInvocable<void(index::DefinitionEvent)>) override { return nullptr; }

  std::map<std::string, index::TopicDefinition> topics;
  std::map<std::string, index::GroupDefinition> groups;
  uint64_t version = 0;
  int asked = 0;
  bool away = false;
};

class RouteServiceTest : public testing::Test {
 protected:
  void SetUp() override { AnnounceShard("s1", 7001); }
  void AnnounceShard(const std::string& shard, int port) {
    Announcement announcement;
    announcement.shard = shard;
    announcement.term = 1;
    announcement.leader = announcement.serving = true;
    announcement.endpoint = Endpoint{AddressScheme::kIpv4, "10.0.0.1", port};
    table_.Announce(announcement);
  }
  absl::StatusOr<Route> QueryRoute(const std::string& topic, std::vector<Endpoint> requested = {}) {
    absl::StatusOr<Route> answer;
    service_->QueryRoute({topic, std::move(requested)}, [&](absl::StatusOr<Route> route) { answer = std::move(route); });
    return answer;
  }
  absl::StatusOr<Assignment> QueryAssignment(const std::string& topic, const std::string& group) {
    absl::StatusOr<Assignment> answer;
    service_->QueryAssignment({topic, group, {}}, [&](absl::StatusOr<Assignment> a) { answer = std::move(a); });
    return answer;
  }
  void Use(RouteServiceOptions options) { service_ = std::make_unique<RouteService>(options, table_, definitions_); }

  HandClock clock_;
  RouteTable table_{clock_};
  FakeDefinitions definitions_;
  std::unique_ptr<RouteService> service_ = std::make_unique<RouteService>(RouteServiceOptions{}, table_, definitions_);
};

TEST_F(RouteServiceTest, UnknownTopicIsMadeOnceAndThenKnownWithoutAsking) {
  const absl::StatusOr<Route> first = QueryRoute("orders");
  const absl::StatusOr<Route> second = QueryRoute("orders");

  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_THAT(first->brokers, ElementsAre(Field(&RouteBroker::queues, 4)));
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(definitions_.asked, 1);
}

TEST_F(RouteServiceTest, WithoutAutomaticCreationAnUnknownTopicIsNotFound) {
  Use({.auto_create_topics = false});

  EXPECT_EQ(V2CodeOf(QueryRoute("orders").status()), 40402);
}

TEST_F(RouteServiceTest, IllegalNamesAreRefusedBeforeTheAuthorityIsAsked) {
  EXPECT_EQ(V2CodeOf(QueryRoute("no spaces").status()), 40002);
  EXPECT_EQ(V2CodeOf(QueryRoute("").status()), 40002);
  EXPECT_EQ(definitions_.asked, 0);
}

TEST_F(RouteServiceTest, DeadLetterTopicsAreFoundButNeverMadeByAQuestion) {
  EXPECT_EQ(V2CodeOf(QueryRoute("%DLQ%g").status()), 40402);
  definitions_.topics["%DLQ%g"].name = "%DLQ%g";

  EXPECT_TRUE(QueryRoute("%DLQ%g").ok());
}

TEST_F(RouteServiceTest, DirectRoutesNameTheBrokerAndGatewayRoutesRepeatTheQuestion) {
  const Endpoint asked{AddressScheme::kDomainName, "gate.example", 443};

  EXPECT_EQ(QueryRoute("t", {asked})->brokers[0].endpoint.port, 7001);
  Use({.mode = RouteMode::kGateway});
  EXPECT_EQ(QueryRoute("t", {asked})->brokers[0].endpoint, asked);
  EXPECT_EQ(QueryRoute("t", {})->brokers[0].endpoint.port, 7001);
}

TEST_F(RouteServiceTest, ATopicWhoseShardsAreAllAwayIsAnErrorThatNamesThem) {
  definitions_.topics["t"] = {.name = "t", .shards = {"s9"}};

  const absl::StatusOr<Route> route = QueryRoute("t");

  EXPECT_EQ(V2CodeOf(route.status()), 50002);
  EXPECT_THAT(std::string(route.status().message()), testing::HasSubstr("s9"));
}

TEST_F(RouteServiceTest, KnownTopicsAreServedWhileTheAuthorityIsAway) {
  table_.Learn({.name = "known", .version = 3});
  definitions_.away = true;

  EXPECT_TRUE(QueryRoute("known").ok());
  EXPECT_TRUE(QueryAssignment("known", "g").ok());
}

TEST_F(RouteServiceTest, ConcurrentGroupGetsEveryBrokerAndOrderedGroupEveryQueue) {
  AnnounceShard("s2", 7002);
  definitions_.groups["ordered"] = {.name = "ordered", .order = index::DeliveryOrder::kFifo};

  const absl::StatusOr<Assignment> concurrent = QueryAssignment("t", "g");
  const absl::StatusOr<Assignment> ordered = QueryAssignment("t", "ordered");

  ASSERT_TRUE(concurrent.ok()) << concurrent.status();
  EXPECT_THAT(concurrent->queues, ElementsAre(Field(&AssignedQueue::queue, -1), Field(&AssignedQueue::queue, -1)));
  ASSERT_TRUE(ordered.ok());
  EXPECT_EQ(ordered->queues.size(), 8u);
}

TEST_F(RouteServiceTest, UnknownGroupWithoutAutomaticCreationIsNotFound) {
  Use({.auto_create_groups = false});

  EXPECT_EQ(V2CodeOf(QueryAssignment("t", "g").status()), 40403);
  EXPECT_EQ(V2CodeOf(QueryAssignment("t", "bad name").status()), 40003);
}

}  // namespace
}  // namespace fulmar::registry
