#include "services/log/segment_table.h"

#include <algorithm>
#include <utility>

#include "services/common/status.h"
#include "services/log/segment_names.h"

namespace fulmar::log {

SegmentTable::SegmentTable(std::string dir, const std::vector<RecoveredSegment>& recovered)
    : dir_(std::move(dir)), segments_(recovered.begin(), recovered.end()) {
  FULMAR_CHECK(!segments_.empty());
}

const RecoveredSegment* SegmentTable::Find(LogPosition position) const {
  const auto behind =
      std::upper_bound(segments_.begin(), segments_.end(), position,
                       [](LogPosition at, const RecoveredSegment& segment) { return at < segment.header.base; });
  return behind == segments_.begin() ? nullptr : &*std::prev(behind);
}

void SegmentTable::Extend(LogPosition end, int64_t time_ms) {
  RecoveredSegment& open = segments_.back();
  open.end = end;
  open.last_time_ms = time_ms;
  open.empty = false;
  // A frame that had to be written without a spare makes the file longer than it was prepared.
  open.header.file_bytes = std::max(open.header.file_bytes, FileEndWith(0));
}

uint64_t SegmentTable::FileEndWith(uint64_t frame_bytes) const {
  return kSegmentHeaderBytes + static_cast<uint64_t>(open().end.value - open().header.base.value) + frame_bytes;
}

void SegmentTable::Add(SegmentHeader header) {
  RecoveredSegment segment{.header = std::move(header)};
  segment.path = SegmentPath(dir_, segment.header.base);
  segment.end = segment.header.base;
  segment.last_time_ms = segment.header.previous_time_ms;
  segments_.push_back(std::move(segment));
}

std::vector<RecoveredSegment> SegmentTable::RemoveBelow(LogPosition position) {
  std::vector<RecoveredSegment> removed;
  while (segments_.size() > 1 && segments_.front().end <= position) {
    removed.push_back(std::move(segments_.front()));
    segments_.pop_front();
  }
  return removed;
}

std::vector<RecoveredSegment> SegmentTable::TruncateTo(LogPosition position, int64_t time_ms) {
  std::vector<RecoveredSegment> removed;
  while (segments_.size() > 1 && segments_.back().header.base > position) {
    removed.push_back(std::move(segments_.back()));
    segments_.pop_back();
  }
  segments_.back().end = position;
  segments_.back().last_time_ms = time_ms;
  segments_.back().empty = position == segments_.back().header.base;
  return removed;
}

std::vector<SegmentInfo> SegmentTable::Infos() const {
  std::vector<SegmentInfo> infos;
  infos.reserve(segments_.size());
  for (const RecoveredSegment& segment : segments_)
    infos.push_back({.base = segment.header.base,
                     .end = segment.end,
                     .first_index = segment.header.first_index,
                     .file_bytes = segment.header.file_bytes,
                     .last_entry_time = segment.empty ? absl::InfinitePast() : absl::FromUnixMillis(segment.last_time_ms),
                     .sealed = &segment != &segments_.back()});
  return infos;
}

uint64_t SegmentTable::file_bytes() const {
  uint64_t bytes = 0;
  for (const RecoveredSegment& segment : segments_) bytes += segment.header.file_bytes;
  return bytes;
}

}  // namespace fulmar::log
