#ifndef FULMAR_LOG_FRAME_H_
#define FULMAR_LOG_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/ids.h"
#include "services/log/record.h"

namespace fulmar::log {

// The bytes of a segment file; drawn in docs/formats.md. Everything here is pure: bytes in, values out.
//
//   segment file:  [ header block 4096 ][ frame ][ frame ] ... [ zeros, or frames of the file's earlier life ]
//   frame:         [ frame header 64 ][ payload ]            one Raft entry
//   payload:       [ record header 12 ][ body ] ...          for EntryKind::kRecords; opaque for the others
//
// A position counts the bytes of frames since the log began; header blocks do not count, so that it does not depend on
// where a replica cut its segments:  offset in file = kSegmentHeaderBytes + position - base.

inline constexpr size_t kSegmentHeaderBytes = 4096;
inline constexpr size_t kFrameHeaderBytes = 64;
inline constexpr size_t kRecordHeaderBytes = 12;
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr size_t kMaxShardNameBytes = 255;
inline constexpr uint32_t kMaxPayloadBytes = 1u << 30;

struct SegmentHeader {
  std::string shard_name;
  LogPosition base;
  LogIndex first_index;
  Term previous_term;             // of entry first_index - 1
  int64_t previous_time_ms = 0;   // of that entry: what it was when the segment before was sealed
  uint32_t chain = 0;             // header checksum of that entry's frame
  uint64_t file_bytes = 0;        // length that the file was prepared with
};

// kSegmentHeaderBytes long. The shard name is at most kMaxShardNameBytes.
std::string EncodeSegmentHeader(const SegmentHeader& header);
// Errors: DataLoss (what is wrong), FailedPrecondition (a format version that this build does not know).
absl::StatusOr<SegmentHeader> ParseSegmentHeader(std::string_view block);

// What a Raft entry carries. Numbers are on disk.
enum class EntryKind : uint8_t {
  kRecords = 0,     // a batch of records
  kConfChange = 1,  // a change of members, as the Raft engine encodes it
  kTermStart = 2,   // nothing: a new leader's first entry
};

struct FrameHeader {
  LogPosition position;        // of this header: a frame left over from the file's earlier life has a smaller one
  LogIndex index;
  Term term;
  int64_t time_ms = 0;
  uint32_t payload_bytes = 0;
  uint32_t payload_crc = 0;
  uint32_t chain = 0;          // `crc` of the frame before
  uint32_t durable_lag = 0;    // how far before `position` the log was known durable when this was laid out; saturates
  uint32_t record_count = 0;
  EntryKind kind = EntryKind::kRecords;
  uint32_t crc = 0;            // of this header

  LogPosition end() const {
    return {position.value + static_cast<int64_t>(kFrameHeaderBytes) + static_cast<int64_t>(payload_bytes)};
  }
  int64_t durable_end() const { return position.value - static_cast<int64_t>(durable_lag); }
};

// Writes kFrameHeaderBytes to `out` and sets header.crc.
void EncodeFrameHeader(FrameHeader& header, char* out);
// Nullopt: not a frame header (magic, checksum, impossible fields).
std::optional<FrameHeader> ParseFrameHeader(std::string_view bytes);

// A record inside a payload.
struct RecordView {
  RecordType type;
  uint32_t offset = 0;  // of its header in the payload
  std::string_view body;
};

// Writes kRecordHeaderBytes to `out`, the checksum still zero: SealRecords fills it where time costs less.
void PutRecordHeader(char* out, RecordType type, uint32_t body_bytes);
// Fills the checksum of every record of a payload made by PutRecordHeader. `position` is that of the payload's first byte.
void SealRecords(char* payload, size_t size, LogPosition position);
// The record at the beginning of `bytes`, its checksum verified against its position. Nullopt: damaged or cut off.
std::optional<RecordView> ParseRecord(std::string_view bytes, LogPosition position);
// Splits a payload whose checksum is already known to be right. False: lengths do not add up to `record_count` records.
bool SplitRecords(std::string_view payload, uint32_t record_count, std::vector<RecordView>& out);
// How many records a payload splits into; nullopt: lengths do not add up.
std::optional<uint32_t> CountRecords(std::string_view payload);

}  // namespace fulmar::log

#endif  // FULMAR_LOG_FRAME_H_
