#include "services/log/frame_scanner.h"

#include <algorithm>
#include <cstring>

#include "services/common/crc32c.h"
#include "services/common/status.h"

namespace fulmar::log {
namespace {

constexpr size_t kReadAhead = 1 << 20;

}  // namespace

LogCursor LogCursor::AtBeginOf(const SegmentHeader& header) {
  return {.position = header.base,
          .next_index = header.first_index,
          .term = header.previous_term,
          .time_ms = header.previous_time_ms,
          .chain = header.chain};
}

void LogCursor::Pass(const FrameHeader& frame) {
  position = frame.end();
  next_index = {frame.index.value + 1};
  term = frame.term;
  time_ms = frame.time_ms;
  chain = frame.crc;
}

FrameScanner::FrameScanner(const common::File& file, LogPosition base, LogCursor cursor)
    : file_(file), base_(base), cursor_(cursor) {}

absl::StatusOr<std::string_view> FrameScanner::Fetch(uint64_t offset, size_t size) {
  const bool inside = offset >= buffer_offset_ && offset + size <= buffer_offset_ + buffer_size_;
  if (!inside) {
    const size_t wanted = std::max(size, kReadAhead);
    if (wanted > buffer_capacity_) {
      buffer_ = std::make_unique_for_overwrite<char[]>(wanted);
      buffer_capacity_ = wanted;
    }
    buffer_size_ = 0;
    FULMAR_ASSIGN_OR_RETURN(buffer_size_, file_.PRead(offset, wanted, buffer_.get()));
    buffer_offset_ = offset;
  }
  const size_t skip = offset - buffer_offset_;
  return std::string_view(buffer_.get() + skip, std::min(size, buffer_size_ - skip));
}

absl::StatusOr<std::optional<ScannedFrame>> FrameScanner::Next() {
  const uint64_t offset = OffsetOf(cursor_.position);
  FULMAR_ASSIGN_OR_RETURN(std::string_view bytes, Fetch(offset, kFrameHeaderBytes));
  const std::optional<FrameHeader> header = ParseFrameHeader(bytes);
  if (!header.has_value() || header->position != cursor_.position || header->index != cursor_.next_index ||
      header->term < cursor_.term || (cursor_.chain.has_value() && header->chain != *cursor_.chain))
    return std::nullopt;

  // A payload that cannot be inside the file must not make us allocate for it.
  if (!file_bytes_.has_value()) {
    FULMAR_ASSIGN_OR_RETURN(file_bytes_, file_.Size());
  }
  if (offset + kFrameHeaderBytes + header->payload_bytes > *file_bytes_) return std::nullopt;
  FULMAR_ASSIGN_OR_RETURN(bytes, Fetch(offset, kFrameHeaderBytes + header->payload_bytes));
  const std::string_view payload = bytes.substr(kFrameHeaderBytes);
  if (payload.size() != header->payload_bytes || common::Crc32c(payload) != header->payload_crc) return std::nullopt;
  if (header->kind == EntryKind::kRecords && !SplitRecords(payload, header->record_count, records_)) return std::nullopt;

  cursor_.Pass(*header);
  return ScannedFrame{*header, payload};
}

absl::StatusOr<bool> FrameScanner::HasBytesAtCursor() {
  FULMAR_ASSIGN_OR_RETURN(const std::string_view bytes, Fetch(OffsetOf(cursor_.position), kFrameHeaderBytes));
  return std::any_of(bytes.begin(), bytes.end(), [](char byte) { return byte != 0; });
}

absl::StatusOr<std::optional<FrameHeader>> FrameScanner::FindProofOfDamage() {
  constexpr std::string_view kMagic = "LFRM";
  uint64_t offset = OffsetOf(cursor_.position);
  while (true) {
    FULMAR_ASSIGN_OR_RETURN(const std::string_view bytes, Fetch(offset, kReadAhead));
    if (bytes.size() < kFrameHeaderBytes) return std::nullopt;
    size_t at = bytes.find(kMagic);
    for (; at != std::string_view::npos && at + kFrameHeaderBytes <= bytes.size(); at = bytes.find(kMagic, at + 1)) {
      const std::optional<FrameHeader> header = ParseFrameHeader(bytes.substr(at));
      // A frame of the file's earlier life claims another position.
      if (header.has_value() && OffsetOf(header->position) == offset + at &&
          header->durable_end() > cursor_.position.value)
        return header;
    }
    // A header that straddles two pieces is seen whole in the second.
    offset += bytes.size() - (kFrameHeaderBytes - 1);
  }
}

}  // namespace fulmar::log
