#include "services/log/recovery.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/log/segment_names.h"

namespace fulmar::log {
namespace {

using common::File;
using common::Files;
using common::OpenMode;

absl::StatusOr<SegmentHeader> ReadSegmentHeader(const File& file) {
  std::string block(kSegmentHeaderBytes, '\0');
  FULMAR_ASSIGN_OR_RETURN(const size_t got, file.PRead(0, block.size(), block.data()));
  absl::StatusOr<SegmentHeader> header = ParseSegmentHeader(std::string_view(block).substr(0, got));
  if (!header.ok()) return Annotate(header.status(), absl::StrCat(file.path(), " at byte 0"));
  return header;
}

// Removes what a crash left half prepared, keeps spares of the right size.
absl::Status CollectSpares(Files& files, const LogOptions& options, RecoveredLog& log) {
  FULMAR_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(SegmentsDir(options.dir)));
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(SegmentsDir(options.dir), "/", name);
    if (const std::optional<uint64_t> number = ParseUnfinishedSpareName(name)) {
      FULMAR_RETURN_IF_ERROR(files.Remove(path));
    } else if (const std::optional<uint64_t> number = ParseSpareName(name)) {
      uint64_t bytes = 0;
      {
        FULMAR_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files.Open(path, OpenMode::kRead));
        FULMAR_ASSIGN_OR_RETURN(bytes, file->Size());
      }
      log.next_spare_number = std::max(log.next_spare_number, *number + 1);
      if (bytes >= MinSpareBytes(options) && bytes <= static_cast<uint64_t>(options.segment_bytes)) {
        log.spares.push_back({*number, bytes});
      } else {
        FULMAR_RETURN_IF_ERROR(files.Remove(path));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CreateFirstSegment(Files& files, const LogOptions& options) {
  const std::string path = UnfinishedSparePath(options.dir, 0);
  const uint64_t bytes = MinSpareBytes(options);
  FULMAR_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files.Open(path, OpenMode::kCreateOrOpen));
  FULMAR_RETURN_IF_ERROR(file->ZeroFill(bytes));
  return TurnIntoSegment(files, *file, path, options.dir,
                         {.shard_name = options.shard_name, .first_index = {1}, .file_bytes = bytes});
}

// The last segment that begins at or before `applied`; the oldest when nothing is applied.
absl::StatusOr<size_t> FirstToScan(const std::vector<RecoveredSegment>& segments, const AppliedPoint& applied) {
  if (applied.index.value == 0) return 0;
  size_t found = segments.size();
  for (size_t i = 0; i < segments.size() && segments[i].header.base <= applied.position; ++i) found = i;
  if (found == segments.size())
    return absl::DataLossError(absl::StrCat("the index has applied the log up to position ", applied.position.value,
                                            ", the oldest segment begins only at ", segments[0].header.base.value, " (",
                                            segments[0].path, "); rebuild the index"));
  return found;
}

absl::Status NotInLog(const AppliedPoint& applied, const RecoveredLog& log) {
  return absl::DataLossError(absl::StrCat(
      "the index has applied entry ", applied.index.value, " (term ", applied.term.value, ", ending at position ",
      applied.position.value, "), which is not in the log; its last entry is ", log.end.next_index.value - 1,
      ", ending at position ", log.end.position.value, " in ", log.segments.back().path,
      log.cut.empty() ? "" : absl::StrCat(", where a damaged tail was cut: ", log.cut)));
}

// Which of the entries found are known to be committed, and need not be given to Raft again: there may be millions.
class CommittedPrefix {
 public:
  CommittedPrefix(const LogOptions& options, const RaftState& state)
      : alone_(state.voters == std::vector<uint64_t>{options.node_id} && state.voters_outgoing.empty()), state_(state) {}

  // True as long as all entries up to this one are.
  bool Holds(const FrameHeader& entry) {
    // A change of members that raft.state does not know yet must pass through Raft.
    const bool unknown_members = entry.kind == EntryKind::kConfChange && entry.index > state_.members_index;
    ended_ = ended_ || unknown_members || !(alone_ || entry.index <= state_.committed);
    return !ended_;
  }

 private:
  const bool alone_;  // what is durable here is committed
  const RaftState& state_;
  bool ended_ = false;
};

// Walks one segment to its end. `next`: the header of the segment behind it, null for the open one.
absl::Status ScanSegment(Files& files, const SegmentHeader* next, const AppliedPoint& applied,
                         CommittedPrefix& committed, RecoveredSegment& segment, RecoveredLog& log) {
  FULMAR_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files.Open(segment.path, OpenMode::kRead));
  FrameScanner scanner(*file, segment.header.base, LogCursor::AtBeginOf(segment.header));
  while (next == nullptr || scanner.cursor().position < next->base) {
    FULMAR_ASSIGN_OR_RETURN(const std::optional<ScannedFrame> frame, scanner.Next());
    if (!frame.has_value()) break;
    const FrameHeader& header = frame->header;
    if (header.index == applied.index)
      log.holds_applied = header.term == applied.term && header.end() == applied.position;
    if (committed.Holds(header)) {
      log.before_index = header.index;
      log.before_term = header.term;
    } else {
      log.entries.push_back({header.index, header.term, header.kind, header.payload_bytes, header.time_ms});
      if (header.kind == EntryKind::kConfChange) log.conf_changes[header.index.value] = std::string(frame->payload);
    }
    segment.empty = false;
    log.surely_durable = {header.durable_end()};
  }
  segment.end = scanner.cursor().position;
  segment.last_time_ms = scanner.cursor().time_ms;
  log.end = scanner.cursor();

  if (next != nullptr) {
    const LogCursor expected = LogCursor::AtBeginOf(*next);
    if (log.end.position != expected.position || log.end.next_index != expected.next_index ||
        log.end.term != expected.term || log.end.chain != expected.chain)
      return DamageAt(segment.path, scanner,
                      absl::StrCat("no valid entry, but the next segment goes on from position ", next->base.value));
    return absl::OkStatus();
  }
  FULMAR_ASSIGN_OR_RETURN(const std::optional<FrameHeader> proof, scanner.FindProofOfDamage());
  if (proof.has_value())
    return DamageAt(segment.path, scanner,
                    absl::StrCat("no valid entry, but entry ", proof->index.value, " at position ",
                                 proof->position.value, " was written after this place was durable"));
  FULMAR_ASSIGN_OR_RETURN(const bool torn, scanner.HasBytesAtCursor());
  if (torn) log.cut = absl::StrCat(segment.path, " at byte ", scanner.OffsetOf(log.end.position));
  return absl::OkStatus();
}

// What was read may lie in the page cache only (kill -9), and after a failed sync the cache may believe that the disk has
// it too. It must not be applied before it is durable, so the doubtful part is written once more.
absl::Status MakeTailDurable(const RecoveredLog& log) {
  const LogPosition base = log.segments.back().header.base;
  File& file = *log.open_file;
  uint64_t offset = kSegmentHeaderBytes + static_cast<uint64_t>(std::max(log.surely_durable, base).value - base.value);
  const uint64_t end = kSegmentHeaderBytes + static_cast<uint64_t>(log.end.position.value - base.value);
  std::string bytes;
  while (offset < end) {
    bytes.resize(std::min<uint64_t>(end - offset, 1 << 20));
    FULMAR_ASSIGN_OR_RETURN(const size_t got, file.PRead(offset, bytes.size(), bytes.data()));
    if (got != bytes.size()) return absl::DataLossError(absl::StrCat(file.path(), " became shorter while it was read"));
    FULMAR_RETURN_IF_ERROR(file.PWrite(offset, bytes));
    offset += got;
  }
  return file.Sync();
}

}  // namespace

uint64_t MinSpareBytes(const LogOptions& options) {
  return std::min(kFirstSegmentBytes, static_cast<uint64_t>(options.segment_bytes));
}

absl::Status DamageAt(const std::string& path, const FrameScanner& scanner, std::string_view why) {
  return absl::DataLossError(absl::StrCat(path, " is damaged at byte ", scanner.OffsetOf(scanner.cursor().position),
                                          " (position ", scanner.cursor().position.value, ", entry ",
                                          scanner.cursor().next_index.value, "): ", why));
}

absl::Status TurnIntoSegment(Files& files, File& file, const std::string& from, std::string_view dir,
                             const SegmentHeader& header) {
  // The header is durable before the name says that this is a segment: a file *.seg always has one.
  FULMAR_RETURN_IF_ERROR(file.PWrite(0, EncodeSegmentHeader(header)));
  FULMAR_RETURN_IF_ERROR(file.Sync());
  FULMAR_RETURN_IF_ERROR(files.Rename(from, SegmentPath(dir, header.base)));
  return files.SyncDir(SegmentsDir(dir));
}

absl::StatusOr<std::vector<RecoveredSegment>> ListSegments(Files& files, const std::string& dir) {
  FULMAR_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(SegmentsDir(dir)));
  std::vector<RecoveredSegment> segments;
  for (const std::string& name : names) {  // sorted by name, so by base
    const std::optional<LogPosition> base = ParseSegmentName(name);
    if (!base.has_value()) continue;
    RecoveredSegment segment{.path = absl::StrCat(SegmentsDir(dir), "/", name)};
    FULMAR_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files.Open(segment.path, OpenMode::kRead));
    FULMAR_ASSIGN_OR_RETURN(segment.header, ReadSegmentHeader(*file));
    if (segment.header.base != *base)
      return absl::DataLossError(absl::StrCat(segment.path, " at byte 0: its header says that the segment begins at position ",
                                              segment.header.base.value));
    if (!segments.empty()) {
      RecoveredSegment& before = segments.back();
      if (segment.header.first_index < before.header.first_index)
        return absl::DataLossError(absl::StrCat(segment.path, " at byte 0: begins with entry ",
                                                segment.header.first_index.value, ", the segment before with ",
                                                before.header.first_index.value));
      before.end = segment.header.base;
      before.last_time_ms = segment.header.previous_time_ms;
      before.empty = segment.header.first_index == before.header.first_index;
    }
    segment.end = segment.header.base;
    segment.last_time_ms = segment.header.previous_time_ms;
    segments.push_back(std::move(segment));
  }
  return segments;
}

absl::StatusOr<RecoveredLog> RecoverSegments(Files& files, const LogOptions& options, const RaftState& state,
                                             const AppliedPoint& applied) {
  RecoveredLog log;
  FULMAR_ASSIGN_OR_RETURN(log.segments, ListSegments(files, options.dir));
  if (log.segments.empty()) {
    if (state.committed.value > 0 || state.term.value > 0 || applied.index.value > 0)
      return absl::DataLossError(absl::StrCat(SegmentsDir(options.dir), " holds no segment, but entries up to ",
                                              std::max(state.committed, applied.index).value,
                                              " have been committed in term ", state.term.value));
    FULMAR_RETURN_IF_ERROR(CreateFirstSegment(files, options));
    FULMAR_ASSIGN_OR_RETURN(log.segments, ListSegments(files, options.dir));
  }
  for (const RecoveredSegment& segment : log.segments)
    if (segment.header.shard_name != options.shard_name)
      return absl::FailedPreconditionError(absl::StrCat(segment.path, " belongs to shard '", segment.header.shard_name,
                                                        "', this is '", options.shard_name, "'"));
  FULMAR_RETURN_IF_ERROR(CollectSpares(files, options, log));

  FULMAR_ASSIGN_OR_RETURN(const size_t first, FirstToScan(log.segments, applied));
  const SegmentHeader& start = log.segments[first].header;
  log.before_index = {start.first_index.value - 1};
  log.before_term = start.previous_term;
  log.holds_applied = applied.index.value == 0 || (applied.index == log.before_index && applied.term == log.before_term &&
                                                   applied.position == start.base);
  CommittedPrefix committed(options, state);
  for (size_t i = first; i < log.segments.size(); ++i) {
    const bool open = i + 1 == log.segments.size();
    FULMAR_RETURN_IF_ERROR(ScanSegment(files, open ? nullptr : &log.segments[i + 1].header, applied, committed,
                                       log.segments[i], log));
  }
  if (!log.holds_applied) return NotInLog(applied, log);
  if (log.end.position < state.committed_end || log.end.next_index.value - 1 < state.committed.value)
    return absl::DataLossError(absl::StrCat(
        log.segments.back().path, " ends at byte ",
        kSegmentHeaderBytes + static_cast<uint64_t>(log.end.position.value - log.segments.back().header.base.value),
        " (position ", log.end.position.value, ", entry ", log.end.next_index.value - 1, "), but entry ",
        state.committed.value, " ending at position ", state.committed_end.value, " had been committed"));

  FULMAR_ASSIGN_OR_RETURN(log.open_file, files.Open(log.segments.back().path, OpenMode::kReadWrite));
  FULMAR_RETURN_IF_ERROR(MakeTailDurable(log));
  FULMAR_RETURN_IF_ERROR(files.SyncDir(SegmentsDir(options.dir)));
  return log;
}

}  // namespace fulmar::log
