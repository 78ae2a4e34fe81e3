#ifndef FULMAR_LOG_SEGMENT_WRITER_H_
#define FULMAR_LOG_SEGMENT_WRITER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/clock.h"
#include "services/common/files.h"
#include "services/common/ids.h"
#include "services/log/entry.h"
#include "services/log/frame.h"
#include "services/log/raft_state.h"
#include "services/log/replicated_log.h"

namespace fulmar::log {

// One step of the writer, in the order of the fields. Every part that is done is taken out of the job, so a job that ended
// with ResourceExhausted can be given again.
struct WriteJob {
  // Raft's vote and term: durable before any entry or message that depends on it.
  std::optional<RaftState> state;
  // Entries from `to` on are void: another leader wrote others. `drop` are the segments that begin behind `to`.
  struct Truncate {
    LogPosition to;
    std::vector<std::string> drop;
    std::string open_path;      // of the segment that holds `to`
    LogPosition open_base;
    std::optional<LogPosition> previous;  // header of the entry that ends at `to`, when it lies in that segment
    uint32_t base_chain = 0;    // else the chain that the segment began with
  };
  std::optional<Truncate> truncate;
  // `entries` begin a new segment, which is made of this prepared file.
  struct Roll {
    std::string spare_path;
    SegmentHeader header;  // the writer fills in the chain
  };
  std::optional<Roll> roll;
  std::vector<Entry> entries;
  LogPosition durable_end;  // what was durable when the job was made
  bool sync = true;         // false: hand the bytes to the file system only
  uint64_t records = 0;     // for the observer
};

// The write end of a log: the open segment and raft.state.
// Threads: the writer executor only; calls block.
// Errors: ResourceExhausted (no space, nothing was promised: try the same job again); everything else is final, also a
//         sync that found no space, and comes as DataLoss.
class SegmentWriter {
 public:
  SegmentWriter(common::Files& files, common::Clock& clock, LogObserver* observer, std::string dir,
                std::unique_ptr<common::File> open_file, LogPosition base, uint32_t chain,
                std::unique_ptr<RaftStateFile> state_file);

  // Everything of `job` but the final sync.
  absl::Status Write(WriteJob& job);
  // Makes what was written durable.
  absl::Status Sync();

 private:
  absl::Status WriteState(const RaftState& state);
  absl::Status Truncate(const WriteJob::Truncate& truncate);
  absl::Status Roll(WriteJob::Roll& roll);
  absl::Status WriteEntries(const WriteJob& job);

  common::Files& files_;
  common::Clock& clock_;
  LogObserver* const observer_;
  const std::string dir_;
  std::unique_ptr<common::File> file_;
  LogPosition base_;
  uint32_t chain_;  // header checksum of the last frame written
  std::unique_ptr<RaftStateFile> state_file_;
  bool dirty_ = false;  // written and not synced
  uint64_t dirty_bytes_ = 0, dirty_records_ = 0;

  std::vector<char> headers_;              // scratch
  std::vector<std::string_view> pieces_;  // scratch
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_SEGMENT_WRITER_H_
