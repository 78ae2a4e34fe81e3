#ifndef FULMAR_LOG_SEGMENT_TABLE_H_
#define FULMAR_LOG_SEGMENT_TABLE_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "services/common/ids.h"
#include "services/log/cold_reader.h"
#include "services/log/recovery.h"
#include "services/log/replicated_log.h"

namespace fulmar::log {

// The segments of a log as its shard sees them, oldest first; the last one is open. Never empty.
// Threads: one (the shard's).
class SegmentTable {
 public:
  SegmentTable(std::string dir, const std::vector<RecoveredSegment>& recovered);

  // The segment that holds the byte at `position`; null when it was removed. The open one for everything behind its begin.
  const RecoveredSegment* Find(LogPosition position) const;
  const RecoveredSegment& open() const { return segments_.back(); }
  const RecoveredSegment& oldest() const { return segments_.front(); }
  // An entry that ends at `end` was laid out in the open segment.
  void Extend(LogPosition end, int64_t time_ms);
  // Where the entry would end in the open segment's file.
  uint64_t FileEndWith(uint64_t frame_bytes) const;
  bool FitsOpen(uint64_t frame_bytes) const { return FileEndWith(frame_bytes) <= open().header.file_bytes; }
  // A new open segment.
  void Add(SegmentHeader header);
  // Takes the sealed segments that end at or below `position` out.
  std::vector<RecoveredSegment> RemoveBelow(LogPosition position);
  // Makes `position` the end again, behind an entry of `time_ms`; returns the segments that began behind it, newest first.
  std::vector<RecoveredSegment> TruncateTo(LogPosition position, int64_t time_ms);

  std::vector<SegmentInfo> Infos() const;
  size_t size() const { return segments_.size(); }
  uint64_t file_bytes() const;

 private:
  const std::string dir_;
  std::deque<RecoveredSegment> segments_;
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_SEGMENT_TABLE_H_
