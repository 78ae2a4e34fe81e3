#include "services/broker/client_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "services/broker/shard.h"

namespace fulmar::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(ClientTableTest, ASilentClientIsGoneAfter25Seconds) {
  ClientTable clients({});
  const uint64_t number = clients.Touch({.client_id = "a"}, 0);

  EXPECT_THAT(clients.TakeGone(24999), IsEmpty());
  EXPECT_THAT(clients.TakeGone(25000), ElementsAre(number));
  EXPECT_FALSE(clients.Alive(number));
}

TEST(ClientTableTest, AClientThatBeatsSlowlyHas90Seconds) {
  ClientTable clients({});
  const uint64_t number = clients.Touch({.client_id = "rust", .slow_heartbeat = true}, 0);

  EXPECT_THAT(clients.TakeGone(89999), IsEmpty());
  EXPECT_THAT(clients.TakeGone(90000), ElementsAre(number));
}

TEST(ClientTableTest, AnOpenStreamKeepsAClientFor90SecondsWithoutACall) {
  ClientTable clients({});
  clients.Stream({.client_id = "a"}, +1, 0);

  EXPECT_THAT(clients.TakeGone(60000), IsEmpty());
  EXPECT_THAT(clients.TakeGone(90000), ElementsAre(1u));
}

TEST(ClientTableTest, TheEndOfAStreamAloneMeansNothing) {
  ClientTable clients({});
  const uint64_t number = clients.Touch({.client_id = "a"}, 0);
  clients.Stream({.client_id = "a"}, +1, 0);
  clients.Stream({.client_id = "a"}, -1, 20000);

  EXPECT_THAT(clients.TakeGone(44999), IsEmpty());
  EXPECT_TRUE(clients.Alive(number));
  EXPECT_THAT(clients.TakeGone(45000), ElementsAre(number));
}

TEST(ClientTableTest, AClientThatReturnsIsAnotherOne) {
  ClientTable clients({});
  const uint64_t first = clients.Touch({.client_id = "a"}, 0);
  EXPECT_EQ(clients.Remove("a"), first);
  EXPECT_EQ(clients.Remove("a"), 0u);
  const uint64_t second = clients.Touch({.client_id = "a"}, 1);

  EXPECT_NE(first, second);
  EXPECT_FALSE(clients.Alive(first));
}

TEST(ClientTableTest, AStreamThatEndsAfterTheGoodByeDoesNotBringTheClientBack) {
  ClientTable clients({});
  clients.Stream({.client_id = "a"}, +1, 0);
  clients.Remove("a");
  clients.Stream({.client_id = "a"}, -1, 1);

  EXPECT_EQ(clients.size(), 0);
}

// Goal: names that a hostile client invents cost bounded memory.
TEST(ClientTableTest, AClientIsAMemberOfABoundedNumberOfGroups) {
  ClientTable clients({});
  const uint64_t number = clients.Touch({.client_id = "a"}, 0);
  for (int i = 0; i < 10000; ++i) clients.JoinGroup(number, std::to_string(i));
  size_t groups = 0;
  for (int i = 0; i < 10000; ++i) groups += clients.MembersOf(std::to_string(i)).size();

  EXPECT_EQ(groups, ClientTable::kMaxGroupsOfClient);
  EXPECT_THAT(clients.MembersOf("9999"), ElementsAre("a")) << "the newest counts";
}

TEST(ClientTableTest, KnowsTheMembersOfAGroup) {
  ClientTable clients({});
  clients.JoinGroup(clients.Touch({.client_id = "b"}, 0), "g");
  clients.JoinGroup(clients.Touch({.client_id = "a"}, 0), "g");
  clients.JoinGroup(clients.Touch({.client_id = "c"}, 0), "h");

  EXPECT_THAT(clients.MembersOf("g"), testing::UnorderedElementsAre("a", "b"));
}

}  // namespace
}  // namespace fulmar::broker
