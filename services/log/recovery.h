#ifndef FULMAR_LOG_RECOVERY_H_
#define FULMAR_LOG_RECOVERY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/statusor.h"
#include "services/common/files.h"
#include "services/common/ids.h"
#include "services/log/frame.h"
#include "services/log/frame_scanner.h"
#include "services/log/raft_state.h"
#include "services/log/replicated_log.h"
#include "services/log/segment_names.h"

namespace fulmar::log {

struct EntryMeta {
  LogIndex index;
  Term term;
  EntryKind kind = EntryKind::kRecords;
  uint32_t payload_bytes = 0;
  int64_t time_ms = 0;
};

struct RecoveredSegment {
  SegmentHeader header;
  std::string path;
  LogPosition end;
  int64_t last_time_ms = 0;  // of its last entry; of the entry before when it has none
  bool empty = true;         // holds no entry
};

// What Open() finds.
struct RecoveredLog {
  std::vector<RecoveredSegment> segments;      // oldest first, never empty; the last one is open
  std::unique_ptr<common::File> open_file;     // of the last segment; all of it is durable
  LogCursor end;                               // what the next frame must fit to
  LogPosition surely_durable;                  // what the last entry knew to be durable when it was written
  std::vector<EntryMeta> entries;              // those that may not be committed: all that Raft still has to decide on
  absl::btree_map<int64_t, std::string> conf_changes;  // payloads of those entries that change the members, by index
  LogIndex before_index;                       // the entry before `entries`; it and all before are committed
  Term before_term;
  bool holds_applied = false;                  // the applied point was met
  std::vector<SpareFile> spares;
  uint64_t next_spare_number = 1;
  std::string cut;  // where a torn tail was cut ("<file> at byte <n>"); empty: the log ended cleanly
};

// Size of the first segment of a new log: small, so that a first start does not wait for a whole one to be filled. And what
// segments shrink to when space is short.
inline constexpr uint64_t kFirstSegmentBytes = 16 << 20;
uint64_t MinSpareBytes(const LogOptions& options);

// Reads the segments of a log back: every frame from the segment of `applied` to the end is verified; older segments by
// their headers only. Cuts a torn tail. Creates the first segment when there is none and `state` says that nothing was
// ever committed. Blocking.
// Errors: DataLoss (damage, naming file and byte; a hole; an applied point that is not in the log), FailedPrecondition
// (another shard's files, another format version), as Files.
absl::StatusOr<RecoveredLog> RecoverSegments(common::Files& files, const LogOptions& options, const RaftState& state,
                                             const AppliedPoint& applied);

// The segments of a log by their headers, oldest first: names, order, shard. Ends are known for all but the last.
absl::StatusOr<std::vector<RecoveredSegment>> ListSegments(common::Files& files, const std::string& dir);

// The error for an unusable frame at `scanner`'s cursor in the file `path`.
absl::Status DamageAt(const std::string& path, const FrameScanner& scanner, std::string_view why);

// Writes the header into the prepared file `from`, and gives it its name as a segment; durable when it returns OK.
// `file` is open on `from` for writing.
absl::Status TurnIntoSegment(common::Files& files, common::File& file, const std::string& from, std::string_view dir,
                             const SegmentHeader& header);

}  // namespace fulmar::log

#endif  // FULMAR_LOG_RECOVERY_H_
