#include "services/log/frame.h"

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/log/raft_state.h"
#include "services/log/segment_names.h"

namespace fulmar::log {
namespace {

using ::testing::HasSubstr;

std::string Hex(std::string_view bytes) { return absl::BytesToHexString({bytes.data(), bytes.size()}); }

FrameHeader SomeFrame() {
  return {.position = {0x1122},
          .index = {7},
          .term = {3},
          .time_ms = 1'700'000'000'000,
          .payload_bytes = 500,
          .payload_crc = 0xDEADBEEF,
          .chain = 0x01020304,
          .durable_lag = 9,
          .record_count = 4,
          .kind = EntryKind::kRecords};
}

SegmentHeader SomeSegment() {
  return {.shard_name = "shard-0",
          .base = {1000},
          .first_index = {5},
          .previous_term = {2},
          .previous_time_ms = 77,
          .chain = 0xABCD,
          .file_bytes = 1 << 20};
}

std::string Payload(const std::vector<std::string>& bodies, LogPosition position) {
  std::string payload;
  for (const std::string& body : bodies) {
    const size_t at = payload.size();
    payload.resize(at + kRecordHeaderBytes);
    PutRecordHeader(payload.data() + at, RecordType::kMessage, static_cast<uint32_t>(body.size()));
    payload += body;
  }
  SealRecords(payload.data(), payload.size(), position);
  return payload;
}

// The bytes of format version 1, for ever.
TEST(FrameTest, AFrameHeaderHasItsGoldenBytes) {
  FrameHeader header = SomeFrame();
  std::string bytes(kFrameHeaderBytes, '\xff');

  EncodeFrameHeader(header, bytes.data());

  EXPECT_EQ(Hex(bytes),
            "4c46524d" + Hex({reinterpret_cast<const char*>(&header.crc), 4}) +
                "2211000000000000" "0700000000000000" "0300000000000000" "0068e5cf8b010000"
                "f4010000" "efbeadde" "04030201" "09000000" "04000000" "00000000");
  EXPECT_EQ(header.crc, 0x32C3E6C5u) << "the checksum covers the 56 bytes behind it";
}

TEST(FrameTest, ARecordHasItsGoldenBytes) {
  EXPECT_EQ(Hex(Payload({"abc"}, {4096})), "5a9351c1" "03000000" "01000000" "616263");
}

TEST(FrameTest, AFrameHeaderComesBack) {
  FrameHeader header = SomeFrame();
  std::string bytes(kFrameHeaderBytes, '\0');
  EncodeFrameHeader(header, bytes.data());

  const std::optional<FrameHeader> parsed = ParseFrameHeader(bytes);

  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->position, header.position);
  EXPECT_EQ(parsed->index, header.index);
  EXPECT_EQ(parsed->term, header.term);
  EXPECT_EQ(parsed->time_ms, header.time_ms);
  EXPECT_EQ(parsed->payload_bytes, header.payload_bytes);
  EXPECT_EQ(parsed->payload_crc, header.payload_crc);
  EXPECT_EQ(parsed->chain, header.chain);
  EXPECT_EQ(parsed->durable_end(), 0x1122 - 9);
  EXPECT_EQ(parsed->record_count, header.record_count);
  EXPECT_EQ(parsed->crc, header.crc);
}

TEST(FrameTest, AnyFlippedBitOfAFrameHeaderIsNoticed) {
  FrameHeader header = SomeFrame();
  std::string bytes(kFrameHeaderBytes, '\0');
  EncodeFrameHeader(header, bytes.data());

  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(ParseFrameHeader(flipped).has_value()) << "bit " << bit;
  }
  EXPECT_FALSE(ParseFrameHeader(std::string_view(bytes).substr(1)).has_value());
}

TEST(FrameTest, ASegmentHeaderComesBackAndAnyFlippedBitIsNoticed) {
  const std::string block = EncodeSegmentHeader(SomeSegment());
  ASSERT_EQ(block.size(), kSegmentHeaderBytes);

  const absl::StatusOr<SegmentHeader> parsed = ParseSegmentHeader(block);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->shard_name, "shard-0");
  EXPECT_EQ(parsed->base, LogPosition{1000});
  EXPECT_EQ(parsed->first_index, LogIndex{5});
  EXPECT_EQ(parsed->previous_term, Term{2});
  EXPECT_EQ(parsed->previous_time_ms, 77);
  EXPECT_EQ(parsed->chain, 0xABCDu);
  EXPECT_EQ(parsed->file_bytes, uint64_t{1 << 20});

  for (size_t bit = 0; bit < block.size() * 8; ++bit) {
    std::string flipped = block;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(ParseSegmentHeader(flipped).ok()) << "bit " << bit;
  }
  EXPECT_FALSE(ParseSegmentHeader(block.substr(0, 4095)).ok());
}

TEST(FrameTest, RecordsSplitAndVerifyOneByOne) {
  const LogPosition position{1 << 20};
  const std::string payload = Payload({"one", "", std::string(5000, 'x')}, position);

  std::vector<RecordView> records;
  ASSERT_TRUE(SplitRecords(payload, 3, records));
  for (const RecordView& record : records) {
    const std::optional<RecordView> alone =
        ParseRecord(std::string_view(payload).substr(record.offset), {position.value + record.offset});
    ASSERT_TRUE(alone.has_value());
    EXPECT_EQ(alone->body, record.body);
    EXPECT_EQ(alone->type, RecordType::kMessage);
  }
  EXPECT_EQ(CountRecords(payload), 3u);
  EXPECT_FALSE(SplitRecords(payload, 2, records));
  EXPECT_FALSE(SplitRecords(std::string_view(payload).substr(0, payload.size() - 1), 3, records));
}

TEST(FrameTest, ARecordIsNotValidAtAnotherPosition) {
  const std::string payload = Payload({"one"}, {100});

  EXPECT_TRUE(ParseRecord(payload, {100}).has_value());
  EXPECT_FALSE(ParseRecord(payload, {101}).has_value());
}

TEST(FrameTest, AnyFlippedBitOfARecordIsNoticed) {
  const std::string payload = Payload({"some body"}, {100});

  for (size_t bit = 0; bit < payload.size() * 8; ++bit) {
    std::string flipped = payload;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(ParseRecord(flipped, {100}).has_value()) << "bit " << bit;
  }
}

TEST(RaftStateTest, ASlotComesBackAndAnyFlippedBitIsNoticed) {
  const RaftStateSlot slot{.sequence = 12,
                           .state = {.shard_name = "shard-0",
                                     .term = {5},
                                     .vote = 2,
                                     .node_id = 1,
                                     .members_index = {9},
                                     .voters = {1, 2, 3},
                                     .learners = {4},
                                     .voters_outgoing = {1, 2},
                                     .learners_next = {5},
                                     .auto_leave = true,
                                     .committed = {77},
                                     .committed_end = {1234}}};
  const std::string bytes = EncodeRaftStateSlot(slot);
  ASSERT_EQ(bytes.size(), kRaftStateSlotBytes);

  const std::optional<RaftStateSlot> parsed = ParseRaftStateSlot(bytes);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->sequence, 12u);
  EXPECT_EQ(parsed->state.shard_name, "shard-0");
  EXPECT_EQ(parsed->state.term, Term{5});
  EXPECT_EQ(parsed->state.vote, 2u);
  EXPECT_EQ(parsed->state.members_index, LogIndex{9});
  EXPECT_EQ(parsed->state.voters, (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(parsed->state.learners, std::vector<uint64_t>{4});
  EXPECT_EQ(parsed->state.voters_outgoing, (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(parsed->state.learners_next, std::vector<uint64_t>{5});
  EXPECT_TRUE(parsed->state.auto_leave);
  EXPECT_EQ(parsed->state.committed, LogIndex{77});
  EXPECT_EQ(parsed->state.committed_end, LogPosition{1234});

  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(ParseRaftStateSlot(flipped).has_value()) << "bit " << bit;
  }
}

TEST(SegmentNamesTest, NamesComeBackAndOthersAreIgnored) {
  EXPECT_EQ(SegmentPath("/log", {42}), "/log/segments/00000000000000000042.seg");
  EXPECT_EQ(ParseSegmentName("00000000000000000042.seg"), LogPosition{42});
  EXPECT_EQ(ParseSpareName("spare-0000000007.free"), 7u);
  EXPECT_EQ(ParseUnfinishedSpareName("spare-0000000007.tmp"), 7u);

  for (const char* name : {"", ".seg", "42.seg", "0000000000000000004x.seg", "99999999999999999999.seg",
                           "-0000000000000000042.seg", "00000000000000000042.seg.bak"})
    EXPECT_FALSE(ParseSegmentName(name).has_value()) << name;
  for (const char* name : {"", "spare-.free", "spare-7.free", "spare-0000000007.fre", "spare.free"})
    EXPECT_FALSE(ParseSpareName(name).has_value()) << name;
}

}  // namespace
}  // namespace fulmar::log
