// What Open() makes of files that a crash or a bad disk left behind.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/sim/test_seed.h"
#include "services/common/status.h"
#include "services/log/frame.h"
#include "services/log/log_test_node.h"
#include "services/log/raft_state.h"
#include "services/log/segment_names.h"

namespace fulmar::log {
namespace {

using ::testing::HasSubstr;

// All files of a log, as bytes.
using Image = std::map<std::string, std::string>;

Image Take(sim::SimFiles& files) {
  Image image;
  for (const std::string dir : {"/log", "/log/segments"}) {
    const absl::StatusOr<std::vector<std::string>> names = files.List(dir);
    for (const std::string& name : *names)
      if (name != "segments") image[absl::StrCat(dir, "/", name)] = files.Contents(absl::StrCat(dir, "/", name));
  }
  return image;
}

std::unique_ptr<sim::SimFiles> Restore(const Image& image) {
  auto files = std::make_unique<sim::SimFiles>(1);
  FULMAR_CHECK(files->MakeDirs("/log/segments").ok());
  for (const auto& [path, bytes] : image) {
    const auto file = *files->Open(path, common::OpenMode::kCreate);
    FULMAR_CHECK(file->PWrite(0, bytes).ok() && file->Sync().ok());
  }
  FULMAR_CHECK(files->SyncDir("/log").ok() && files->SyncDir("/log/segments").ok());
  return files;
}

// A log of some records, one per entry, over three segments.
class LogRecoveryTest : public ::testing::Test {
 protected:
  static constexpr int kRecords = 40;

  enum class End { kClean, kKilled };
  // Fills `bodies_`, `places_`.
  Image MakeLog(End end, LogOptions options = Options()) {
    sim::SimFiles files(sim::TestSeed());
    LogNode node(files, scheduler_, random_, std::move(options));
    FULMAR_CHECK(node.OpenAndLead().ok());
    for (int i = 0; i < kRecords; ++i) {
      bodies_.push_back(BodyOf(i, 300));
      const absl::StatusOr<RecordPlace> place = node.AppendAndWait(bodies_.back());
      FULMAR_CHECK(place.ok(), place.status().ToString());
      places_.push_back(*place);
    }
    applied_ = node.machine.applied;
    segments_ = node.Segments();
    if (end == End::kClean) {
      node.StopAndClose();
    } else {
      node.Crash();
    }
    return Take(files);
  }
  static LogOptions Options() {
    LogOptions options = SmallLog();
    options.segment_bytes = 12 << 10;
    return options;
  }

  struct Opened {
    absl::Status status;
    std::vector<std::string> bodies;
    bool appends = false;  // and the log went on working
  };
  Opened Open(const Image& image, AppliedPoint applied = {}) {
    const std::unique_ptr<sim::SimFiles> files = Restore(image);
    LogNode node(*files, scheduler_, random_, Options());
    Opened opened{.status = node.OpenAndLead(applied)};
    if (!opened.status.ok()) return opened;
    scheduler_.RunUntilIdle();
    opened.bodies = node.machine.Bodies();
    opened.appends = node.AppendAndWait("after").ok() && node.machine.records.back().body == "after";
    return opened;
  }

  std::string LastSegment() const { return SegmentPath("/log", segments_.back().base); }
  size_t OffsetInLast(LogPosition position) const {
    return kSegmentHeaderBytes + static_cast<size_t>(position.value - segments_.back().base.value);
  }
  LogPosition FrameOf(const RecordPlace& place) const {
    return {place.position.value - static_cast<int64_t>(kFrameHeaderBytes)};
  }
  std::vector<std::string> FirstBodies(size_t count) const {
    return {bodies_.begin(), bodies_.begin() + static_cast<std::ptrdiff_t>(count)};
  }

  ::testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("FULMAR_SEED=", sim::TestSeed())};
  sim::SimClock clock_;
  sim::SeededRandom random_{sim::TestSeed()};
  sim::SimScheduler scheduler_{clock_};
  std::vector<std::string> bodies_;
  std::vector<RecordPlace> places_;
  std::vector<SegmentInfo> segments_;
  AppliedPoint applied_;
};

TEST_F(LogRecoveryTest, ATornTailIsCutAtEveryByteOfTheLastRecord) {
  const Image image = MakeLog(End::kKilled);
  const size_t begin = OffsetInLast(FrameOf(places_.back()));
  const size_t end = begin + kFrameHeaderBytes + kRecordHeaderBytes + places_.back().length;
  ASSERT_GE(segments_.size(), 2u);

  for (const char rest : {'\0', 'x'})
    for (size_t cut = begin; cut < end; ++cut) {
      Image torn = image;
      std::string& bytes = torn[LastSegment()];
      if (bytes[cut] == rest && cut + 1 == end) continue;  // nothing would be missing
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(cut), bytes.begin() + static_cast<std::ptrdiff_t>(end), rest);

      const Opened opened = Open(torn);

      ASSERT_TRUE(opened.status.ok()) << "cut at " << cut << ": " << opened.status;
      ASSERT_EQ(opened.bodies, FirstBodies(kRecords - 1)) << "cut at " << cut;
      ASSERT_TRUE(opened.appends) << "cut at " << cut;
    }
}

TEST_F(LogRecoveryTest, AShortFileIsATornTailToo) {
  const Image image = MakeLog(End::kKilled);
  Image torn = image;
  torn[LastSegment()].resize(OffsetInLast(FrameOf(places_.back())) + 10);

  const Opened opened = Open(torn);

  ASSERT_TRUE(opened.status.ok()) << opened.status;
  EXPECT_EQ(opened.bodies, FirstBodies(kRecords - 1));
  EXPECT_TRUE(opened.appends);
}

TEST_F(LogRecoveryTest, DamageInTheMiddleIsRefusedWithFileAndByte) {
  const Image image = MakeLog(End::kKilled);
  for (const int record : {0, 5, kRecords / 2, kRecords - 2}) {
    const RecordPlace& place = places_[static_cast<size_t>(record)];
    const auto segment = std::find_if(segments_.rbegin(), segments_.rend(),
                                      [&](const SegmentInfo& info) { return info.base <= place.position; });
    const std::string path = SegmentPath("/log", segment->base);
    const size_t frame = kSegmentHeaderBytes + static_cast<size_t>(FrameOf(place).value - segment->base.value);
    Image damaged = image;
    damaged[path][frame + kFrameHeaderBytes + kRecordHeaderBytes + 3] ^= 4;

    const Opened opened = Open(damaged);

    EXPECT_TRUE(absl::IsDataLoss(opened.status)) << opened.status;
    EXPECT_THAT(std::string(opened.status.message()), HasSubstr(absl::StrCat(path, " is damaged at byte ", frame)));
  }
}

// Goal: no flipped bit is ever taken for data. Method: one random bit of every byte of every file, one at a time, after a
// clean stop, when nothing may be missing.
TEST_F(LogRecoveryTest, AfterACleanStopEveryFlippedBitIsHarmlessOrRefused) {
  const Image image = MakeLog(End::kClean);
  int refused = 0;
  for (const auto& [path, bytes] : image) {
    for (size_t at = 0; at < bytes.size(); ++at) {
      // Zeros and stale bytes behind the end are all alike.
      if (bytes[at] == 0 && at > 100 && random_.Next() % 50 != 0) continue;
      Image damaged = image;
      damaged[path][at] = static_cast<char>(damaged[path][at] ^ (1 << (random_.Next() % 8)));

      const Opened opened = Open(damaged);

      if (opened.status.ok()) {
        ASSERT_EQ(opened.bodies, bodies_) << path << " byte " << at;
        ASSERT_TRUE(opened.appends) << path << " byte " << at;
      } else {
        ++refused;
        ASSERT_TRUE(absl::IsDataLoss(opened.status)) << path << " byte " << at << ": " << opened.status;
        ASSERT_TRUE(absl::StrContains(opened.status.message(), path)) << path << " byte " << at << ": " << opened.status;
      }
    }
  }
  EXPECT_GT(refused, kRecords * 300);
}

TEST_F(LogRecoveryTest, AfterAKillAFlippedBitCostsAtMostTheLastEntry) {
  const Image image = MakeLog(End::kKilled);
  const std::string path = LastSegment();
  const size_t end = OffsetInLast(FrameOf(places_.back())) + kFrameHeaderBytes + kRecordHeaderBytes + places_.back().length;
  for (size_t at = 0; at < end; ++at) {
    Image damaged = image;
    damaged[path][at] = static_cast<char>(damaged[path][at] ^ (1 << (random_.Next() % 8)));

    const Opened opened = Open(damaged);

    if (opened.status.ok())
      ASSERT_THAT(opened.bodies, ::testing::AnyOf(bodies_, FirstBodies(kRecords - 1))) << "byte " << at;
    else
      ASSERT_TRUE(absl::IsDataLoss(opened.status)) << "byte " << at << ": " << opened.status;
  }
}

TEST_F(LogRecoveryTest, ADamagedSlotOfRaftStateIsReplacedByTheOther) {
  Image image = MakeLog(End::kClean);
  for (const size_t slot : {size_t{0}, kRaftStateSlotBytes}) {
    Image damaged = image;
    damaged["/log/raft.state"][slot + 30] ^= 1;
    EXPECT_EQ(Open(damaged).bodies, bodies_);
  }
  image["/log/raft.state"][30] ^= 1;
  image["/log/raft.state"][kRaftStateSlotBytes + 30] ^= 1;

  const Opened opened = Open(image);

  EXPECT_TRUE(absl::IsDataLoss(opened.status));
  EXPECT_THAT(std::string(opened.status.message()), HasSubstr("/log/raft.state"));
}

TEST_F(LogRecoveryTest, WhatACleanStopKnewIsKnownAfterTheNextStartToo) {
  const Image image = MakeLog(End::kClean);
  const std::unique_ptr<sim::SimFiles> files = Restore(image);
  {
    LogNode node(*files, scheduler_, random_, Options());
    ASSERT_TRUE(node.Open(applied_).ok());
    node.OnShard([&] { node.log().Start(); return true; });
    scheduler_.RunUntilIdle();
  }
  files->KillProcess();
  files->FlipBit(LastSegment(), OffsetInLast(places_.back().position) + 20);

  LogNode node(*files, scheduler_, random_, Options());
  EXPECT_TRUE(absl::IsDataLoss(node.Open()));
}

TEST_F(LogRecoveryTest, AMissingFileIsNoticed) {
  const Image image = MakeLog(End::kClean);
  for (const auto& [path, bytes] : image) {
    if (absl::StrContains(path, "LOCK") || absl::StrContains(path, "spare")) continue;
    if (path == SegmentPath("/log", {0})) continue;  // gone like after retention; the applied point decides, see below
    Image without = image;
    without.erase(path);

    const Opened opened = Open(without);

    EXPECT_TRUE(absl::IsDataLoss(opened.status)) << path << ": " << opened.status;
  }
  Image without_segments = image;
  std::erase_if(without_segments, [](const auto& file) { return absl::EndsWith(file.first, ".seg"); });
  EXPECT_TRUE(absl::IsDataLoss(Open(without_segments).status));
}

TEST_F(LogRecoveryTest, EntriesBehindTheAppliedPointAreReplayedFromAnywhere) {
  const Image image = MakeLog(End::kKilled);
  for (size_t i = 0; i < kRecords; ++i) {
    const RecordPlace& place = places_[i];
    const int64_t end = place.position.value + static_cast<int64_t>(kRecordHeaderBytes) + place.length;

    const Opened opened = Open(image, {place.index, place.term, {end}});

    ASSERT_TRUE(opened.status.ok()) << opened.status;
    ASSERT_EQ(opened.bodies, std::vector<std::string>(bodies_.begin() + static_cast<std::ptrdiff_t>(i) + 1, bodies_.end()));
  }
}

TEST_F(LogRecoveryTest, AnAppliedPointThatTheLogDoesNotHoldIsRefused) {
  const Image image = MakeLog(End::kKilled);
  const AppliedPoint good = applied_;
  ASSERT_TRUE(Open(image, good).status.ok());

  std::vector<AppliedPoint> bad(4, good);
  bad[0].index.value += 1;
  bad[1].term.value += 1;
  bad[2].position.value -= 1;
  bad[3] = {{good.index.value + 5}, good.term, {good.position.value + 5000}};
  for (const AppliedPoint& point : bad) EXPECT_TRUE(absl::IsDataLoss(Open(image, point).status));

  Image without_oldest = image;
  without_oldest.erase(SegmentPath("/log", {0}));
  const RecordPlace& first = places_.front();
  const int64_t end = first.position.value + static_cast<int64_t>(kRecordHeaderBytes) + first.length;
  EXPECT_TRUE(absl::IsDataLoss(Open(without_oldest, {first.index, first.term, {end}}).status));
}

TEST_F(LogRecoveryTest, OnlySegmentsFromTheAppliedPointOnAreRead) {
  Image image = MakeLog(End::kKilled);
  // Damage that nobody meets before somebody reads that record.
  image[SegmentPath("/log", {0})][kSegmentHeaderBytes + 200] ^= 1;

  EXPECT_TRUE(Open(image, applied_).status.ok());
  EXPECT_TRUE(absl::IsDataLoss(Open(image).status));
}

TEST_F(LogRecoveryTest, AnotherShardOrFormatIsRefused) {
  const Image image = MakeLog(End::kClean);
  const std::unique_ptr<sim::SimFiles> files = Restore(image);
  LogOptions options = Options();
  options.shard_name = "shard-1";
  LogNode other(*files, scheduler_, random_, options);
  EXPECT_TRUE(absl::IsFailedPrecondition(other.Open()));

  options = Options();
  options.node_id = 2;
  LogNode second(*files, scheduler_, random_, options);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.Open()));
}

TEST_F(LogRecoveryTest, ASecondProcessIsLockedOut) {
  sim::SimFiles files(sim::TestSeed());
  LogNode first(files, scheduler_, random_, Options());
  ASSERT_TRUE(first.OpenAndLead().ok());

  LogNode second(files, scheduler_, random_, Options());
  EXPECT_TRUE(absl::IsUnavailable(second.Open()));
  first.StopAndClose();
  EXPECT_TRUE(second.Open().ok());
}

// Goal: a recycled file's old frames are never taken for new ones. Method: lives of the same length, so that every old frame
// lies exactly where a new one would; the log ends in the middle of a recycled file.
TEST_F(LogRecoveryTest, StaleFramesOfARecycledFileAreTheEndOfTheLog) {
  sim::SimFiles files(sim::TestSeed());
  LogOptions options = Options();
  auto node = std::make_unique<LogNode>(files, scheduler_, random_, options);
  ASSERT_TRUE(node->OpenAndLead().ok());
  std::vector<std::string> kept;
  for (int i = 0; i < 200; ++i) {
    kept.push_back(BodyOf(i, 300));
    const absl::StatusOr<RecordPlace> place = node->AppendAndWait(kept.back());
    ASSERT_TRUE(place.ok());
    if (node->Segments().size() <= 3) continue;
    const SegmentInfo oldest = node->Segments().front();
    node->RemoveSegmentsBelow(oldest.end);
    scheduler_.RunUntilIdle();
    ASSERT_LE(node->Segments().size(), 3u);
  }
  const LogPosition begin = node->Segments().front().base;
  size_t removed = 0;
  while (node->machine.records[removed].position < begin) ++removed;
  ASSERT_GT(removed, 100u);
  const std::string open_path = SegmentPath("/log", node->Segments().back().base);
  const size_t used = kSegmentHeaderBytes + static_cast<size_t>(node->Stats().end.value - node->Segments().back().base.value);
  const std::string bytes = files.Contents(open_path);
  ASSERT_TRUE(absl::StrContains(bytes.substr(used), "LFRM")) << "the file is not a recycled one: the test shows nothing";

  node->Crash();
  files.KillProcess();
  node = std::make_unique<LogNode>(files, scheduler_, random_, options);
  ASSERT_TRUE(node->OpenAndLead().ok());

  kept.erase(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(removed));
  EXPECT_EQ(node->machine.Bodies(), kept);
}

TEST_F(LogRecoveryTest, ScanLogSeesWhatApplySaw) {
  const Image image = MakeLog(End::kClean);
  const std::unique_ptr<sim::SimFiles> files = Restore(image);
  std::vector<std::string> bodies;
  std::vector<LogPosition> positions;
  ASSERT_TRUE(ScanLog(*files, "/log", [&](const AppliedEntry& entry) {
                for (const AppliedRecord& record : entry.records) {
                  bodies.emplace_back(record.body.view());
                  positions.push_back(record.position);
                }
                return true;
              }).ok());
  EXPECT_EQ(bodies, bodies_);
  ASSERT_EQ(positions.size(), places_.size());
  for (size_t i = 0; i < positions.size(); ++i) EXPECT_EQ(positions[i], places_[i].position);

  int entries = 0;
  EXPECT_TRUE(ScanLog(*files, "/log", [&](const AppliedEntry&) { return ++entries < 3; }).ok());
  EXPECT_EQ(entries, 3);

  files->FlipBit(SegmentPath("/log", {0}), kSegmentHeaderBytes + 100);
  EXPECT_TRUE(absl::IsDataLoss(ScanLog(*files, "/log", [](const AppliedEntry&) { return true; })));
}

}  // namespace
}  // namespace fulmar::log
