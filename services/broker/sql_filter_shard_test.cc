// SQL filters through a whole shard: what does not match is done for the group, whether its body was in memory or on disk, and stays done.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/broker/shard_world.h"
#include "services/broker/sql_filter_testing.h"
#include "services/common/errors.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class SqlFilterShardTest : public testing::Test {
 protected:
  void SetUp() override { world.Start(); }

  void Send(const std::string& body, const std::vector<std::pair<std::string, std::string>>& properties, const std::string& tag = "") {
    SendCommand command = ShardWorld::MakeSend("t", {body}, tag);
    const std::string user = WireProperties(properties), id = absl::StrCat("id-", body);
    MessageView view{.type = 1, .tag_hash = TagHash(tag), .message_id = id, .tag = tag, .user = user, .body = body};
    command.messages[0].record = EncodeMessageRecord(view);
    std::optional<absl::StatusOr<std::vector<SendOutcome>>> answer;
    world.shard->Send(std::move(command), [&](absl::StatusOr<std::vector<SendOutcome>> result) { answer = std::move(result); });
    ASSERT_TRUE(world.Await(answer).ok());
  }
  static ReceiveCommand Sql(const std::string& expression) {
    ReceiveCommand command;
    command.filter = Filter::Parse(FilterKind::kSql, expression).value();
    return command;
  }
  // Everything that matches and comes now, acknowledged.
  std::vector<std::string> TakeAll(const std::string& group, const std::string& expression) {
    std::vector<std::string> bodies;
    for (;;) {
      const auto received = world.Receive("t", group, Sql(expression));
      if (!received.ok()) return bodies;
      for (const Delivered& message : *received) {
        bodies.push_back(ShardWorld::Body(message));
        EXPECT_TRUE(world.Ack("t", group, message.receipt_handle).ok());
      }
    }
  }
  int64_t Lag(const std::string& group) {
    int64_t lag = 0;
    const GroupState state = world.Group(group).value();
    for (const auto& queue : state.queues) lag += queue.lag;
    return lag;
  }

  ::testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("FULMAR_SEED=", sim::TestSeed())};
  ShardWorld world{sim::TestSeed()};
};

TEST_F(SqlFilterShardTest, WhatDoesNotMatchIsDoneForTheGroup) {
  Send("small", {{"amount", "5"}});
  Send("large", {{"amount", "500"}});
  Send("unknown", {{"amount", "many"}});
  Send("without", {});

  EXPECT_THAT(TakeAll("g", "amount > 100"), ElementsAre("large"));
  EXPECT_EQ(Lag("g"), 0);
  EXPECT_THAT(TakeAll("other", "amount IS NULL"), ElementsAre("without"));
}

TEST_F(SqlFilterShardTest, TagsAndPropertiesTogether) {
  Send("a", {{"vip", "true"}}, "gold");
  Send("b", {{"vip", "false"}}, "gold");
  Send("c", {{"vip", "true"}}, "silver");
  Send("d", {{"vip", "true"}});
  EXPECT_THAT(TakeAll("g", "TAGS IN ('gold', 'iron') AND vip = TRUE"), ElementsAre("a"));
  EXPECT_THAT(TakeAll("g2", "TAGS IS NULL OR NOT (TAGS = 'gold')"), UnorderedElementsAre("c", "d"));
}

// After a restart nothing is in memory: bodies come from the disk, and the test of the expression follows their reading.
TEST_F(SqlFilterShardTest, AfterARestartFilteredMessagesStayDoneAndColdOnesAreFiltered) {
  for (int i = 0; i < 100; ++i) Send(absl::StrCat("first ", i), {{"n", absl::StrCat(i)}});
  EXPECT_EQ(TakeAll("g", "n >= 50").size(), 50u);
  world.scheduler.RunFor(absl::Seconds(1));  // the progress is kept
  world.Kill();
  world.Start();

  EXPECT_EQ(Lag("g"), 0);
  EXPECT_THAT(TakeAll("g", "n >= 0"), IsEmpty());
  EXPECT_EQ(TakeAll("cold", "n < 10").size(), 10u);
  EXPECT_EQ(Lag("cold"), 0);
  Send("second", {{"n", "50"}});
  EXPECT_THAT(TakeAll("g", "n = 50"), ElementsAre("second"));
}

TEST_F(SqlFilterShardTest, AParkedReceiveWakesForWhatMatchesOnly) {
  Send("before", {{"n", "0"}});
  ReceiveCommand command = Sql("n = 1");
  command.wait = absl::Seconds(20);
  std::optional<absl::StatusOr<std::vector<Delivered>>> answer;
  world.shard->Receive(world.MakeReceive("t", "g", command), [&](absl::StatusOr<std::vector<Delivered>> result) { answer = std::move(result); });
  Send("not this", {{"n", "2"}});
  world.scheduler.RunFor(absl::Seconds(1));
  EXPECT_FALSE(answer.has_value());
  Send("this", {{"n", "1"}});
  world.scheduler.RunFor(absl::Seconds(1));
  ASSERT_TRUE(answer.has_value() && answer->ok());
  EXPECT_EQ(ShardWorld::Body(answer->value().front()), "this");
}

TEST_F(SqlFilterShardTest, APullPassesOverWhatDoesNotMatch) {
  for (int i = 0; i < 300; ++i) Send(absl::StrCat(i), {{"n", absl::StrCat(i % 100)}});
  std::vector<std::string> bodies;
  for (int32_t queue = 0; queue < 8; ++queue) {
    for (int64_t at = 0;;) {
      PullCommand command{.client = {.client_id = "c"}, .topic = "t", .group = "g", .queue = queue, .offset = at, .filter = Sql("n = 7").filter};
      std::optional<absl::StatusOr<PullOutcome>> answer;
      world.shard->Pull(std::move(command), [&](absl::StatusOr<PullOutcome> result) { answer = std::move(result); });
      const auto outcome = world.Await(answer);
      if (!outcome.ok()) break;  // no such queue
      for (const Delivered& message : outcome->messages) bodies.push_back(ShardWorld::Body(message));
      if (outcome->next_offset == at) break;
      at = outcome->next_offset;
    }
  }
  EXPECT_THAT(bodies, UnorderedElementsAre("7", "107", "207"));
}

}  // namespace
}  // namespace fulmar::broker
