#include "services/fulmar/nodes.h"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fulmar {
namespace {

constexpr absl::Duration kSoon = absl::Seconds(20);  // never waited for unless something hangs

class NodesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "fulmar-nodes-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    options_.server.data = pattern;
    absl::StatusOr<std::unique_ptr<OffsetNode>> offset = OffsetNode::Open(options_, machine_);
    ASSERT_TRUE(offset.ok()) << offset.status();
    offset_ = *std::move(offset);
    absl::StatusOr<std::unique_ptr<BrokerNode>> broker = BrokerNode::Open(options_, machine_, offset_->core(), offset_->core());
    ASSERT_TRUE(broker.ok()) << broker.status();
    broker_ = *std::move(broker);
    offset_->Start();
    broker_->Start();
  }

  void TearDown() override {
    broker_.reset();
    offset_.reset();
    std::filesystem::remove_all(options_.server.data);
  }

  // The status that `call` is answered with.
  template <class T, class Call>
  absl::Status Answer(Call call) {
    auto shared = std::make_shared<std::pair<absl::Notification, absl::Status>>();  // outlives us when the answer never comes
    call([shared](absl::StatusOr<T> result) {
      shared->second = result.status();
      shared->first.Notify();
    });
    if (!shared->first.WaitForNotificationWithTimeout(kSoon)) return absl::DeadlineExceededError("no answer");
    return shared->second;
  }

  Machine machine_;
  ProcessOptions options_;
  std::unique_ptr<OffsetNode> offset_;
  std::unique_ptr<BrokerNode> broker_;
};

TEST_F(NodesTest, AStoppedBrokerStillAnswersWhoeverCallsUntilItsServerIsShutDown) {
  const absl::Status before = Answer<index::GroupDefinition>([&](auto done) { broker_->shard().ResolveGroup("g", std::move(done)); });
  ASSERT_TRUE(before.ok()) << before;
  broker_->Stop();
  EXPECT_TRUE(absl::IsUnavailable(Answer<std::vector<broker::SendOutcome>>([&](auto done) {
    broker_->shard().Send({.topic = "t", .messages = {}}, std::move(done));
  })));
  EXPECT_TRUE(absl::IsUnavailable(Answer<std::vector<broker::Delivered>>([&](auto done) {
    broker_->shard().Receive({.topic = "t", .group = "g", .wait = absl::Seconds(600)}, std::move(done));
  })));
  // What has no answer: the ends of telemetry streams that clients had open.
  broker_->shard().ClientStream({.client_id = "c"}, -1);
  broker_->shard().ClientTerminated("c", "g");
  broker_->Stop();  // twice is fine
}

TEST_F(NodesTest, AStoppedOffsetServiceStillAnswers) {
  broker_->Stop();
  offset_->Stop();
  EXPECT_TRUE(absl::IsUnavailable(Answer<index::TopicDefinition>([&](auto done) { offset_->core().GetTopic("t", std::move(done)); })));
  EXPECT_TRUE(absl::IsUnavailable(Answer<std::vector<index::TopicDefinition>>([&](auto done) { offset_->core().ListTopics(std::move(done)); })));
}

}  // namespace
}  // namespace fulmar
