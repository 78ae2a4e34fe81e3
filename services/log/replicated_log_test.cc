#include "services/log/replicated_log.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/sim/test_seed.h"
#include "services/log/log_test_node.h"

namespace fulmar::log {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ReplicatedLogTest : public ::testing::Test {
 protected:
  ReplicatedLogTest() { NewNode(SmallLog()); }

  void NewNode(LogOptions options) {
    node_.reset();
    node_ = std::make_unique<LogNode>(files_, scheduler_, random_, std::move(options));
  }
  // The process ends without a word and a new one starts.
  absl::Status Restart(AppliedPoint applied = {}) {
    const LogOptions options = node_->options();
    node_->Crash();
    files_.KillProcess();
    NewNode(options);
    return node_->OpenAndLead(applied);
  }

  ::testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("FULMAR_SEED=", sim::TestSeed())};
  sim::SimClock clock_;
  sim::SeededRandom random_{sim::TestSeed()};
  sim::SimScheduler scheduler_{clock_, &random_};
  sim::SimFiles files_{sim::TestSeed()};
  std::unique_ptr<LogNode> node_;
};

TEST_F(ReplicatedLogTest, ASingleVoterLeadsAtOnce) {
  ASSERT_TRUE(node_->Open().ok());
  EXPECT_TRUE(absl::IsUnavailable(node_->CanAppend(1)));

  ASSERT_TRUE(node_->OnShard([&] { node_->log().Start(); return true; }));
  const absl::Duration before = clock_.Steady();
  scheduler_.RunUntilIdle();

  EXPECT_THAT(node_->machine.terms_led, ElementsAre(Term{1}));
  EXPECT_EQ(clock_.Steady(), before);
  EXPECT_TRUE(node_->CanAppend(1).ok());
}

TEST_F(ReplicatedLogTest, ASyncRecordIsAppliedBeforeItsAnswerAndCanBeRead) {
  ASSERT_TRUE(node_->OpenAndLead().ok());

  const std::shared_ptr<Outcome> outcome = node_->Append("hello");
  scheduler_.RunUntilIdle();

  ASSERT_TRUE(outcome->result.has_value());
  ASSERT_TRUE(outcome->result->ok()) << outcome->result->status();
  EXPECT_EQ(outcome->applied_records, 1u);
  const RecordPlace place = **outcome->result;
  EXPECT_EQ(place.length, 5u);
  EXPECT_EQ(node_->machine.records.at(0).position, place.position);
  EXPECT_EQ(*node_->Read(place.position, 5), "hello");
}

TEST_F(ReplicatedLogTest, WhatWaitsTogetherBecomesOneEntryAndOneSync) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  const uint64_t syncs = node_->Stats().syncs;

  std::vector<std::shared_ptr<Outcome>> outcomes;
  for (int i = 0; i < 50; ++i) outcomes.push_back(node_->Append(BodyOf(i)));
  scheduler_.RunUntilIdle();

  EXPECT_EQ(node_->Stats().syncs, syncs + 1);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(outcomes[static_cast<size_t>(i)]->result->ok());
    EXPECT_EQ((*outcomes[static_cast<size_t>(i)]->result)->index, (*outcomes[0]->result)->index);
    EXPECT_EQ(node_->machine.records.at(static_cast<size_t>(i)).body, BodyOf(i));
  }
}

TEST_F(ReplicatedLogTest, RecordsComeBackInOrderAfterAKillAndTheTermGrows) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  std::vector<std::string> bodies;
  for (int i = 0; i < 600; ++i) {
    bodies.push_back(BodyOf(i, 20 + static_cast<size_t>(i) % 300));
    ASSERT_TRUE(node_->AppendAndWait(bodies.back()).ok()) << i;
  }
  ASSERT_GT(node_->Segments().size(), 5u);

  ASSERT_TRUE(Restart().ok());

  EXPECT_EQ(node_->machine.Bodies(), bodies);
  EXPECT_THAT(node_->machine.terms_led, ElementsAre(Term{2}));
  ASSERT_TRUE(node_->AppendAndWait("one more").ok());
  EXPECT_EQ(node_->machine.records.back().body, "one more");
}

TEST_F(ReplicatedLogTest, NothingButTheSegmentIsWrittenOrSyncedWhileTheTermLasts) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  scheduler_.RunUntilIdle();  // the spare is made
  const std::string state = files_.Contents("/log/raft.state");
  const int64_t writes = files_.Count(sim::FileOp::kWrite), syncs = files_.Count(sim::FileOp::kSync);

  for (int i = 0; i < 20; ++i) {  // two at a time, so that commits come together with new entries
    const std::shared_ptr<Outcome> first = node_->Append(BodyOf(i));
    scheduler_.RunOne();
    ASSERT_TRUE(node_->AppendAndWait(BodyOf(i)).ok());
  }

  EXPECT_EQ(files_.Contents("/log/raft.state"), state);
  EXPECT_LE(files_.Count(sim::FileOp::kWrite) - writes, 40);
  EXPECT_LE(files_.Count(sim::FileOp::kSync) - syncs, 40);
}

TEST_F(ReplicatedLogTest, AnAsyncRecordIsAnsweredAfterTheWriteAndAppliedOnlyWhenDurable) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  const uint64_t syncs = node_->Stats().syncs;

  std::vector<std::shared_ptr<Outcome>> outcomes;
  for (int i = 0; i < 10; ++i) {
    outcomes.push_back(node_->Append(BodyOf(i), Durability::kAsync));
    scheduler_.RunUntilIdle();
    ASSERT_TRUE(outcomes.back()->result.has_value());
    EXPECT_TRUE(outcomes.back()->result->ok());
  }
  EXPECT_THAT(node_->machine.records, IsEmpty());
  EXPECT_EQ(node_->Stats().syncs, syncs);

  scheduler_.RunFor(node_->options().async_flush_interval);

  EXPECT_EQ(node_->machine.records.size(), 10u);
  EXPECT_EQ(node_->Stats().syncs, syncs + 1);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(node_->machine.records[i].position, (*outcomes[i]->result)->position);
}

}  // namespace
}  // namespace fulmar::log
