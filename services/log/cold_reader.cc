#include "services/log/cold_reader.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/log/recovery.h"

namespace fulmar::log {

absl::StatusOr<std::shared_ptr<const common::File>> ColdReader::FileOf(const Segment& segment) {
  absl::MutexLock lock(&mutex_);
  const auto found = std::find_if(open_.begin(), open_.end(),
                                  [&](const OpenFile& open) { return open.base == segment.base; });
  if (found != open_.end()) {
    open_.splice(open_.begin(), open_, found);
    return open_.front().file;
  }
  FULMAR_ASSIGN_OR_RETURN(std::shared_ptr<const common::File> file,
                          files_.Open(segment.path, common::OpenMode::kRead));
  open_.push_front({segment.base, file});
  if (open_.size() > kMaxOpenFiles) open_.pop_back();
  return file;
}

void ColdReader::Forget(LogPosition base) {
  absl::MutexLock lock(&mutex_);
  open_.remove_if([&](const OpenFile& open) { return open.base == base; });
}

absl::StatusOr<common::SharedBytes> ColdReader::ReadRecord(const Segment& segment, LogPosition position,
                                                           uint32_t length) {
  FULMAR_ASSIGN_OR_RETURN(const std::shared_ptr<const common::File> file, FileOf(segment));
  const uint64_t offset = kSegmentHeaderBytes + static_cast<uint64_t>(position.value - segment.base.value);
  const size_t size = kRecordHeaderBytes + length;
  // The length is what an index says: a wrong one must not make us allocate for it.
  FULMAR_ASSIGN_OR_RETURN(const uint64_t file_bytes, file->Size());
  if (offset > file_bytes || size > file_bytes - offset)
    return absl::DataLossError(absl::StrCat(segment.path, " has ", file_bytes, " bytes and cannot hold a record of ", length, " bytes at byte ",
                                            offset, " (position ", position.value, ")"));
  std::shared_ptr<char[]> bytes = std::make_shared_for_overwrite<char[]>(size);
  FULMAR_ASSIGN_OR_RETURN(const size_t got, file->PRead(offset, size, bytes.get()));
  const std::optional<RecordView> record = ParseRecord({bytes.get(), got}, position);
  if (!record.has_value() || record->body.size() != length)
    return absl::DataLossError(absl::StrCat(segment.path, " is damaged at byte ", offset, " (position ", position.value,
                                            "): no valid record of ", length, " bytes"));
  return common::SharedBytes(std::move(bytes), record->body);
}

absl::StatusOr<std::vector<Entry>> ColdReader::ReadEntries(const Segment& segment, LogCursor from, LogIndex last,
                                                           int64_t max_bytes) {
  FULMAR_ASSIGN_OR_RETURN(const std::shared_ptr<const common::File> file, FileOf(segment));
  FrameScanner scanner(*file, segment.base, from);
  std::vector<Entry> entries;
  int64_t bytes = 0;
  while (scanner.cursor().next_index <= last && bytes < max_bytes) {
    FULMAR_ASSIGN_OR_RETURN(const std::optional<ScannedFrame> frame, scanner.Next());
    if (!frame.has_value()) break;  // perhaps the end of the segment: what is here is an answer
    const FrameHeader& header = frame->header;
    Entry entry{.index = header.index,
                .term = header.term,
                .kind = header.kind,
                .record_count = header.record_count,
                .time_ms = header.time_ms,
                .begin = header.position,
                .payload_bytes = header.payload_bytes,
                .memory_bytes = header.payload_bytes};
    if (header.payload_bytes > 0) {
      entry.payload = std::make_shared_for_overwrite<char[]>(header.payload_bytes);
      std::memcpy(entry.payload.get(), frame->payload.data(), header.payload_bytes);
    }
    bytes += static_cast<int64_t>(kFrameHeaderBytes) + header.payload_bytes;
    entries.push_back(std::move(entry));
  }
  if (entries.empty()) return DamageAt(segment.path, scanner, "no valid entry");
  return entries;
}

}  // namespace fulmar::log
