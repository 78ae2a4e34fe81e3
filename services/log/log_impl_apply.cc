// The part of LogImpl that reads: applying committed entries, and records for consumers.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/log/log_impl.h"

namespace fulmar::log {
namespace {

// Entries applied before the shard gets to do something else.
constexpr int kAppliesPerTurn = 256;
// Read from the files at once when the cache does not hold what is to be applied.
constexpr int64_t kReadAheadBytes = 4 << 20;
// Entries whose terms the Raft core keeps at least, for followers that lag a little.
constexpr int64_t kKeptTerms = 1024;

}  // namespace

// ---------------------------------------------------------------- applying

void LogImpl::ApplyCommitted() {
  for (int applied = 0; LastApplied() < committed_; ++applied) {
    if (applied == kAppliesPerTurn) {
      SchedulePump();
      break;
    }
    const LogIndex next = next_apply_.next_index;
    if (!read_ahead_.empty() && read_ahead_.front().index == next) {
      const Entry entry = std::move(read_ahead_.front());
      read_ahead_.pop_front();
      ApplyEntry(entry);
    } else if (const Entry* const cached = cache_.Find(next)) {
      const Entry entry = *cached;
      ApplyEntry(entry);
    } else {
      ReadForApply();
      break;
    }
  }
  if (LastApplied() > core_applied_) core_->AdvanceApplied(core_applied_ = LastApplied());
}

void LogImpl::ApplyEntry(const Entry& entry) {
  records_.clear();
  if (entry.kind == EntryKind::kRecords) {
    // It was verified when it was read from a file, or never left memory.
    FULMAR_CHECK(SplitRecords(entry.payload_view(), entry.record_count, views_));
    for (const RecordView& view : views_)
      records_.push_back({view.type, {entry.payload_begin().value + view.offset}, entry.Share(view.body)});
  } else if (entry.kind == EntryKind::kConfChange) {
    ApplyMembers(entry);
  }
  next_apply_ = {.position = entry.end(),
                 .next_index = {entry.index.value + 1},
                 .term = entry.term,
                 .time_ms = entry.time_ms};
  machine_.Apply({.index = entry.index,
                  .term = entry.term,
                  .end = entry.end(),
                  .time = absl::FromUnixMillis(entry.time_ms),
                  .records = records_});
  records_.clear();  // lets go of the payload

  if (entry.kind == EntryKind::kTermStart && role_ == RaftRole::kLeader && entry.term == state_.term) {
    announced_term_ = entry.term;
    machine_.OnLeader(entry.term);
  }
  if (!proposed_.empty() && proposed_.front().index == entry.index) {
    FULMAR_CHECK(proposed_.front().term == entry.term, "proposals of a lost term were failed when it was lost");
    Batch batch = std::move(proposed_.front());
    proposed_.pop_front();
    FinishBatch(std::move(batch));
  }
}

void LogImpl::ApplyMembers(const Entry& entry) {
  if (entry.index <= state_.members_index) return;  // raft.state knows already
  const absl::StatusOr<RaftConfState> members = core_->ApplyConfChange(entry.payload_view());
  if (!members.ok()) return;  // the change is void
  state_.members_index = entry.index;
  state_.voters = members->voters;
  state_.learners = members->learners;
  state_.voters_outgoing = members->voters_outgoing;
  state_.learners_next = members->learners_next;
  state_.auto_leave = members->auto_leave;
  Job job{.end = end_, .last_index = last_index_};
  job.write.state = CurrentState();
  jobs_.push_back(std::move(job));
  SchedulePump();
}

void LogImpl::FinishBatch(Batch batch) {
  pending_bytes_ -= batch.payload_bytes;
  batch.AnswerAll();
  queue_.Reuse(std::move(batch.waiters));
}

void LogImpl::ReadForApply() {
  if (std::exchange(reading_for_apply_, true)) return;
  const RecoveredSegment* const segment = segments_.Find(next_apply_.position);
  FULMAR_CHECK(segment != nullptr, absl::StrCat("position ", next_apply_.position.value));
  RunOn(
      env_.reader,
      [cold = cold_, from = next_apply_, last = committed_,
       segment = ColdReader::Segment{segment->header.base, segment->path}] {
        return cold->ReadEntries(segment, from, last, kReadAheadBytes);
      },
      [this](absl::StatusOr<std::vector<Entry>> entries) { OnReadForApply(std::move(entries)); });
}

void LogImpl::OnReadForApply(absl::StatusOr<std::vector<Entry>> entries) {
  reading_for_apply_ = false;
  if (entries.ok()) {
    read_ahead_.assign(std::make_move_iterator(entries->begin()), std::make_move_iterator(entries->end()));
  } else {
    Fault(entries.status());
  }
  Pump();
}

void LogImpl::ForgetOldEntries() {
  const LogIndex applied = LastApplied();
  // The newest applied one stays: when what follows it turns out void, the next frame is chained to it.
  cache_.Shrink(options_.cache_bytes, applied);
  if (applied.value - compacted_.value >= 2 * kKeptTerms) {
    compacted_ = {applied.value - kKeptTerms};
    core_->Compact(compacted_);
  }
}

// ---------------------------------------------------------------- reading

std::optional<common::SharedBytes> LogImpl::TryRead(LogPosition position) {
  const Entry* const entry = cache_.FindAt(position);
  if (entry == nullptr || entry->index > LastApplied() || entry->kind != EntryKind::kRecords) return std::nullopt;
  const std::string_view rest =
      entry->payload_view().substr(static_cast<size_t>(position.value - entry->payload_begin().value));
  // Checked although it never left memory: a position that is not a record's begin must not become a body.
  const std::optional<RecordView> record = ParseRecord(rest, position);
  if (!record.has_value()) return std::nullopt;
  return entry->Share(record->body);
}

void LogImpl::Read(LogPosition position, uint32_t length, ReadDone done) {
  const auto answer = [this](ReadDone done, absl::StatusOr<common::SharedBytes> result) {
    env_.shard.Post([done = std::move(done), result = std::move(result)]() mutable { std::move(done)(std::move(result)); });
  };
  if (std::optional<common::SharedBytes> cached = TryRead(position); cached.has_value() && cached->size() == length)
    return answer(std::move(done), *std::move(cached));
  const RecoveredSegment* const segment = segments_.Find(position);
  if (segment == nullptr || position >= next_apply_.position)
    return answer(std::move(done),
                  absl::NotFoundError(absl::StrCat("position ", position.value, " is not in the log any more, or not yet")));
  ++reads_under_way_;
  RunOn(
      env_.reader,
      [cold = cold_, position, length, segment = ColdReader::Segment{segment->header.base, segment->path}] {
        return cold->ReadRecord(segment, position, length);
      },
      [this, position, base = segment->header.base, done = std::move(done)](
          absl::StatusOr<common::SharedBytes> result) mutable {
        --reads_under_way_;
        const RecoveredSegment* const now = segments_.Find(position);
        if (!result.ok() && (now == nullptr || now->header.base != base)) {
          // Retention was faster; the file may hold other things by now.
          result = absl::NotFoundError(absl::StrCat("position ", position.value, " is not in the log any more"));
        }
        std::move(done)(std::move(result));
        MaybeFinishStop();
      });
}

}  // namespace fulmar::log
