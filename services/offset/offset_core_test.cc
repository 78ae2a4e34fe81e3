#include "services/offset/offset_core.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/errors.h"
#include "services/common/sim/test_seed.h"
#include "services/offset/offset_testing.h"

namespace fulmar::offset {
namespace {

using index::DefinitionEvent;
using index::GroupDefinition;
using index::QueueProgress;
using index::TopicDefinition;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

QueueProgress ProgressOf(std::string group, uint32_t topic_id, int64_t cursor, int32_t queue = 0) {
  return {.group = std::move(group), .topic_id = topic_id, .queue = queue, .cursor = cursor, .acked = {{cursor + 2, cursor + 3}}};
}

class OffsetCoreTest : public ::testing::Test {
 protected:
  OffsetCoreTest() : trace_(__FILE__, __LINE__, absl::StrCat("FULMAR_SEED=", sim::TestSeed())), node_(sim::TestSeed()) {
    FULMAR_CHECK(node_.Start().ok());
  }
  // One shard, claimed with term 1.
  void Claim() { ASSERT_TRUE(node_.Claim("s", 1).ok()); }
  uint32_t Topic(const std::string& name) { return node_.EnsureTopic(name).value().topic_id; }
  void Group(const std::string& name) { ASSERT_TRUE(node_.EnsureGroup(name).ok()); }

  testing::ScopedTrace trace_;
  OffsetNode node_;
};

// --- Definitions.

TEST_F(OffsetCoreTest, EnsureTopicMakesItOnceWithIdVersionTimeAndTheShardsThatAreKnown) {
  ASSERT_TRUE(node_.Claim("b", 1).ok());
  ASSERT_TRUE(node_.Claim("a", 1).ok());

  const TopicDefinition made = node_.EnsureTopic("orders", 3).value();
  const TopicDefinition again = node_.EnsureTopic("orders", 8).value();

  EXPECT_EQ(made.name, "orders");
  EXPECT_EQ(made.topic_id, 1u);
  EXPECT_EQ(made.version, 1u);
  EXPECT_EQ(made.queues, 3);
  EXPECT_EQ(made.shards, (std::vector<std::string>{"a", "b"}));
  EXPECT_GE(made.created, absl::FromUnixSeconds(1'000'000'000));
  EXPECT_EQ(again, made);
}

TEST_F(OffsetCoreTest, ATopicWithoutAnyKnownShardIsUnavailableForNow) {
  EXPECT_EQ(node_.EnsureTopic("orders").status().code(), absl::StatusCode::kUnavailable);
  Claim();
  EXPECT_TRUE(node_.EnsureTopic("orders").ok());
}

TEST_F(OffsetCoreTest, BadDefinitionsAreRefusedWithTheCodeOfTheProtocol) {
  Claim();
  EXPECT_EQ(V2CodeOf(node_.EnsureTopic("a b").status()), 40002);
  EXPECT_EQ(V2CodeOf(node_.EnsureTopic("t", 0).status()), 40000);
  EXPECT_EQ(V2CodeOf(node_.EnsureGroup("").status()), 40003);
  EXPECT_EQ(V2CodeOf(node_.GetTopic("none").status()), 40402);
  EXPECT_EQ(V2CodeOf(node_.DeleteTopic("none")), 40402);
  EXPECT_EQ(V2CodeOf(node_.DeleteGroup("none")), 40403);
  EXPECT_EQ(V2CodeOf(node_.UpdateTopic({.name = "none"}).status()), 40402);
  EXPECT_EQ(V2CodeOf(node_.UpdateGroup({.name = "none"}).status()), 40403);
}

TEST_F(OffsetCoreTest, UpdateTopicChangesSettingsButNeverIdTypeOrFewerQueues) {
  Claim();
  const TopicDefinition made = node_.EnsureTopic("t", 4).value();

  TopicDefinition wanted = made;
  wanted.queues = 8;
  wanted.durability = log::Durability::kAsync;
  wanted.shards.clear();
  wanted.topic_id = 99;
  const TopicDefinition updated = node_.UpdateTopic(wanted).value();

  EXPECT_EQ(updated.queues, 8);
  EXPECT_EQ(updated.durability, log::Durability::kAsync);
  EXPECT_EQ(updated.topic_id, made.topic_id);
  EXPECT_EQ(updated.created, made.created);
  EXPECT_EQ(updated.shards, made.shards);
  EXPECT_GT(updated.version, made.version);
  EXPECT_EQ(node_.UpdateTopic(wanted).value(), updated) << "no change, no new version";
  wanted.queues = 7;
  EXPECT_EQ(node_.UpdateTopic(wanted).status().code(), absl::StatusCode::kInvalidArgument);
  wanted.queues = 8;
  wanted.type = index::TopicType::kFifo;
  EXPECT_EQ(node_.UpdateTopic(wanted).status().code(), absl::StatusCode::kInvalidArgument);
  wanted.type = made.type;
  wanted.shards = {"other"};
  EXPECT_EQ(node_.UpdateTopic(wanted).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(OffsetCoreTest, TopicIdsAreNeverReusedNotEvenAfterDeletionAndRestart) {
  Claim();
  const uint32_t first = Topic("t");
  ASSERT_TRUE(node_.DeleteTopic("t").ok());
  EXPECT_EQ(V2CodeOf(node_.GetTopic("t").status()), 40402);

  node_.LosePower();
  ASSERT_TRUE(node_.Start().ok());

  EXPECT_GT(Topic("t"), first);
}

TEST_F(OffsetCoreTest, ManyChangesOfOneObjectInOneTurnTakePlaceInTheirOrder) {
  Claim();
  std::vector<std::string> order;
  const auto note = [&order](std::string what) {
    return [&order, what](auto result) { order.push_back(absl::StrCat(what, result.ok() ? "" : " failed")); };
  };
  node_.core().DeleteTopic("t", note("delete"));
  node_.core().EnsureTopic({.name = "t"}, note("ensure"));
  node_.core().EnsureTopic({.name = "u"}, note("other"));
  node_.core().DeleteTopic("t", note("delete"));
  node_.core().GetTopic("t", note("get"));
  node_.core().EnsureTopic({.name = "t"}, note("ensure"));
  node_.scheduler().RunFor(absl::Seconds(1));

  EXPECT_THAT(order, testing::UnorderedElementsAre("delete failed", "get failed", "ensure", "other", "delete", "ensure"));
  EXPECT_EQ(node_.GetTopic("t").value().topic_id, 3u);
}

TEST_F(OffsetCoreTest, AThousandTopicsMadeAtOnceShareSyncs) {
  Claim();
  const int64_t syncs = node_.files().Count(sim::FileOp::kSync);
  int made = 0;
  for (int i = 0; i < 1000; ++i) {
    node_.core().EnsureTopic({.name = absl::StrCat("t", i)}, [&made](auto topic) { made += topic.ok(); });
  }
  node_.scheduler().RunFor(absl::Seconds(1));

  EXPECT_EQ(made, 1000);
  EXPECT_LT(node_.files().Count(sim::FileOp::kSync) - syncs, 50);
}

// --- Progress.

TEST_F(OffsetCoreTest, AClaimGivesBackWhatWasWrittenForThatShard) {
  Claim();
  ASSERT_TRUE(node_.Claim("other", 1).ok());
  const uint32_t topic = Topic("t");
  Group("g");
  const QueueProgress progress = ProgressOf("g", topic, 10), newer = ProgressOf("g", topic, 20), second = ProgressOf("g", topic, 7, 1);
  ASSERT_TRUE(node_.Write("s", 1, {progress, second}).ok());
  ASSERT_TRUE(node_.Write("s", 1, {newer}).ok());
  ASSERT_TRUE(node_.Write("other", 1, {progress}).ok());

  EXPECT_THAT(node_.Claim("s", 2).value(), ElementsAre(newer, second));
  EXPECT_THAT(node_.Claim("other", 1).value(), ElementsAre(progress));
  EXPECT_THAT(node_.Claim("unheard", 1).value(), IsEmpty());
}

// Goal: however many queues one write brings, no record comes near the largest that the log takes. Method: small records, read back raw.
TEST_F(OffsetCoreTest, AWriteOfManyEntriesBecomesSmallRecords) {
  node_.Kill();
  node_.options().max_progress_record_bytes = 4096;
  node_.options().log.segment_bytes = 8 << 20;
  ASSERT_TRUE(node_.Start().ok());
  Claim();
  const uint32_t topic = Topic("t");
  Group("g");
  std::vector<QueueProgress> entries;
  for (int32_t queue = 0; queue < 20000; ++queue) entries.push_back(ProgressOf("g", topic, queue, queue));
  // The last word on one queue, far behind its first.
  entries.push_back(ProgressOf("g", topic, 7, 3));
  QueueProgress deleted = ProgressOf("g", topic, 1, 5);
  deleted.deleted = true;
  entries.push_back(deleted);

  ASSERT_TRUE(node_.Write("s", 1, entries).ok());

  const OffsetNode::Progress kept = node_.Claim("s", 2).value();
  EXPECT_THAT(kept, SizeIs(19999));
  EXPECT_EQ(kept[3].cursor, 7);
  EXPECT_EQ(node_.Status().writes, 1u);
  node_.Kill();
  size_t records = 0, largest = 0;
  ASSERT_TRUE(log::ScanLog(node_.files(), "/offset", [&](const log::AppliedEntry& entry) {
                for (const log::AppliedRecord& record : entry.records) {
                  records += record.type == log::RecordType::kProgress;
                  largest = std::max(largest, record.body.size());
                }
                return true;
              }).ok());
  EXPECT_GT(records, 100u);
  EXPECT_LE(largest, 5000u);
}

TEST_F(OffsetCoreTest, AnEntryMarkedDeletedIsForgotten) {
  Claim();
  const uint32_t topic = Topic("t");
  Group("g");
  ASSERT_TRUE(node_.Write("s", 1, {ProgressOf("g", topic, 1), ProgressOf("g", topic, 1, 1)}).ok());

  ASSERT_TRUE(node_.Write("s", 1, {{.group = "g", .topic_id = topic, .deleted = true}}).ok());

  EXPECT_THAT(node_.Claim("s", 1).value(), ElementsAre(ProgressOf("g", topic, 1, 1)));
}

TEST_F(OffsetCoreTest, AnOldTermIsFencedFromClaimsAndWrites) {
  ASSERT_TRUE(node_.Claim("s", 5).ok());
  const uint32_t topic = Topic("t");
  Group("g");

  EXPECT_EQ(node_.Claim("s", 4).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(node_.Write("s", 4, {ProgressOf("g", topic, 1)}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(node_.Write("s", 6, {ProgressOf("g", topic, 1)}).code(), absl::StatusCode::kFailedPrecondition) << "not claimed yet";
  EXPECT_EQ(node_.Write("unclaimed", 1, {ProgressOf("g", topic, 1)}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(node_.Claim("s", 5).ok()) << "the same leader may ask again";
  EXPECT_TRUE(node_.Claim("s", 6).ok());
  EXPECT_EQ(node_.Write("s", 5, {}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(node_.Claim("s", 6).value(), IsEmpty());
}

// Goal: a write of the old leader that comes while the new leader's claim is still on its way to the disk is refused, since
// it would come behind the claim in the log.
TEST_F(OffsetCoreTest, AClaimFencesFromTheMomentItIsAccepted) {
  ASSERT_TRUE(node_.Claim("s", 1).ok());
  const uint32_t topic = Topic("t");
  Group("g");
  auto before = OffsetNode::NewAnswer<absl::Status>(), after = OffsetNode::NewAnswer<absl::Status>();
  auto claim = OffsetNode::NewAnswer<absl::StatusOr<OffsetNode::Progress>>();

  node_.core().Write("s", Term{1}, {ProgressOf("g", topic, 1)}, OffsetNode::Into(before));
  node_.core().Claim("s", Term{2}, OffsetNode::Into(claim));
  node_.core().Write("s", Term{1}, {ProgressOf("g", topic, 2)}, OffsetNode::Into(after));

  EXPECT_TRUE(node_.Wait(before).ok());
  EXPECT_EQ(node_.Wait(after).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(node_.Wait(claim).value(), ElementsAre(ProgressOf("g", topic, 1))) << "the claim sees what was accepted before it";
}

TEST_F(OffsetCoreTest, ImpossibleProgressIsRefusedAndNothingOfItIsWritten) {
  Claim();
  const uint32_t topic = Topic("t");
  Group("g");
  QueueProgress bad = ProgressOf("g", topic, 1, 1);
  bad.acked[0].end = 0;

  EXPECT_EQ(node_.Write("s", 1, {ProgressOf("g", topic, 1), bad}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(node_.Claim("", 1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(node_.Claim(std::string("a\0b", 3), 1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(node_.Claim("s", 0).status().code(), absl::StatusCode::kInvalidArgument);

  EXPECT_THAT(node_.Claim("s", 1).value(), IsEmpty());
}

TEST_F(OffsetCoreTest, DeletingAGroupRemovesItsProgressAndNoOther) {
  Claim();
  const uint32_t topic = Topic("t");
  Group("g");
  Group("g2");
  ASSERT_TRUE(node_.Write("s", 1, {ProgressOf("g", topic, 1), ProgressOf("g2", topic, 1)}).ok());

  ASSERT_TRUE(node_.DeleteGroup("g").ok());

  EXPECT_THAT(node_.Claim("s", 1).value(), ElementsAre(ProgressOf("g2", topic, 1)));
  Group("g");
  EXPECT_THAT(node_.Claim("s", 1).value(), ElementsAre(ProgressOf("g2", topic, 1))) << "a new group begins anew";
}

TEST_F(OffsetCoreTest, DeletingATopicRemovesItsProgressAndNoOther) {
  Claim();
  const uint32_t topic = Topic("t"), other = Topic("u");
  Group("g");
  Group("h");
  ASSERT_TRUE(node_.Write("s", 1, {ProgressOf("g", topic, 1), ProgressOf("g", topic, 1, 3), ProgressOf("h", topic, 1),
                                   ProgressOf("g", other, 1), ProgressOf("h", other, 1)}).ok());

  ASSERT_TRUE(node_.DeleteTopic("t").ok());

  EXPECT_THAT(node_.Claim("s", 1).value(), ElementsAre(ProgressOf("g", other, 1), ProgressOf("h", other, 1)));
}

TEST_F(OffsetCoreTest, ProgressThatRacesTheDeletionOfItsGroupDoesNotOutliveIt) {
  Claim();
  const uint32_t topic = Topic("t");
  Group("g");
  auto deleted = OffsetNode::NewAnswer<absl::Status>(), written = OffsetNode::NewAnswer<absl::Status>();

  node_.core().DeleteGroup("g", OffsetNode::Into(deleted));
  node_.core().Write("s", Term{1}, {ProgressOf("g", topic, 5)}, OffsetNode::Into(written));

  EXPECT_TRUE(node_.Wait(deleted).ok());
  EXPECT_TRUE(node_.Wait(written).ok());
  EXPECT_EQ(node_.Status().dropped_entries, 1u);
  Group("g");
  EXPECT_THAT(node_.Claim("s", 1).value(), IsEmpty());
}

// --- Watches.

std::string Describe(const DefinitionEvent& event) {
  switch (event.kind) {
    case DefinitionEvent::kTopic: return absl::StrCat("topic ", event.topic.name, " v", event.topic.version);
    case DefinitionEvent::kTopicDeleted: return absl::StrCat("no topic ", event.topic.name, " ", event.topic.topic_id, " v", event.topic.version);
    case DefinitionEvent::kGroup: return absl::StrCat("group ", event.group.name, " v", event.group.version);
    case DefinitionEvent::kGroupDeleted: return absl::StrCat("no group ", event.group.name, " v", event.group.version);
  }
  return "?";
}

TEST_F(OffsetCoreTest, AWatchGivesWhatExistsThenEachChangeInOrder) {
  Claim();
  Topic("t");
  Group("g");
  Topic("gone");
  ASSERT_TRUE(node_.DeleteTopic("gone").ok());
  std::vector<std::string> events;

  auto watch = node_.core().WatchDefinitions(0, [&events](DefinitionEvent event) { events.push_back(Describe(event)); });
  EXPECT_THAT(events, IsEmpty()) << "not inside the call";
  Topic("u");
  ASSERT_TRUE(node_.DeleteGroup("g").ok());

  EXPECT_THAT(events, ElementsAre("topic t v1", "group g v2", "no topic gone 2 v4", "topic u v5", "no group g v6"));
}

TEST_F(OffsetCoreTest, AWatchThatComesBackLearnsOfDeletionsSinceItsVersion) {
  Claim();
  Topic("a");                                    // v1
  Topic("b");                                    // v2
  ASSERT_TRUE(node_.DeleteTopic("a").ok());      // v3
  ASSERT_TRUE(node_.DeleteTopic("b").ok());      // v4
  node_.LosePower();
  ASSERT_TRUE(node_.Start().ok());
  std::vector<std::string> events;

  auto watch = node_.core().WatchDefinitions(3, [&events](DefinitionEvent event) { events.push_back(Describe(event)); });
  node_.scheduler().RunFor(absl::Seconds(1));

  EXPECT_THAT(events, ElementsAre("no topic b 2 v4"));
}

TEST_F(OffsetCoreTest, ADestroyedWatchIsSilent) {
  Claim();
  int events = 0;
  auto watch = node_.core().WatchDefinitions(0, [&events](DefinitionEvent) { ++events; });
  Topic("t");
  EXPECT_EQ(events, 1);

  watch.reset();
  Topic("u");

  EXPECT_EQ(events, 1);
}

TEST_F(OffsetCoreTest, OnlyTheNewestDeletionsAreRemembered) {
  node_.StopAndClose();
  node_.options().max_deletions = 2;
  ASSERT_TRUE(node_.Start().ok());
  Claim();
  for (const char* name : {"a", "b", "c"}) {
    Topic(name);
    ASSERT_TRUE(node_.DeleteTopic(name).ok());
  }
  std::vector<std::string> events;

  auto watch = node_.core().WatchDefinitions(0, [&events](DefinitionEvent event) { events.push_back(Describe(event)); });
  node_.scheduler().RunFor(absl::Seconds(1));

  EXPECT_THAT(events, ElementsAre("no topic b 2 v4", "no topic c 3 v6"));
}

// --- Life.

TEST_F(OffsetCoreTest, RequestsThatComeBeforeItLeadsAreAnsweredWhenItDoes) {
  node_.StopAndClose();
  ASSERT_TRUE(node_.Start().ok());
  EXPECT_TRUE(node_.Claim("s", 1).ok());
}

TEST_F(OffsetCoreTest, AfterStopEverythingIsUnavailableAndAnswered) {
  Claim();
  auto write = OffsetNode::NewAnswer<absl::Status>();
  bool stopped = false, stopped_again = false;
  node_.core().Stop([&stopped] { stopped = true; });
  node_.core().Stop([&stopped_again] { stopped_again = true; });
  node_.core().Write("s", Term{1}, {}, OffsetNode::Into(write));

  EXPECT_EQ(node_.Wait(write).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(node_.scheduler().RunUntil([&] { return stopped && stopped_again; }, absl::Seconds(10)));
}

TEST_F(OffsetCoreTest, AFailedSyncMakesEveryAnswerDataLossAndTheServiceUnhealthy) {
  Claim();
  const uint32_t topic = Topic("t");
  Group("g");
  node_.files().FailNth(sim::FileOp::kSync, 1, "segments");

  EXPECT_EQ(node_.Write("s", 1, {ProgressOf("g", topic, 1)}).code(), absl::StatusCode::kDataLoss);

  EXPECT_EQ(node_.Write("s", 1, {ProgressOf("g", topic, 2)}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(node_.Claim("s", 9).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(node_.EnsureTopic("u").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(node_.Status().serving);
  EXPECT_EQ(node_.Status().health.code(), absl::StatusCode::kDataLoss);
}

TEST_F(OffsetCoreTest, AnIndexOfAnotherFormatIsRefusedAndAForgottenOneIsFilledAgain) {
  Claim();
  const uint32_t topic = Topic("t");
  Group("g");
  ASSERT_TRUE(node_.Write("s", 1, {ProgressOf("g", topic, 1)}).ok());
  node_.StopAndClose();
  const auto before = node_.IndexContents();
  index::KvBatch batch;
  batch.Put(index::kFormatKey, "?");
  node_.kv().Write(batch);

  EXPECT_EQ(node_.Start().code(), absl::StatusCode::kFailedPrecondition);
  node_.Kill();
  node_.ForgetIndex();
  ASSERT_TRUE(node_.Start().ok());

  EXPECT_THAT(node_.Claim("s", 1).value(), ElementsAre(ProgressOf("g", topic, 1)));
  node_.StopAndClose();
  EXPECT_EQ(node_.IndexContents().size(), before.size());
}

}  // namespace
}  // namespace fulmar::offset
