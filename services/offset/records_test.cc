#include "services/offset/records.h"

#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace fulmar::offset {
namespace {

const DefinitionCounters kCounters{.next_topic_id = 8, .version = 300};
const std::string kCountersHex = "01" "08000000" "2c01000000000000";

template <class T>
std::string Hex(const T& record) {
  return absl::BytesToHexString(Encode(record));
}

std::string HexOf(const std::string& bytes) { return absl::BytesToHexString(bytes); }

TEST(RecordsTest, EncodeToTheBytesThatAreOnDisk) {
  const index::TopicDefinition topic{.name = "t", .topic_id = 7};
  const index::GroupDefinition group{.name = "g", .version = 9};
  const Deletion deletion{.kind = Deletion::Kind::kTopic, .name = "t", .topic_id = 7, .version = 300};
  const std::string deletion_hex = "01" "01" "0174" "07000000" "2c01000000000000";

  EXPECT_EQ(Hex(kCounters), kCountersHex);
  EXPECT_EQ(Hex(TopicRecord{kCounters, topic}), kCountersHex + HexOf(index::Encode(topic)));
  EXPECT_EQ(Hex(GroupRecord{kCounters, group}), kCountersHex + HexOf(index::Encode(group)));
  EXPECT_EQ(Hex(deletion), deletion_hex);
  EXPECT_EQ(Hex(DeletionRecord{.counters = kCounters, .deletion = deletion}), kCountersHex + "00" + deletion_hex);
  EXPECT_EQ(Hex(DeletionRecord{.counters = kCounters, .again = true, .deletion = deletion}),
            kCountersHex + "01" + deletion_hex);
  EXPECT_EQ(Hex(ClaimRecord{"s", Term{5}}), "01" "0500000000000000" "0173");
  const index::QueueProgress progress{.group = "g", .topic_id = 1, .queue = 2, .cursor = 3};
  const std::string entry = index::Encode(progress);
  EXPECT_EQ(Hex(ProgressRecord{"s", Term{5}, {progress}}),
            "01" "0500000000000000" "0173" "01" + HexOf(std::string(1, static_cast<char>(entry.size()))) + HexOf(entry));
}

template <class Decode>
void ExpectCutsAreDataLoss(const std::string& bytes, Decode decode) {
  EXPECT_TRUE(decode(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(decode(bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss) << size;
  }
  EXPECT_EQ(decode(bytes + "x").status().code(), absl::StatusCode::kDataLoss);
  std::string other_format = bytes;
  other_format[0] = 9;
  EXPECT_EQ(decode(other_format).status().code(), absl::StatusCode::kDataLoss);
}

TEST(RecordsTest, CutLengthenedOrForeignBytesAreDataLoss) {
  ExpectCutsAreDataLoss(Encode(kCounters), [](auto bytes) { return DecodeCountersRecord(bytes); });
  ExpectCutsAreDataLoss(Encode(TopicRecord{kCounters, {.name = "t"}}), [](auto bytes) { return DecodeTopicRecord(bytes); });
  ExpectCutsAreDataLoss(Encode(GroupRecord{kCounters, {.name = "g"}}), [](auto bytes) { return DecodeGroupRecord(bytes); });
  ExpectCutsAreDataLoss(Encode(DeletionRecord{.counters = kCounters, .deletion = {.name = "t"}}),
                        [](auto bytes) { return DecodeDeletionRecord(bytes); });
  ExpectCutsAreDataLoss(Encode(ClaimRecord{"s", Term{5}}), [](auto bytes) { return DecodeClaimRecord(bytes); });
  ExpectCutsAreDataLoss(Encode(ProgressRecord{"s", Term{5}, {{.group = "g"}, {.group = "h"}}}),
                        [](auto bytes) { return DecodeProgressRecord(bytes); });
}

TEST(RecordsTest, DecodeToWhatWasEncoded) {
  const Deletion deletion{.kind = Deletion::Kind::kGroup, .name = "g", .version = 4};
  EXPECT_EQ(DecodeDeletionRecord(Encode(DeletionRecord{kCounters, true, deletion}))->deletion, deletion);
  EXPECT_TRUE(DecodeDeletionRecord(Encode(DeletionRecord{kCounters, true, deletion}))->again);
  EXPECT_EQ(DecodeCountersRecord(Encode(kCounters)).value(), kCounters);
  const auto progress = DecodeProgressRecord(Encode(ProgressRecord{"s", Term{5}, {{.group = "g"}, {.group = "h"}}}));
  EXPECT_EQ(progress->shard, "s");
  EXPECT_EQ(progress->term, Term{5});
  EXPECT_EQ(progress->entries, (std::vector<index::QueueProgress>{{.group = "g"}, {.group = "h"}}));
}

}  // namespace
}  // namespace fulmar::offset
