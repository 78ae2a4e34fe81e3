#include "services/log/replicated_log.h"

#include <algorithm>
#include <functional>
#include <map>
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

TEST_F(ReplicatedLogTest, ASyncRecordTakesTheAsyncOnesBeforeItAlong) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  ASSERT_TRUE(node_->AppendAndWait("early", Durability::kAsync).ok());
  EXPECT_THAT(node_->machine.records, IsEmpty());

  ASSERT_TRUE(node_->AppendAndWait("durable").ok());

  EXPECT_THAT(node_->machine.Bodies(), ElementsAre("early", "durable"));
}

TEST_F(ReplicatedLogTest, AnAsyncRecordInASyncBatchIsAnsweredBeforeItIsApplied) {
  ASSERT_TRUE(node_->OpenAndLead().ok());

  const std::shared_ptr<Outcome> early = node_->Append("early", Durability::kAsync);
  const std::shared_ptr<Outcome> durable = node_->Append("durable");
  scheduler_.RunUntilIdle();

  ASSERT_TRUE(early->result.has_value() && early->result->ok());
  EXPECT_EQ(early->applied_records, 0u);
  EXPECT_EQ(durable->applied_records, 2u);
}

TEST_F(ReplicatedLogTest, AnswersComeInTheOrderOfTheAppends) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  std::vector<int> order;
  node_->OnShard([&] {
    for (int i = 0; i < 300; ++i)
      node_->log().Append(RecordType::kMessage, BodyOf(i, 500), Durability::kSync, AppendClass::kUser,
                          [&order, i](absl::StatusOr<RecordPlace> place) {
                            EXPECT_TRUE(place.ok());
                            order.push_back(i);
                          });
    return true;
  });
  scheduler_.RunFor(absl::Seconds(1));

  ASSERT_EQ(order.size(), 300u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(ReplicatedLogTest, AppendingFromAnAnswerWorks) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  int answered = 0;
  std::function<void()> again = [&] {
    node_->log().Append(RecordType::kMessage, "x", Durability::kSync, AppendClass::kUser,
                        [&](absl::StatusOr<RecordPlace> place) {
                          ASSERT_TRUE(place.ok());
                          if (++answered < 50) again();
                        });
  };
  node_->OnShard([&] { again(); return true; });
  scheduler_.RunUntilIdle();

  EXPECT_EQ(answered, 50);
}

TEST_F(ReplicatedLogTest, BatchesRespectTheirBoundAndALargeRecordIsAnEntryOfItsOwn) {
  LogOptions options = SmallLog();
  options.max_batch_bytes = 1000;
  NewNode(options);
  ASSERT_TRUE(node_->OpenAndLead().ok());

  std::vector<std::shared_ptr<Outcome>> outcomes;
  for (int i = 0; i < 10; ++i) outcomes.push_back(node_->Append(BodyOf(i, 300)));
  outcomes.push_back(node_->Append(BodyOf(10, 40'000)));  // larger than a segment, too
  outcomes.push_back(node_->Append(BodyOf(11, 300)));
  scheduler_.RunFor(absl::Seconds(1));

  std::map<int64_t, int> records_of_entry;
  for (const RecordingMachine::Record& record : node_->machine.records) ++records_of_entry[record.index.value];
  EXPECT_EQ(records_of_entry.size(), 6u);  // 3 + 3 + 3 + 1 + 1 + 1
  for (const auto& [index, records] : records_of_entry) EXPECT_LE(records, 3);
  ASSERT_TRUE(outcomes[10]->result.has_value() && outcomes[10]->result->ok());
  EXPECT_EQ(*node_->Read((*outcomes[10]->result)->position, 40'000), BodyOf(10, 40'000));

  ASSERT_TRUE(Restart().ok());
  EXPECT_EQ(node_->machine.records.size(), 12u);
}

TEST_F(ReplicatedLogTest, EveryRecordCanBeReadFromMemoryOrFile) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  std::vector<RecordPlace> places;
  for (int i = 0; i < 300; ++i) places.push_back(*node_->AppendAndWait(BodyOf(i, 200)));
  EXPECT_TRUE(node_->OnShard([&] { return node_->log().TryRead(places.back().position).has_value(); }));
  EXPECT_FALSE(node_->OnShard([&] { return node_->log().TryRead(places.front().position).has_value(); }));

  for (int i = 0; i < 300; ++i) {
    const absl::StatusOr<std::string> body = node_->Read(places[static_cast<size_t>(i)].position, 200);
    ASSERT_TRUE(body.ok()) << body.status();
    EXPECT_EQ(*body, BodyOf(i, 200));
  }
  EXPECT_TRUE(absl::IsNotFound(node_->Read({1 << 30}, 10).status()));
  EXPECT_THAT(node_->machine.faults, IsEmpty());
}

TEST_F(ReplicatedLogTest, RetentionRemovesWholeSegmentsAndRecyclesTheirFiles) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  std::vector<RecordPlace> places;
  for (int i = 0; i < 300; ++i) places.push_back(*node_->AppendAndWait(BodyOf(i, 200)));
  scheduler_.RunUntilIdle();
  const std::vector<SegmentInfo> before = node_->Segments();
  ASSERT_GE(before.size(), 4u);
  for (size_t i = 1; i < before.size(); ++i) EXPECT_EQ(before[i].base, before[i - 1].end);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i].sealed, i + 1 < before.size());

  node_->RemoveSegmentsBelow({before[2].base.value + 1});
  scheduler_.RunUntilIdle();

  ASSERT_EQ(node_->Segments().size(), before.size() - 2);
  EXPECT_EQ(node_->Segments().front().base, before[2].base);
  EXPECT_EQ(node_->Stats().first_index, before[2].first_index);
  for (const RecordPlace& place : places)
    EXPECT_EQ(absl::IsNotFound(node_->Read(place.position, 200).status()), place.position < before[2].base);
  EXPECT_THAT(node_->machine.faults, IsEmpty());

  // The next roll takes a recycled file: nobody writes a segment full of zeros.
  const uint64_t used = files_.UsedBytes();
  const size_t segments = node_->Segments().size();
  while (node_->Segments().size() == segments) ASSERT_TRUE(node_->AppendAndWait(BodyOf(0, 200)).ok());
  scheduler_.RunUntilIdle();
  EXPECT_EQ(files_.UsedBytes(), used);

  ASSERT_TRUE(Restart().ok());
  EXPECT_EQ(node_->machine.records.front().index, before[2].first_index);
}

TEST_F(ReplicatedLogTest, TheOpenSegmentIsNeverRemoved) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  ASSERT_TRUE(node_->AppendAndWait("kept").ok());

  node_->RemoveSegmentsBelow({1 << 30});
  scheduler_.RunUntilIdle();

  EXPECT_EQ(node_->Segments().size(), 1u);
  ASSERT_TRUE(Restart().ok());
  EXPECT_THAT(node_->machine.Bodies(), ElementsAre("kept"));
}

TEST_F(ReplicatedLogTest, EntryTimesNeverGoBack) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  ASSERT_TRUE(node_->AppendAndWait("a").ok());
  clock_.JumpWall(-absl::Hours(5));
  ASSERT_TRUE(node_->AppendAndWait("b").ok());
  ASSERT_TRUE(Restart().ok());
  ASSERT_TRUE(node_->AppendAndWait("c").ok());
  clock_.Advance(absl::Hours(9));
  ASSERT_TRUE(node_->AppendAndWait("d").ok());

  const auto& records = node_->machine.records;
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[1].time, records[0].time);
  EXPECT_EQ(records[2].time, records[0].time);
  EXPECT_GT(records[3].time, records[0].time);
  EXPECT_EQ(node_->Segments().back().last_entry_time, records[3].time);
}

TEST_F(ReplicatedLogTest, StopFinishesWhatWasAcceptedAndRefusesTheRest) {
  ASSERT_TRUE(node_->OpenAndLead().ok());
  std::vector<std::shared_ptr<Outcome>> accepted;
  for (int i = 0; i < 20; ++i) accepted.push_back(node_->Append(BodyOf(i), i % 2 == 0 ? Durability::kSync : Durability::kAsync));
  int stopped = 0;
  node_->OnShard([&] {
    node_->log().Stop([&] { ++stopped; });
    node_->log().Stop([&] { ++stopped; });
    return true;
  });
  const std::shared_ptr<Outcome> late = node_->Append("late");
  scheduler_.RunFor(absl::Seconds(1));

  EXPECT_EQ(stopped, 2);
  for (const auto& outcome : accepted) EXPECT_TRUE(outcome->result.has_value() && outcome->result->ok());
  EXPECT_TRUE(absl::IsUnavailable(late->result->status()));
  EXPECT_EQ(node_->machine.records.size(), 20u);
  node_->OnShard([&] { node_->log().Stop([&] { ++stopped; }); return true; });
  scheduler_.RunUntilIdle();
  EXPECT_EQ(stopped, 3);

  files_.LosePower();
  const LogOptions options = node_->options();
  NewNode(options);
  ASSERT_TRUE(node_->OpenAndLead().ok());
  EXPECT_EQ(node_->machine.records.size(), 20u);
}

TEST_F(ReplicatedLogTest, ALogThatWasNeverStartedStops) {
  ASSERT_TRUE(node_->Open().ok());
  node_->StopAndClose();
  NewNode(SmallLog());
  ASSERT_TRUE(node_->OpenAndLead().ok());
  node_->StopAndClose();
}

TEST_F(ReplicatedLogTest, PendingRecordsHaveABound) {
  LogOptions options = SmallLog();
  options.max_pending_bytes = 5000;
  NewNode(options);
  ASSERT_TRUE(node_->OpenAndLead().ok());

  std::vector<std::shared_ptr<Outcome>> outcomes;
  for (int i = 0; i < 20; ++i) outcomes.push_back(node_->Append(BodyOf(i, 1000)));
  EXPECT_TRUE(absl::IsResourceExhausted(node_->CanAppend(1000)));
  EXPECT_TRUE(node_->CanAppend(1000, AppendClass::kInternal).ok());
  scheduler_.RunUntilIdle();

  int refused = 0;
  for (const auto& outcome : outcomes) {
    ASSERT_TRUE(outcome->result.has_value());
    if (!outcome->result->ok()) {
      EXPECT_TRUE(absl::IsResourceExhausted(outcome->result->status()));
      ++refused;
    }
  }
  EXPECT_EQ(refused, 16);
  EXPECT_TRUE(node_->CanAppend(1000).ok());
  EXPECT_EQ(node_->Stats().pending_bytes, 0u);
}

TEST_F(ReplicatedLogTest, ALongReplayComesFromTheFilesInOrder) {
  LogOptions options = SmallLog();
  options.segment_bytes = 1 << 20;
  NewNode(options);
  ASSERT_TRUE(node_->OpenAndLead().ok());
  for (int i = 0; i < 3000; ++i) {
    const auto outcome = node_->Append(BodyOf(i, 2000));
    if (i % 7 == 0) scheduler_.RunUntilIdle();
  }
  scheduler_.RunFor(absl::Seconds(1));
  ASSERT_EQ(node_->machine.records.size(), 3000u);

  ASSERT_TRUE(Restart().ok());

  ASSERT_EQ(node_->machine.records.size(), 3000u);
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(node_->machine.records[static_cast<size_t>(i)].body, BodyOf(i, 2000));
}

}  // namespace
}  // namespace fulmar::log
