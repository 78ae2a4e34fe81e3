// Disks that fail and disks that are full.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/errors.h"
#include "services/common/sim/test_seed.h"
#include "services/log/log_test_node.h"
#include "services/log/segment_names.h"

namespace fulmar::log {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A file system on which a new name cannot be made durable: SyncDir fails behind a rename to `*suffix`.
class FailingFolders final : public common::Files {
 public:
  explicit FailingFolders(common::Files& files) : files_(files) {}
  absl::Status SyncDir(const std::string& dir) override {
    if (failures == 0 || !absl::EndsWith(renamed_to_, suffix)) return files_.SyncDir(dir);
    --failures;
    return error;
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    renamed_to_ = to;
    return files_.Rename(from, to);
  }
  absl::StatusOr<std::unique_ptr<common::File>> Open(const std::string& path, common::OpenMode mode) override { return files_.Open(path, mode); }
  absl::Status MakeDirs(const std::string& dir) override { return files_.MakeDirs(dir); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override { return files_.List(dir); }
  absl::StatusOr<bool> Exists(const std::string& path) override { return files_.Exists(path); }
  absl::Status Remove(const std::string& path) override { return files_.Remove(path); }
  absl::StatusOr<uint64_t> FreeBytes(const std::string& dir) override { return files_.FreeBytes(dir); }
  absl::StatusOr<std::unique_ptr<common::File>> Lock(const std::string& path) override { return files_.Lock(path); }

  int failures = 0;  // to come
  std::string suffix = ".seg";
  absl::Status error = absl::ResourceExhaustedError("fsync: No space left on device");

 private:
  common::Files& files_;
  std::string renamed_to_;
};

class LogFaultTest : public ::testing::Test {
 protected:
  LogFaultTest() { NewNode(); }
  void NewNode() {
    node_.reset();
    node_ = std::make_unique<LogNode>(folders_, scheduler_, random_, SmallLog());
  }
  // Appends until the next record has to begin a new segment, which waits for its spare if need be.
  int FillSegment() {
    int appended = 0;
    while (node_->Segments().back().end.value - node_->Segments().back().base.value < (9 << 10)) {
      EXPECT_TRUE(node_->AppendAndWait(BodyOf(appended++, 1000)).ok());
    }
    scheduler_.RunUntilIdle();
    return appended;
  }
  size_t FilesLike(std::string_view suffix) {
    const std::vector<std::string> names = files_.List(SegmentsDir("/log")).value();
    return static_cast<size_t>(std::count_if(names.begin(), names.end(), [&](const std::string& name) { return absl::EndsWith(name, suffix); }));
  }
  void Open() {
    ASSERT_TRUE(node_->OpenAndLead().ok());
    scheduler_.RunUntilIdle();  // the spare is made
  }

  ::testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("FULMAR_SEED=", sim::TestSeed())};
  sim::SimClock clock_;
  sim::SeededRandom random_{sim::TestSeed()};
  sim::SimScheduler scheduler_{clock_, &random_};
  sim::SimFiles files_{sim::TestSeed()};
  FailingFolders folders_{files_};
  std::unique_ptr<LogNode> node_;
};

TEST_F(LogFaultTest, AfterAFailedSyncNothingSucceeds) {
  Open();
  ASSERT_TRUE(node_->AppendAndWait("before").ok());
  files_.FailNth(sim::FileOp::kSync, 1, ".seg");

  std::vector<std::shared_ptr<Outcome>> outcomes;
  for (int i = 0; i < 5; ++i) outcomes.push_back(node_->Append(BodyOf(i)));
  scheduler_.RunUntilIdle();
  for (int i = 0; i < 5; ++i) outcomes.push_back(node_->Append(BodyOf(i), Durability::kAsync, AppendClass::kInternal));
  scheduler_.RunFor(absl::Seconds(5));

  for (const auto& outcome : outcomes) {
    ASSERT_TRUE(outcome->result.has_value());
    EXPECT_TRUE(absl::IsDataLoss(outcome->result->status())) << outcome->result->status();
  }
  ASSERT_THAT(node_->machine.faults, SizeIs(1));
  EXPECT_THAT(std::string(node_->machine.faults[0].message()), HasSubstr(".seg"));
  EXPECT_TRUE(absl::IsDataLoss(node_->CanAppend(1)));
  EXPECT_TRUE(absl::IsDataLoss(node_->Stats().fault));
  EXPECT_THAT(node_->machine.Bodies(), ElementsAre("before"));
  node_->StopAndClose();
}

TEST_F(LogFaultTest, AFailedWriteIsFinalToo) {
  Open();
  files_.FailNth(sim::FileOp::kWrite, 1, ".seg");

  EXPECT_TRUE(absl::IsDataLoss(node_->AppendAndWait("lost").status()));
  EXPECT_TRUE(absl::IsDataLoss(node_->AppendAndWait("refused").status()));
  EXPECT_THAT(node_->machine.faults, SizeIs(1));
}

TEST_F(LogFaultTest, WhatAFailedSyncLeftInThePageCacheIsMadeDurableByTheNextStart) {
  Open();
  files_.FailNth(sim::FileOp::kSync, 1, ".seg");
  ASSERT_TRUE(absl::IsDataLoss(node_->AppendAndWait("perhaps").status()));
  node_->Crash();
  files_.KillProcess();
  NewNode();
  Open();
  ASSERT_THAT(node_->machine.Bodies(), ElementsAre("perhaps"));  // so somebody may have seen it

  node_->Crash();
  files_.LosePower();
  NewNode();
  Open();

  EXPECT_THAT(node_->machine.Bodies(), ElementsAre("perhaps"));
}

TEST_F(LogFaultTest, AFailedWriteOfTheVoteKeepsTheLogFromLeading) {
  ASSERT_TRUE(node_->Open().ok());
  files_.FailNth(sim::FileOp::kSync, 1, "raft.state");

  node_->OnShard([&] { node_->log().Start(); return true; });
  scheduler_.RunFor(absl::Seconds(5));

  EXPECT_THAT(node_->machine.terms_led, IsEmpty());
  EXPECT_THAT(node_->machine.faults, SizeIs(1));
}

TEST_F(LogFaultTest, DamageThatAReadMeetsIsReportedToTheReaderAlone) {
  Open();
  const RecordPlace place = *node_->AppendAndWait(BodyOf(0, 500));
  for (int i = 1; i < 50; ++i) ASSERT_TRUE(node_->AppendAndWait(BodyOf(i, 500)).ok());
  const std::string path = SegmentPath("/log", {0});
  files_.FlipBit(path, 4096 + static_cast<uint64_t>(place.position.value) + 100);

  const absl::Status status = node_->Read(place.position, 500).status();

  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(path, " is damaged at byte ", 4096 + place.position.value)));
  EXPECT_THAT(node_->machine.faults, IsEmpty());
  EXPECT_TRUE(node_->AppendAndWait("still taken").ok());
}

TEST_F(LogFaultTest, ALengthThatNoFileCouldHoldIsRefusedBeforeMemoryIsTakenForIt) {
  Open();
  const RecordPlace place = *node_->AppendAndWait(BodyOf(0, 500));

  const absl::Status status = node_->Read(place.position, 0xFFFFFFF0).status();

  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot hold a record of 4294967280 bytes"));
  EXPECT_EQ(*node_->Read(place.position, 500), BodyOf(0, 500));
}

TEST_F(LogFaultTest, DamageThatReplayMeetsKeepsTheLogFromLeading) {
  Open();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(node_->AppendAndWait(BodyOf(i, 500)).ok());
  node_->StopAndClose();
  NewNode();
  ASSERT_TRUE(node_->Open().ok());
  files_.FlipBit(SegmentPath("/log", {0}), 4096 + 800);  // after Open() has read it

  node_->OnShard([&] { node_->log().Start(); return true; });
  scheduler_.RunFor(absl::Seconds(1));

  EXPECT_THAT(node_->machine.terms_led, IsEmpty());
  ASSERT_THAT(node_->machine.faults, SizeIs(1));
  EXPECT_THAT(std::string(node_->machine.faults[0].message()), HasSubstr("is damaged at byte"));
}

// Found by the torture test: all segments were removed while the roll to the next one failed.
TEST_F(LogFaultTest, ASegmentStaysUntilItsSuccessorIsDurable) {
  Open();
  std::vector<std::shared_ptr<Outcome>> outcomes;
  while (node_->Segments().size() == 1) {  // laid out, not written
    outcomes.push_back(node_->Append(BodyOf(static_cast<int>(outcomes.size()), 1000)));
    ASSERT_TRUE(scheduler_.RunUntil([&] { return node_->Segments().size() > 1 || outcomes.back()->result.has_value(); },
                                    absl::Seconds(1)));
  }
  files_.FailNth(sim::FileOp::kRename, 1, ".free");
  node_->RemoveSegmentsBelow(node_->Segments().back().base);
  scheduler_.RunUntilIdle();
  ASSERT_THAT(node_->machine.faults, SizeIs(1));
  const size_t applied = node_->machine.records.size();
  node_->Crash();
  files_.KillProcess();

  NewNode();
  Open();

  EXPECT_GE(node_->machine.records.size(), applied);
}

TEST_F(LogFaultTest, OnAFullDiskUsersAreRefusedInternalRecordsGoOnAndAllComesBackByItself) {
  Open();
  files_.SetCapacity(files_.UsedBytes());
  int sent = 0;
  absl::Status refusal;
  while (refusal.ok() && sent < 1000) {
    refusal = node_->AppendAndWait(BodyOf(sent, 200)).status();
    if (refusal.ok()) ++sent;
  }

  EXPECT_TRUE(absl::IsResourceExhausted(refusal)) << refusal;
  EXPECT_EQ(V2CodeOf(refusal), 42900);
  EXPECT_THAT(node_->machine.space, ElementsAre(true));
  EXPECT_TRUE(node_->Stats().space_exhausted);
  int internal = 0;
  while (node_->AppendAndWait(BodyOf(internal, 100), Durability::kSync, AppendClass::kInternal).ok()) ++internal;
  EXPECT_GE(internal, 50) << "the reserve is most of a segment";
  EXPECT_TRUE(absl::IsResourceExhausted(node_->CanAppend(100, AppendClass::kInternal)));
  EXPECT_THAT(node_->machine.faults, IsEmpty());

  files_.SetCapacity(std::nullopt);
  scheduler_.RunFor(2 * node_->options().space_retry_interval);

  EXPECT_THAT(node_->machine.space, ElementsAre(true, false));
  EXPECT_TRUE(node_->AppendAndWait("resumed").ok());
  EXPECT_EQ(node_->machine.records.size(), static_cast<size_t>(sent + internal + 1));
  node_->Crash();
  files_.KillProcess();
  NewNode();
  Open();
  EXPECT_EQ(node_->machine.records.size(), static_cast<size_t>(sent + internal + 1));
}

// Goal: no space for the name of a new segment is a full disk like any other. Method: the folder's sync fails, once or some times,
// after the rename; at the end each record is there once, in both lives.
TEST_F(LogFaultTest, ASegmentWhoseNameFindsNoSpaceIsRolledToAgain) {
  for (int failures = 1; failures <= 3; ++failures) {
    SCOPED_TRACE(failures);
    files_.KillProcess();
    NewNode();
    Open();
    const size_t segments = node_->Segments().size();
    FillSegment();
    folders_.failures = failures;
    const size_t before = node_->machine.records.size();

    const std::shared_ptr<Outcome> rolled = node_->Append(BodyOf(1, 8000));
    scheduler_.RunFor(absl::Seconds(5));

    ASSERT_TRUE(rolled->result.has_value());
    ASSERT_TRUE(rolled->result->ok()) << rolled->result->status();
    EXPECT_EQ(folders_.failures, 0);
    EXPECT_THAT(node_->machine.faults, IsEmpty());
    EXPECT_FALSE(node_->Stats().space_exhausted);
    EXPECT_EQ(node_->Segments().size(), segments + 1);
    EXPECT_EQ(FilesLike(".seg"), segments + 1);
    EXPECT_EQ(node_->machine.records.size(), before + 1);
    node_->Crash();
    failures % 2 == 0 ? files_.LosePower() : files_.KillProcess();
    NewNode();
    Open();
    EXPECT_EQ(node_->machine.records.size(), before + 1);
    EXPECT_TRUE(node_->AppendAndWait("goes on").ok());
    node_->Crash();
  }
}

TEST_F(LogFaultTest, ASegmentWhoseNameCannotBeMadeDurableIsFinal) {
  Open();
  const int appended = FillSegment();
  folders_.failures = 1;
  folders_.error = absl::DataLossError("fsync: Input/output error");

  EXPECT_TRUE(absl::IsDataLoss(node_->AppendAndWait(BodyOf(1, 8000)).status()));
  EXPECT_TRUE(absl::IsDataLoss(node_->AppendAndWait("refused").status()));

  EXPECT_THAT(node_->machine.faults, SizeIs(1));
  node_->Crash();
  files_.LosePower();
  NewNode();
  Open();
  EXPECT_EQ(node_->machine.records.size(), static_cast<size_t>(appended));
}

// What could not be made durable under its name must not stay behind: a full disk would be fuller with every attempt.
TEST_F(LogFaultTest, ASpareWhoseNameFindsNoSpaceLeavesNothingBehind) {
  Open();
  FillSegment();
  ASSERT_EQ(FilesLike(".free"), 1u);
  folders_.suffix = ".free";
  folders_.failures = 3;
  ASSERT_TRUE(node_->AppendAndWait(BodyOf(1, 8000)).ok());  // takes the spare
  scheduler_.RunFor(absl::Seconds(10));

  EXPECT_EQ(folders_.failures, 0);
  EXPECT_EQ(FilesLike(".free"), 1u);
  EXPECT_EQ(FilesLike(".tmp"), 0u);
  EXPECT_FALSE(node_->Stats().space_exhausted);
}

TEST_F(LogFaultTest, ASegmentThatIsRecycledWithoutSpaceForItsNewNameBecomesASpare) {
  Open();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(node_->AppendAndWait(BodyOf(i, 1000)).ok());
  scheduler_.RunUntilIdle();
  const size_t all = FilesLike(".seg") + FilesLike(".free");
  folders_.suffix = ".free";
  folders_.failures = 2;

  node_->RemoveSegmentsBelow(node_->Segments()[1].base);
  scheduler_.RunFor(absl::Seconds(10));

  EXPECT_EQ(folders_.failures, 0);
  EXPECT_EQ(FilesLike(".seg") + FilesLike(".free"), all) << "it was recycled";
  const std::vector<std::string> names = files_.List(SegmentsDir("/log")).value();
  uint64_t there = 0;
  for (const std::string& name : names) there += files_.Contents(absl::StrCat(SegmentsDir("/log"), "/", name)).size();
  EXPECT_EQ(node_->Stats().disk_bytes, there) << "no file is forgotten";
}

TEST_F(LogFaultTest, AStateMachineThatTakesNoMoreRefusesUsersOnly) {
  Open();
  node_->machine.takes_user_records = absl::ResourceExhaustedError("the index is full");

  EXPECT_EQ(node_->CanAppend(1), node_->machine.takes_user_records);
  EXPECT_EQ(node_->AppendAndWait("user").status(), node_->machine.takes_user_records);
  EXPECT_TRUE(node_->AppendAndWait("internal", Durability::kSync, AppendClass::kInternal).ok());

  node_->machine.takes_user_records = absl::OkStatus();
  EXPECT_TRUE(node_->AppendAndWait("user").ok());
}

TEST_F(LogFaultTest, RetentionGivesSpaceBackAtOnce) {
  Open();
  files_.SetCapacity(files_.UsedBytes() + (20 << 10));
  while (node_->AppendAndWait(BodyOf(1, 200)).ok()) continue;
  ASSERT_TRUE(node_->Stats().space_exhausted);

  node_->RemoveSegmentsBelow(node_->Segments().back().base);
  scheduler_.RunUntilIdle();

  EXPECT_FALSE(node_->Stats().space_exhausted);
  EXPECT_TRUE(node_->AppendAndWait("resumed").ok());
}

TEST_F(LogFaultTest, AFullDiskAtTheFirstStartLeavesTheReserve) {
  files_.SetCapacity(40 << 10);
  Open();

  EXPECT_THAT(node_->machine.space, ElementsAre(true));
  EXPECT_TRUE(absl::IsResourceExhausted(node_->AppendAndWait("user").status()));
  EXPECT_TRUE(node_->AppendAndWait("internal", Durability::kSync, AppendClass::kInternal).ok());
}

TEST_F(LogFaultTest, ASpareThatIsNotUrgentIsWrittenWithPauses) {
  LogOptions options = SmallLog();
  options.segment_bytes = 8 << 20;
  node_ = std::make_unique<LogNode>(files_, scheduler_, random_, options);
  Open();

  scheduler_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(node_->Stats().disk_bytes, uint64_t{8 << 20});
  scheduler_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(node_->Stats().disk_bytes, uint64_t{16 << 20});
}

// It pauses once more at most, since it looks at the end of each pause.
TEST_F(LogFaultTest, ASpareIsAheadOfTheSegmentThatFillsUp) {
  LogOptions options = SmallLog();
  options.segment_bytes = 8 << 20;
  node_ = std::make_unique<LogNode>(files_, scheduler_, random_, options);
  Open();

  for (int i = 0; i < 7; ++i) ASSERT_TRUE(node_->AppendAndWait(BodyOf(i, 1 << 20)).ok());
  scheduler_.RunFor(absl::Milliseconds(20));

  EXPECT_EQ(node_->Stats().disk_bytes, uint64_t{16 << 20});
}

TEST_F(LogFaultTest, StopDoesNotWaitForASpareThatPauses) {
  LogOptions options = SmallLog();
  options.segment_bytes = 8 << 20;
  node_ = std::make_unique<LogNode>(files_, scheduler_, random_, options);
  Open();
  const absl::Duration begin = clock_.Steady();

  node_->StopAndClose();

  EXPECT_LT(clock_.Steady() - begin, absl::Milliseconds(20));
  EXPECT_EQ(FilesLike(".free"), 0u);
}

TEST_F(LogFaultTest, OnASmallDiskSegmentsAreSmaller) {
  LogOptions options = SmallLog();
  options.segment_bytes = 256 << 20;
  files_.SetCapacity(100 << 20);
  node_ = std::make_unique<LogNode>(files_, scheduler_, random_, options);
  Open();
  scheduler_.RunFor(absl::Seconds(5));  // the spare is written with pauses

  EXPECT_FALSE(node_->Stats().space_exhausted);
  EXPECT_EQ(node_->Stats().disk_bytes, uint64_t{(16 + 64) << 20});
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(node_->AppendAndWait(BodyOf(i, 1 << 20)).ok());

  node_->Crash();
  files_.KillProcess();
  node_ = std::make_unique<LogNode>(files_, scheduler_, random_, options);
  Open();
  EXPECT_EQ(node_->machine.records.size(), 30u);
}

TEST_F(LogFaultTest, ASpareThatCannotBeWrittenIsTriedAgain) {
  Open();
  files_.FailNth(sim::FileOp::kWrite, 1, ".tmp");
  for (int i = 0; i < 100; ++i) {
    if (!node_->AppendAndWait(BodyOf(i, 200)).ok()) break;
  }
  EXPECT_THAT(node_->machine.space, ElementsAre(true));

  scheduler_.RunFor(absl::Seconds(1));

  EXPECT_THAT(node_->machine.space, ElementsAre(true, false));
  EXPECT_THAT(node_->machine.faults, IsEmpty());
  EXPECT_TRUE(node_->AppendAndWait("fine").ok());
}

TEST_F(LogFaultTest, StoppingOnAFullDiskEnds) {
  Open();
  files_.SetCapacity(files_.UsedBytes());
  while (node_->AppendAndWait(BodyOf(1, 200)).ok()) continue;

  node_->StopAndClose();

  files_.SetCapacity(std::nullopt);
  NewNode();
  Open();
  EXPECT_GT(node_->machine.records.size(), 10u);
}

}  // namespace
}  // namespace fulmar::log
