#ifndef FULMAR_LOG_SEGMENT_NAMES_H_
#define FULMAR_LOG_SEGMENT_NAMES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "services/common/ids.h"

namespace fulmar::log {

// The files of a log's folder:
//   LOCK                                 held while the log is open
//   raft.state                           term, vote, voters (raft_state.h)
//   segments/00000000000000000000.seg    a segment; the number is the position of its first frame
//   segments/spare-0000000007.free       prepared (zero-filled or recycled) for the next roll
//   segments/spare-0000000008.tmp        being prepared; removed at Open
std::string SegmentsDir(std::string_view dir);
std::string RaftStatePath(std::string_view dir);
std::string LockPath(std::string_view dir);
std::string SegmentPath(std::string_view dir, LogPosition base);
std::string SparePath(std::string_view dir, uint64_t number);
std::string UnfinishedSparePath(std::string_view dir, uint64_t number);

// A prepared file.
struct SpareFile {
  uint64_t number = 0;
  uint64_t file_bytes = 0;
};

// What a name inside SegmentsDir() means; nullopt when it is not of that kind.
std::optional<LogPosition> ParseSegmentName(std::string_view name);
std::optional<uint64_t> ParseSpareName(std::string_view name);
std::optional<uint64_t> ParseUnfinishedSpareName(std::string_view name);

}  // namespace fulmar::log

#endif  // FULMAR_LOG_SEGMENT_NAMES_H_
