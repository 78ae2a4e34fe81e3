#include "services/log/replicated_log.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/log/log_impl.h"
#include "services/log/raft_core.h"
#include "services/log/raft_state.h"
#include "services/log/recovery.h"
#include "services/log/segment_names.h"
#include "services/log/segment_writer.h"

namespace fulmar::log {
namespace {

absl::Status CheckOptions(const LogOptions& options) {
  if (options.shard_name.empty() || options.shard_name.size() > kMaxShardNameBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("a shard name has 1 to ", kMaxShardNameBytes, " bytes, this one ", options.shard_name.size()));
  if (options.segment_bytes < static_cast<int64_t>(2 * kSegmentHeaderBytes))
    return absl::InvalidArgumentError(absl::StrCat("segment_bytes is ", options.segment_bytes, ", at least ",
                                                   2 * kSegmentHeaderBytes, " are needed"));
  if (options.max_batch_bytes < 1 || options.max_batch_bytes > static_cast<int64_t>(kMaxPayloadBytes))
    return absl::InvalidArgumentError(absl::StrCat("max_batch_bytes is ", options.max_batch_bytes));
  if (options.voters.empty() || options.node_id == 0) return absl::InvalidArgumentError("a shard needs voters");
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<RaftStateFile>> OpenState(common::Files& files, const LogOptions& options,
                                                         const AppliedPoint& applied) {
  const std::string path = RaftStatePath(options.dir);
  FULMAR_ASSIGN_OR_RETURN(const bool exists, files.Exists(path));
  if (!exists) {
    FULMAR_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(SegmentsDir(options.dir)));
    const bool segments = std::any_of(names.begin(), names.end(),
                                      [](const std::string& name) { return ParseSegmentName(name).has_value(); });
    if (segments || applied.index.value > 0)
      return absl::DataLossError(absl::StrCat(
          path, " is missing, but ", segments ? SegmentsDir(options.dir) + " holds segments" : "the index is not empty",
          "; restore the file from a backup or from another replica"));
    RaftState fresh{.shard_name = options.shard_name, .node_id = options.node_id, .voters = options.voters};
    std::sort(fresh.voters.begin(), fresh.voters.end());
    FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<RaftStateFile> file, RaftStateFile::Create(files, path, std::move(fresh)));
    FULMAR_RETURN_IF_ERROR(files.SyncDir(options.dir));
    return file;
  }
  // The process that gave the file its name may have ended before that was durable.
  FULMAR_RETURN_IF_ERROR(files.SyncDir(options.dir));
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<RaftStateFile> file, RaftStateFile::Open(files, path));
  const RaftState& state = file->state();
  if (state.shard_name != options.shard_name || state.node_id != options.node_id)
    return absl::FailedPreconditionError(absl::StrCat(path, " belongs to node ", state.node_id, " of shard '",
                                                      state.shard_name, "', this is node ", options.node_id, " of '",
                                                      options.shard_name, "'"));
  return file;
}

RaftStored ToStored(const RaftState& state, const RecoveredLog& log) {
  RaftStored stored;
  stored.hard_state = {.term = state.term, .vote = state.vote};
  stored.conf_state = {.voters = state.voters,
                       .learners = state.learners,
                       .voters_outgoing = state.voters_outgoing,
                       .learners_next = state.learners_next,
                       .auto_leave = state.auto_leave};
  stored.compacted = log.before_index;
  stored.compacted_term = log.before_term;
  stored.entries.reserve(log.entries.size());
  for (const EntryMeta& meta : log.entries) {
    RaftEntry entry{.index = meta.index, .term = meta.term};
    switch (meta.kind) {
      case EntryKind::kRecords:
        entry.handle = {.payload_bytes = meta.payload_bytes, .extra = static_cast<uint64_t>(meta.time_ms)};
        break;
      case EntryKind::kConfChange:
        entry.kind = RaftEntryKind::kConfChange;
        entry.conf_change = log.conf_changes.at(meta.index.value);
        break;
      case EntryKind::kTermStart:
        entry.kind = RaftEntryKind::kTermStart;
        break;
    }
    stored.entries.push_back(std::move(entry));
  }
  return stored;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReplicatedLog>> ReplicatedLog::Open(LogOptions options, Env env, StateMachine& machine,
                                                                   AppliedPoint applied) {
  FULMAR_RETURN_IF_ERROR(CheckOptions(options));
  FULMAR_RETURN_IF_ERROR(env.files.MakeDirs(SegmentsDir(options.dir)));
  LogImpl::Parts parts;
  FULMAR_ASSIGN_OR_RETURN(parts.lock, env.files.Lock(LockPath(options.dir)));
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<RaftStateFile> state_file, OpenState(env.files, options, applied));
  parts.state = state_file->state();
  FULMAR_ASSIGN_OR_RETURN(parts.recovered, RecoverSegments(env.files, options, parts.state, applied));

  const RaftOptions raft_options{
      .node_id = options.node_id,
      .election_seed = env.random.Next(),
      // To Raft, what is known to be committed is as good as applied; LogImpl applies it from the files.
      .applied = std::max(parts.recovered.before_index, applied.index),
      .log_level = RaftOptions::LogLevel::kOff,
  };
  absl::StatusOr<std::unique_ptr<RaftCore>> core =
      RaftCore::Open(raft_options, ToStored(parts.state, parts.recovered));
  if (!core.ok()) return Annotate(core.status(), options.dir);
  parts.core = *std::move(core);
  parts.recovered.entries = {};  // the Raft core has them now

  const RecoveredSegment& open = parts.recovered.segments.back();
  parts.writer = std::make_shared<SegmentWriter>(env.files, env.clock, env.observer, options.dir,
                                                 std::move(parts.recovered.open_file), open.header.base,
                                                 parts.recovered.end.chain.value(), std::move(state_file));
  return std::make_unique<LogImpl>(std::move(options), env, machine, applied, std::move(parts));
}

absl::Status ScanLog(common::Files& files, const std::string& dir,
                     absl::AnyInvocable<bool(const AppliedEntry&)> visit) {
  FULMAR_ASSIGN_OR_RETURN(const std::vector<RecoveredSegment> segments, ListSegments(files, dir));
  std::vector<RecordView> views;
  std::vector<AppliedRecord> records;
  for (size_t i = 0; i < segments.size(); ++i) {
    const bool open = i + 1 == segments.size();
    FULMAR_ASSIGN_OR_RETURN(const std::unique_ptr<common::File> file,
                            files.Open(segments[i].path, common::OpenMode::kRead));
    FrameScanner scanner(*file, segments[i].header.base, LogCursor::AtBeginOf(segments[i].header));
    while (open || scanner.cursor().position < segments[i].end) {
      FULMAR_ASSIGN_OR_RETURN(const std::optional<ScannedFrame> frame, scanner.Next());
      if (!frame.has_value()) break;
      const FrameHeader& header = frame->header;
      records.clear();
      if (header.kind == EntryKind::kRecords) {
        FULMAR_CHECK(SplitRecords(frame->payload, header.record_count, views));
        const int64_t payload_begin = header.position.value + static_cast<int64_t>(kFrameHeaderBytes);
        const common::SharedBytes payload{std::string(frame->payload)};
        for (const RecordView& view : views)
          records.push_back({view.type,
                             {payload_begin + view.offset},
                             payload.Sub(view.offset + kRecordHeaderBytes, view.body.size())});
      }
      if (!visit({.index = header.index,
                  .term = header.term,
                  .end = header.end(),
                  .time = absl::FromUnixMillis(header.time_ms),
                  .records = records}))
        return absl::OkStatus();
    }
    if (!open && scanner.cursor().position != segments[i].end)
      return DamageAt(segments[i].path, scanner,
                      absl::StrCat("no valid entry, but the next segment goes on from position ",
                                   segments[i + 1].header.base.value));
    if (open) {
      FULMAR_ASSIGN_OR_RETURN(const std::optional<FrameHeader> proof, scanner.FindProofOfDamage());
      if (proof.has_value())
        return DamageAt(segments[i].path, scanner,
                        absl::StrCat("no valid entry, but entry ", proof->index.value, " behind it is whole"));
    }
  }
  return absl::OkStatus();
}

}  // namespace fulmar::log
