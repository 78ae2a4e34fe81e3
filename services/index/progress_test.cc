#include "services/index/progress.h"

#include <limits>
#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace fulmar::index {
namespace {

QueueProgress SomeProgress() {
  return {.group = "g",
          .topic_id = 7,
          .queue = 3,
          .cursor = 100,
          .acked = {{101, 103}, {110, 111}},
          .in_flight = {{.offset = 100, .attempt = 1, .invisible_until = absl::FromUnixMicros(1'000'000), .given = absl::Seconds(60), .auto_renew = true},
                        {.offset = 104, .attempt = 2, .invisible_until = absl::FromUnixMicros(999'000), .waiting_retry = true}},
          .sequence = 42};
}

TEST(ProgressTest, EncodesToTheBytesThatAreOnDisk) {
  EXPECT_EQ(absl::BytesToHexString(Encode(SomeProgress())),
            "02"                      // format
            "00"                      // flags
            "0167"                    // group
            "07000000" "03000000"     // topic id, queue
            "2a"                      // sequence
            "64"                      // cursor
            "02" "0102" "0701"        // acknowledged: 101..103, 110..111
            "02"                      // in flight:
            "00" "01" "01" "80897a" "e0d403"  //   100, attempt 1, auto renew, at 1 s, given 60 s
            "04" "02" "02" "cf0f" "00");      //   104, attempt 2, waiting, 1 ms earlier, given unknown
}

QueueProgress SomeOrderedProgress() {
  return {.group = "g",
          .topic_id = 7,
          .queue = 3,
          .cursor = 100,
          .in_flight = {{.offset = 5, .attempt = 1, .invisible_until = absl::FromUnixMicros(1), .acknowledged = true}},
          .ordered = true,
          .open = {3, 99},
          .sequence = 42};
}

TEST(ProgressTest, OrderedProgressEncodesToTheBytesThatAreOnDisk) {
  EXPECT_EQ(absl::BytesToHexString(Encode(SomeOrderedProgress())),
            "02" "02" "0167" "07000000" "03000000" "2a" "64"
            "00"                           // acknowledged ranges: none
            "01" "05" "01" "04" "02" "00"  // in flight: 5, attempt 1, acknowledged, at 1 µs
            "02" "03" "60");               // open: 3, 99
  EXPECT_EQ(DecodeProgress(Encode(SomeOrderedProgress())).value(), SomeOrderedProgress());
}

TEST(ProgressTest, TheFirstFormatIsStillRead) {
  QueueProgress old = SomeProgress();
  for (InFlight& message : old.in_flight) message.given = absl::ZeroDuration();
  EXPECT_EQ(DecodeProgress(absl::HexStringToBytes("01" "00" "0167" "07000000" "03000000" "2a" "64" "02" "0102" "0701" "02" "00010180897a" "040202cf0f")).value(), old);
}

TEST(ProgressTest, ImpossibleOrderedStatesAreRefused) {
  QueueProgress ranges = SomeOrderedProgress(), above = SomeOrderedProgress(), open = SomeOrderedProgress(), unordered = SomeOrderedProgress();
  ranges.acked = {{101, 102}};
  above.in_flight.front().offset = 100;
  open.open = {99, 3};
  unordered.ordered = false;
  for (const QueueProgress& progress : {ranges, above, open, unordered}) {
    EXPECT_EQ(CheckProgress(progress).code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(ProgressTest, DecodesToWhatWasEncoded) {
  EXPECT_EQ(DecodeProgress(Encode(SomeProgress())).value(), SomeProgress());
  EXPECT_EQ(DecodeProgress(Encode(QueueProgress{})).value(), QueueProgress{});
  QueueProgress deleted{.group = "g", .topic_id = 1, .deleted = true};
  EXPECT_EQ(DecodeProgress(Encode(deleted)).value(), deleted);
}

TEST(ProgressTest, ExtremeNumbersSurvive) {
  QueueProgress progress{.group = std::string(200, 'g'),
                         .topic_id = std::numeric_limits<uint32_t>::max(),
                         .queue = std::numeric_limits<int32_t>::max(),
                         .cursor = std::numeric_limits<int64_t>::max() - 10};
  progress.acked = {{progress.cursor + 1, progress.cursor + 10}};
  progress.in_flight = {
      {.offset = progress.cursor, .attempt = std::numeric_limits<int32_t>::max(), .invisible_until = absl::InfiniteFuture()},
      {.offset = progress.cursor + 5, .attempt = 1, .invisible_until = absl::InfinitePast()},
      {.offset = progress.cursor + 6, .attempt = 1, .invisible_until = absl::UnixEpoch()}};

  EXPECT_EQ(DecodeProgress(Encode(progress)).value(), progress);
}

TEST(ProgressTest, CutBytesAreDataLoss) {
  const std::string bytes = Encode(SomeProgress());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeProgress(bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  }
  EXPECT_EQ(DecodeProgress(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
}

TEST(ProgressTest, ImpossibleStatesAreDataLossAndRefused) {
  QueueProgress empty_range = SomeProgress(), below_cursor = SomeProgress(), unsorted = SomeProgress(),
                negative_queue = SomeProgress(), negative_cursor = SomeProgress(), negative_attempt = SomeProgress();
  empty_range.acked[0].end = empty_range.acked[0].begin;
  below_cursor.acked[0].begin = 99;
  std::swap(unsorted.in_flight[0], unsorted.in_flight[1]);
  negative_queue.queue = -1;
  negative_cursor.cursor = -1;
  negative_attempt.in_flight[0].attempt = -1;

  for (const QueueProgress& progress :
       {empty_range, below_cursor, unsorted, negative_queue, negative_cursor, negative_attempt}) {
    EXPECT_EQ(CheckProgress(progress).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DecodeProgress(Encode(progress)).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_TRUE(CheckProgress(SomeProgress()).ok());
}

}  // namespace
}  // namespace fulmar::index
