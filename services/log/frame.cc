#include "services/log/frame.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "services/common/crc32c.h"
#include "services/common/status.h"
#include "services/log/coding.h"

namespace fulmar::log {
namespace {

using common::Crc32c;
using common::Crc32cExtend;

constexpr uint64_t kSegmentMagic = 0x31474F4C4D4C5546;  // "FULMLOG1"
constexpr uint32_t kFrameMagic = 0x4D52464C;            // "LFRM"

// Offsets in the segment header block.
constexpr size_t kSegVersion = 8, kSegCrc = 12, kSegBase = 16, kSegFirstIndex = 24, kSegPreviousTerm = 32,
                 kSegPreviousTime = 40, kSegFileBytes = 48, kSegChain = 56, kSegNameBytes = 60, kSegName = 64;

// Offsets in a frame header. The checksum covers everything behind itself.
constexpr size_t kFrCrc = 4, kFrPosition = 8, kFrIndex = 16, kFrTerm = 24, kFrTime = 32, kFrPayloadBytes = 40,
                 kFrPayloadCrc = 44, kFrChain = 48, kFrDurableLag = 52, kFrRecordCount = 56, kFrKind = 60;

// Offsets in a record header. The checksum covers everything behind itself and the body.
constexpr size_t kRecLength = 4, kRecType = 8;

uint32_t SegmentCrc(std::string_view block) {
  constexpr std::string_view kNoCrc("\0\0\0\0", 4);
  return Crc32cExtend(Crc32cExtend(Crc32c(block.substr(0, kSegCrc)), kNoCrc), block.substr(kSegCrc + 4));
}

// The position is part of a record's checksum: bytes that were right somewhere else are not right here.
uint32_t RecordCrc(std::string_view record, LogPosition position) {
  char seed[8];
  Put<int64_t>(seed, position.value);
  return Crc32cExtend(Crc32c({seed, sizeof(seed)}), record.substr(kRecLength));
}

// False: lengths do not add up.
template <class Visit>
bool ForEachRecord(std::string_view payload, Visit visit) {
  size_t offset = 0;
  while (offset < payload.size()) {
    if (payload.size() - offset < kRecordHeaderBytes) return false;
    const char* in = payload.data() + offset;
    const uint32_t length = Get<uint32_t>(in + kRecLength);
    const uint32_t type = Get<uint32_t>(in + kRecType);
    if (length > payload.size() - offset - kRecordHeaderBytes || type > 0xFF) return false;
    visit(RecordView{static_cast<RecordType>(type), static_cast<uint32_t>(offset),
                     payload.substr(offset + kRecordHeaderBytes, length)});
    offset += kRecordHeaderBytes + length;
  }
  return true;
}

bool FitsLog(int64_t value) { return value >= 0 && value <= std::numeric_limits<int64_t>::max() / 2; }

}  // namespace

std::string EncodeSegmentHeader(const SegmentHeader& header) {
  FULMAR_CHECK(header.shard_name.size() <= kMaxShardNameBytes, header.shard_name);
  std::string block(kSegmentHeaderBytes, '\0');
  char* out = block.data();
  Put<uint64_t>(out, kSegmentMagic);
  Put<uint32_t>(out + kSegVersion, kFormatVersion);
  Put<int64_t>(out + kSegBase, header.base.value);
  Put<int64_t>(out + kSegFirstIndex, header.first_index.value);
  Put<int64_t>(out + kSegPreviousTerm, header.previous_term.value);
  Put<int64_t>(out + kSegPreviousTime, header.previous_time_ms);
  Put<uint64_t>(out + kSegFileBytes, header.file_bytes);
  Put<uint32_t>(out + kSegChain, header.chain);
  Put<uint32_t>(out + kSegNameBytes, static_cast<uint32_t>(header.shard_name.size()));
  std::copy(header.shard_name.begin(), header.shard_name.end(), out + kSegName);
  Put<uint32_t>(out + kSegCrc, SegmentCrc(block));
  return block;
}

absl::StatusOr<SegmentHeader> ParseSegmentHeader(std::string_view block) {
  if (block.size() < kSegmentHeaderBytes) return absl::DataLossError("segment header is cut off");
  block = block.substr(0, kSegmentHeaderBytes);
  const char* in = block.data();
  if (Get<uint64_t>(in) != kSegmentMagic) return absl::DataLossError("segment header has no magic number");
  if (const uint32_t stored = Get<uint32_t>(in + kSegCrc), computed = SegmentCrc(block); stored != computed)
    return absl::DataLossError(
        absl::StrCat("segment header has checksum ", absl::Hex(stored), ", its bytes give ", absl::Hex(computed)));
  if (const uint32_t version = Get<uint32_t>(in + kSegVersion); version != kFormatVersion)
    return absl::FailedPreconditionError(
        absl::StrCat("segment has format version ", version, ", this build knows ", kFormatVersion));

  SegmentHeader header;
  header.base.value = Get<int64_t>(in + kSegBase);
  header.first_index.value = Get<int64_t>(in + kSegFirstIndex);
  header.previous_term.value = Get<int64_t>(in + kSegPreviousTerm);
  header.previous_time_ms = Get<int64_t>(in + kSegPreviousTime);
  header.file_bytes = Get<uint64_t>(in + kSegFileBytes);
  header.chain = Get<uint32_t>(in + kSegChain);
  const uint32_t name_bytes = Get<uint32_t>(in + kSegNameBytes);
  if (!FitsLog(header.base.value) || !FitsLog(header.first_index.value) || header.first_index.value == 0 ||
      !FitsLog(header.previous_term.value) || name_bytes > kMaxShardNameBytes)
    return absl::DataLossError("segment header has impossible values");
  header.shard_name = std::string(block.substr(kSegName, name_bytes));
  return header;
}

void EncodeFrameHeader(FrameHeader& header, char* out) {
  Put<uint32_t>(out, kFrameMagic);
  Put<int64_t>(out + kFrPosition, header.position.value);
  Put<int64_t>(out + kFrIndex, header.index.value);
  Put<int64_t>(out + kFrTerm, header.term.value);
  Put<int64_t>(out + kFrTime, header.time_ms);
  Put<uint32_t>(out + kFrPayloadBytes, header.payload_bytes);
  Put<uint32_t>(out + kFrPayloadCrc, header.payload_crc);
  Put<uint32_t>(out + kFrChain, header.chain);
  Put<uint32_t>(out + kFrDurableLag, header.durable_lag);
  Put<uint32_t>(out + kFrRecordCount, header.record_count);
  Put<uint32_t>(out + kFrKind, static_cast<uint32_t>(header.kind));  // three zero bytes behind it
  header.crc = Crc32c({out + kFrPosition, kFrameHeaderBytes - kFrPosition});
  Put<uint32_t>(out + kFrCrc, header.crc);
}

std::optional<FrameHeader> ParseFrameHeader(std::string_view bytes) {
  if (bytes.size() < kFrameHeaderBytes) return std::nullopt;
  const char* in = bytes.data();
  if (Get<uint32_t>(in) != kFrameMagic) return std::nullopt;
  FrameHeader header;
  header.crc = Get<uint32_t>(in + kFrCrc);
  if (header.crc != Crc32c({in + kFrPosition, kFrameHeaderBytes - kFrPosition})) return std::nullopt;
  header.position.value = Get<int64_t>(in + kFrPosition);
  header.index.value = Get<int64_t>(in + kFrIndex);
  header.term.value = Get<int64_t>(in + kFrTerm);
  header.time_ms = Get<int64_t>(in + kFrTime);
  header.payload_bytes = Get<uint32_t>(in + kFrPayloadBytes);
  header.payload_crc = Get<uint32_t>(in + kFrPayloadCrc);
  header.chain = Get<uint32_t>(in + kFrChain);
  header.durable_lag = Get<uint32_t>(in + kFrDurableLag);
  header.record_count = Get<uint32_t>(in + kFrRecordCount);
  const uint32_t kind = Get<uint32_t>(in + kFrKind);
  if (kind > static_cast<uint32_t>(EntryKind::kTermStart)) return std::nullopt;
  header.kind = static_cast<EntryKind>(kind);
  if (!FitsLog(header.position.value) || !FitsLog(header.index.value) || header.index.value == 0 ||
      !FitsLog(header.term.value) || header.payload_bytes > kMaxPayloadBytes)
    return std::nullopt;
  return header;
}

void PutRecordHeader(char* out, RecordType type, uint32_t body_bytes) {
  Put<uint32_t>(out, 0);
  Put<uint32_t>(out + kRecLength, body_bytes);
  Put<uint32_t>(out + kRecType, static_cast<uint32_t>(type));  // three zero bytes behind it
}

void SealRecords(char* payload, size_t size, LogPosition position) {
  size_t offset = 0;
  while (offset < size) {
    const size_t record_bytes = kRecordHeaderBytes + Get<uint32_t>(payload + offset + kRecLength);
    FULMAR_CHECK(offset + record_bytes <= size, absl::StrCat("record at ", offset, " of ", size));
    const LogPosition at{position.value + static_cast<int64_t>(offset)};
    Put<uint32_t>(payload + offset, RecordCrc({payload + offset, record_bytes}, at));
    offset += record_bytes;
  }
}

std::optional<RecordView> ParseRecord(std::string_view bytes, LogPosition position) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  const uint32_t length = Get<uint32_t>(bytes.data() + kRecLength);
  const uint32_t type = Get<uint32_t>(bytes.data() + kRecType);
  if (length > bytes.size() - kRecordHeaderBytes || type > 0xFF) return std::nullopt;
  const std::string_view record = bytes.substr(0, kRecordHeaderBytes + length);
  if (Get<uint32_t>(record.data()) != RecordCrc(record, position)) return std::nullopt;
  return RecordView{static_cast<RecordType>(type), 0, record.substr(kRecordHeaderBytes)};
}

bool SplitRecords(std::string_view payload, uint32_t record_count, std::vector<RecordView>& out) {
  out.clear();
  return ForEachRecord(payload, [&](const RecordView& record) { out.push_back(record); }) && out.size() == record_count;
}

std::optional<uint32_t> CountRecords(std::string_view payload) {
  uint32_t count = 0;
  if (!ForEachRecord(payload, [&](const RecordView&) { ++count; })) return std::nullopt;
  return count;
}

}  // namespace fulmar::log
