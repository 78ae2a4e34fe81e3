#include "services/log/log_impl.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/common/status.h"
#include "services/log/segment_names.h"

namespace fulmar::log {
namespace {

// Written and not synced, at most: a sync of more than this would delay the next kSync record for too long.
constexpr int64_t kMaxUnsyncedBytes = 8 << 20;

}  // namespace

LogImpl::LogImpl(LogOptions options, Env env, StateMachine& machine, AppliedPoint applied, Parts parts)
    : options_(std::move(options)),
      env_(env),
      machine_(machine),
      lock_(std::move(parts.lock)),
      core_(std::move(parts.core)),
      writer_(std::move(parts.writer)),
      cold_(std::make_shared<ColdReader>(env.files)),
      segments_(options_.dir, parts.recovered.segments),
      end_(parts.recovered.end.position),
      last_index_{parts.recovered.end.next_index.value - 1},
      last_term_(parts.recovered.end.term),
      last_time_ms_(parts.recovered.end.time_ms),
      durable_end_(end_),
      state_(std::move(parts.state)),
      queue_(options_.max_batch_bytes),
      spares_(parts.recovered.spares.begin(), parts.recovered.spares.end()),
      next_spare_number_(parts.recovered.next_spare_number) {
  if (applied.index.value == 0) {  // from the oldest entry
    const SegmentHeader& oldest = segments_.oldest().header;
    next_apply_ = LogCursor::AtBeginOf(oldest);
  } else {
    next_apply_ = {.position = applied.position, .next_index = {applied.index.value + 1}, .term = applied.term};
  }
  committed_ = core_applied_ = compacted_ = std::max(LastApplied(), parts.recovered.before_index);
  if (committed_ == last_index_) {
    state_.committed = last_index_;
    state_.committed_end = end_;
  }
}

// ---------------------------------------------------------------- appending

void LogImpl::Start() {
  FULMAR_CHECK(!started_);
  started_ = true;
  if (state_.voters == std::vector<uint64_t>{options_.node_id}) {
    // Nobody else could answer. A refusal (a change of members is under way) is repeated by the ticks.
    (void)core_->Campaign();
  }
  tick_timer_ = env_.shard.After(options_.tick_interval, Guarded([this] { Tick(); }));
  MaintainSpares();
  SchedulePump();
}

absl::Status LogImpl::CanAppend(uint64_t bytes, AppendClass append_class) const {
  if (!fault_.ok()) return fault_;
  if (stopping_) return errors::HaNotAvailable(absl::StrCat("shard '", options_.shard_name, "' is stopping"));
  if (!Announced()) return errors::HaNotAvailable(absl::StrCat("shard '", options_.shard_name, "' has no leader here"));
  if (bytes > kMaxPayloadBytes - kRecordHeaderBytes)
    return errors::PayloadTooLarge(absl::StrCat("a record of ", bytes, " bytes; the log takes ", kMaxPayloadBytes));
  // Internal records are bounded by what users cause; twice the room keeps an acknowledgement from failing behind sends.
  const uint64_t limit = static_cast<uint64_t>(options_.max_pending_bytes) * (append_class == AppendClass::kUser ? 1 : 2);
  if (pending_bytes_ + bytes > limit)
    return errors::TooManyRequests(
        absl::StrCat("shard '", options_.shard_name, "' has ", pending_bytes_, " bytes waiting, the limit is ", limit));
  if (append_class == AppendClass::kUser) FULMAR_RETURN_IF_ERROR(machine_.TakesUserRecords());
  if (!space_exhausted_) return absl::OkStatus();
  const bool reserve = !spares_.empty() || segments_.FitsOpen(kFrameHeaderBytes + queue_.bytes() + kRecordHeaderBytes + bytes);
  if (append_class == AppendClass::kUser || !reserve)
    return errors::TooManyRequests(absl::StrCat("no disk space for shard '", options_.shard_name, "'"));
  return absl::OkStatus();
}

void LogImpl::Append(RecordType type, std::string body, Durability durability, AppendClass append_class,
                     AppendDone done) {
  if (absl::Status refused = CanAppend(body.size(), append_class); !refused.ok())
    return FailLater(std::move(done), std::move(refused));
  queue_.Add(type, body, durability, std::move(done));
  pending_bytes_ += kRecordHeaderBytes + body.size();
  // Posted, so that everything that already waits in the shard's queue gets into the same entry.
  if (!job_under_way_) SchedulePump();
}

void LogImpl::FailLater(AppendDone done, absl::Status why) {
  env_.shard.Post([done = std::move(done), why = std::move(why)]() mutable { std::move(done)(std::move(why)); });
}

// ---------------------------------------------------------------- the pump

void LogImpl::SchedulePump() {
  if (pump_scheduled_) return;
  pump_scheduled_ = true;
  env_.shard.Post(Guarded([this] {
    pump_scheduled_ = false;
    Pump();
  }));
}

void LogImpl::Pump() {
  FULMAR_CHECK(!pumping_);
  pumping_ = true;
  // The disk first: it works while the entries of the job before are applied.
  if (started_ && fault_.ok()) {
    ProposeNext();
    TakeReadies();
  }
  if (started_ && fault_.ok()) {
    StartNextJob();
    AnswerEarly(early_upto_);
    ApplyCommitted();
    ForgetOldEntries();
  }
  pumping_ = false;
  MaybeFinishStop();  // may destroy this
}

void LogImpl::ProposeNext() {
  if (queue_.empty() || job_under_way_ || !jobs_.empty() || !Announced()) return;
  const uint32_t payload_bytes = queue_.front().payload_bytes;
  if (!segments_.FitsOpen(kFrameHeaderBytes + payload_bytes) && !segments_.open().empty && spares_.empty() && !stopping_) {
    // Wait for the spare, unless it cannot be had. (Growing a file while stopping is slow but possible.)
    if (space_exhausted_)
      FailQueue(errors::TooManyRequests(absl::StrCat("no disk space for shard '", options_.shard_name, "'")));
    return;
  }
  last_time_ms_ = std::max(last_time_ms_, absl::ToUnixMillis(env_.clock.Now()));
  const absl::StatusOr<RaftCore::Place> place =
      core_->Propose({.payload_bytes = payload_bytes, .extra = static_cast<uint64_t>(last_time_ms_)});
  if (!place.ok()) return FailQueue(errors::HaNotAvailable(place.status().message()));
  Batch batch = queue_.TakeFront();
  batch.index = place->index;
  batch.term = place->term;
  proposed_.push_back(std::move(batch));
}

void LogImpl::TakeReadies() {
  while (fault_.ok() && core_->HasReady()) {
    RaftReady ready = core_->TakeReady();
    if (ready.snapshot.has_value())
      return Fault(absl::UnimplementedError("this replica is too far behind, and cannot take a snapshot yet"));
    if (ready.must_persist) {
      Job job;
      job.ready_number = ready.number;
      // A commit that moved on is found again by any later start; writing it each time would double the syncs.
      if (ready.hard_state.has_value() &&
          (ready.hard_state->term != state_.term || ready.hard_state->vote != state_.vote)) {
        state_.term = ready.hard_state->term;
        state_.vote = ready.hard_state->vote;
        job.write.state = CurrentState();
      }
      LayOut(ready, job);
      job.end = end_;
      job.last_index = last_index_;
      jobs_.push_back(std::move(job));
    }
    if (ready.soft_state.has_value()) OnRole(ready.soft_state->role);
    for (RaftMessage& message : ready.messages) Send(std::move(message));
    if (!ready.committed.empty()) committed_ = ready.committed.back().index;
  }
  incoming_.clear();  // what was accepted is laid out
}

void LogImpl::OnRole(RaftRole role) {
  const RaftRole before = std::exchange(role_, role);
  if (before != RaftRole::kLeader || role == RaftRole::kLeader) return;
  FailQueue(errors::HaNotAvailable(absl::StrCat("shard '", options_.shard_name, "' lost its leader")));
  FailProposed(absl::AbortedError(
      absl::StrCat("shard '", options_.shard_name, "' lost its leader before the record was committed")));
  if (std::exchange(announced_term_, std::nullopt).has_value()) machine_.OnFollower(core_->Status().term);
}

RaftState LogImpl::CurrentState() const {
  RaftState state = state_;
  // Applied is committed and durable: what a later start must at least find. During a replay more than that was known.
  if (LastApplied() > state.committed) {
    state.committed = LastApplied();
    state.committed_end = next_apply_.position;
  }
  return state;
}

void LogImpl::LayOut(const RaftReady& ready, Job& job) {
  if (ready.entries.empty()) return;
  if (ready.entries.front().index <= last_index_) TruncateTo(ready.entries.front().index, job);

  uint64_t frame_bytes = 0;
  for (const RaftEntry& entry : ready.entries)
    frame_bytes += kFrameHeaderBytes +
                   (entry.kind == RaftEntryKind::kConfChange ? entry.conf_change.size() : entry.handle.payload_bytes);
  // Without a spare the file grows beyond what was prepared: slower, and it happens to Raft's own entries only, and to
  // single records larger than a segment.
  if (!segments_.FitsOpen(frame_bytes) && !segments_.open().empty && !spares_.empty()) {
    SegmentHeader header{.shard_name = options_.shard_name,
                         .base = end_,
                         .first_index = ready.entries.front().index,
                         .previous_term = last_term_,
                         .previous_time_ms = segments_.open().last_time_ms,
                         .file_bytes = spares_.front().file_bytes};
    job.write.roll = WriteJob::Roll{SparePath(options_.dir, spares_.front().number), header};
    spares_.pop_front();
    segments_.Add(std::move(header));
    MaintainSpares();
  }
  for (const RaftEntry& raft_entry : ready.entries) {
    Entry entry = ToEntry(raft_entry);
    end_ = entry.end();
    last_index_ = entry.index;
    last_term_ = entry.term;
    last_time_ms_ = std::max(last_time_ms_, entry.time_ms);
    segments_.Extend(end_, entry.time_ms);
    appended_records_ += entry.record_count;
    appended_bytes_ += kFrameHeaderBytes + entry.payload_bytes;
    job.write.records += entry.record_count;
    cache_.Add(entry);
    job.write.entries.push_back(std::move(entry));
  }
}

Entry LogImpl::ToEntry(const RaftEntry& raft_entry) {
  Entry entry{.index = raft_entry.index, .term = raft_entry.term, .time_ms = segments_.open().last_time_ms, .begin = end_};
  if (raft_entry.kind == RaftEntryKind::kTermStart) {
    entry.kind = EntryKind::kTermStart;
    return entry;
  }
  if (raft_entry.kind == RaftEntryKind::kConfChange) {
    entry.kind = EntryKind::kConfChange;
    entry.payload_bytes = entry.memory_bytes = static_cast<uint32_t>(raft_entry.conf_change.size());
    entry.payload = std::make_shared_for_overwrite<char[]>(entry.payload_bytes);
    std::copy(raft_entry.conf_change.begin(), raft_entry.conf_change.end(), entry.payload.get());
    return entry;
  }
  const int64_t time_ms = static_cast<int64_t>(raft_entry.handle.extra);
  const auto own = std::find_if(proposed_.rbegin(), proposed_.rend(), [&](const Batch& batch) {
    return batch.index == raft_entry.index && batch.term == raft_entry.term;
  });
  if (own != proposed_.rend()) {
    own->begin = end_;
    entry = own->ToEntry(time_ms);
    if (env_.transport != nullptr) {
      // It may be on its way to a follower before the writer gets to it: the bytes are complete from here on.
      SealRecords(entry.payload.get(), entry.payload_bytes, entry.payload_begin());
      entry.sealed = true;
    }
    return entry;
  }
  // Another replica's: its payload came with the message.
  const auto incoming = incoming_.extract({raft_entry.index.value, raft_entry.term.value});
  FULMAR_CHECK(!incoming.empty(), absl::StrCat("no payload for entry ", raft_entry.index.value));
  const std::string_view payload = incoming.mapped().view();
  FULMAR_CHECK(payload.size() == raft_entry.handle.payload_bytes);
  entry.time_ms = time_ms;
  entry.payload_bytes = entry.memory_bytes = static_cast<uint32_t>(payload.size());
  entry.payload = std::make_shared_for_overwrite<char[]>(payload.size());
  std::copy(payload.begin(), payload.end(), entry.payload.get());
  const std::optional<uint32_t> records = CountRecords(payload);
  FULMAR_CHECK(records.has_value(), "Step() lets only whole payloads in");
  entry.record_count = *records;
  return entry;
}

void LogImpl::TruncateTo(LogIndex first_void, Job& job) {
  // Only what is not committed can become void, and that is always in the cache.
  const Entry* entry = cache_.Find(first_void);
  FULMAR_CHECK(entry != nullptr && first_void > committed_, absl::StrCat("entry ", first_void.value));
  WriteJob::Truncate truncate{.to = entry->begin};
  const Entry* const previous = cache_.Find({first_void.value - 1});
  const int64_t previous_time_ms = previous != nullptr ? previous->time_ms : 0;
  for (const RecoveredSegment& segment : segments_.TruncateTo(entry->begin, previous_time_ms)) truncate.drop.push_back(segment.path);
  const RecoveredSegment& open = segments_.open();
  truncate.open_path = open.path;
  truncate.open_base = open.header.base;
  truncate.base_chain = open.header.chain;
  if (entry->begin > open.header.base) {
    FULMAR_CHECK(previous != nullptr, "the entry before a void one is kept");
    truncate.previous = previous->begin;
  }
  end_ = entry->begin;
  last_index_ = {first_void.value - 1};
  last_term_ = core_->TermOf(last_index_).value_or(Term{0});
  cache_.TruncateFrom(first_void);
  job.write.truncate = std::move(truncate);
}

void LogImpl::Send(RaftMessage message) {
  if (env_.transport == nullptr) return;
  ReplicaMessage out{.to = message.to, .raft = std::move(message.bytes)};
  for (const RaftMessage::EntryRef& ref : message.entries) {
    if (ref.kind != RaftEntryKind::kPayload) continue;
    const Entry* const entry = cache_.Find(ref.index);
    if (entry == nullptr || entry->term != ref.term) return core_->ReportUnreachable(message.to);
    out.payloads.push_back({ref.index, ref.term, entry->Share(entry->payload_view())});
  }
  env_.transport->Send(std::move(out));
}

void LogImpl::Step(std::string raft, std::vector<ReplicaPayload> payloads) {
  if (!started_ || stopping_ || !fault_.ok()) return;
  for (const ReplicaPayload& payload : payloads)
    if (!CountRecords(payload.bytes.view()).has_value()) return;  // as if it had been lost
  for (ReplicaPayload& payload : payloads)
    incoming_[{payload.index.value, payload.term.value}] = std::move(payload.bytes);
  const absl::Status stepped = core_->Step(raft);
  if (absl::IsDataLoss(stepped)) Fault(stepped);
  SchedulePump();
}

// ---------------------------------------------------------------- the writer

void LogImpl::StartNextJob() {
  if (job_under_way_) return;
  if (jobs_.empty()) {
    if (!unsynced_ || !(sync_due_ || stopping_)) return;
    jobs_.push_back(std::exchange(unsynced_job_, {}));
    jobs_.back().write.sync = true;
  } else {
    Job& job = jobs_.front();
    bool only_async = !job.write.state && !job.write.roll && !job.write.truncate && !job.write.entries.empty();
    for (const Entry& entry : job.write.entries) {
      const auto batch = std::find_if(proposed_.begin(), proposed_.end(),
                                      [&](const Batch& candidate) { return candidate.index == entry.index; });
      const bool own = batch != proposed_.end() && batch->term == entry.term;
      only_async = only_async && own && !batch->wants_sync;
      job.early = job.early || (own && batch->wants_early);
    }
    job.write.sync = !only_async || sync_due_ || stopping_ || job.end.value - durable_end_.value > kMaxUnsyncedBytes;
  }
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  job.write.durable_end = durable_end_;
  GiveToWriter(std::move(job));
}

void LogImpl::GiveToWriter(Job job) {
  job_under_way_ = true;
  env_.writer.Post([writer = writer_, &shard = env_.shard, job = std::move(job),
                    written = Guarded([this](LogIndex last) { OnWritten(last); }),
                    done = Guarded([this](Job job, absl::Status status) {
                      OnJobDone(std::move(job), std::move(status));
                    })]() mutable {
    absl::Status status = writer->Write(job.write);
    if (status.ok() && job.write.sync) {
      if (job.early) shard.Post([written = std::move(written), last = job.last_index]() mutable { written(last); });
      status = writer->Sync();
    }
    shard.Post([done = std::move(done), job = std::move(job), status = std::move(status)]() mutable {
      done(std::move(job), std::move(status));
    });
  });
}

// The bytes are with the file system; the sync is under way.
void LogImpl::OnWritten(LogIndex last) {
  if (fault_.ok()) AnswerEarly(last);
}

void LogImpl::AnswerEarly(LogIndex last) {
  early_upto_ = std::max(early_upto_, last);
  const auto first = std::upper_bound(proposed_.begin(), proposed_.end(), early_answered_,
                                      [](LogIndex index, const Batch& batch) { return index < batch.index; });
  for (auto batch = first; batch != proposed_.end() && batch->index <= early_upto_; ++batch) batch->AnswerEarly();
  early_answered_ = early_upto_;
}

void LogImpl::OnJobDone(Job job, absl::Status status) {
  if (absl::IsResourceExhausted(status) && !stopping_) {
    // Nothing was promised yet; the same job again when there may be space.
    SetSpaceExhausted(true);
    env_.shard.After(options_.space_retry_interval,
                     Guarded([this, job = std::move(job)]() mutable { GiveToWriter(std::move(job)); }));
    return;
  }
  job_under_way_ = false;
  if (!status.ok()) {
    Fault(Annotate(status, absl::StrCat("shard '", options_.shard_name, "'")));
  } else {
    if (space_exhausted_) MaintainSpares();
    if (job.early) early_upto_ = std::max(early_upto_, job.last_index);
    if (job.write.sync) {
      OnDurable(job);
    } else {
      OnUnsynced(job);
    }
  }
  Pump();
}

void LogImpl::OnDurable(const Job& job) {
  ++syncs_;
  durable_end_ = std::max(durable_end_, job.end);
  unsynced_ = sync_due_ = false;
  if (sync_timer_ != 0) env_.shard.Cancel(std::exchange(sync_timer_, 0));
  const uint64_t ready_number = std::max(job.ready_number, std::exchange(unsynced_job_, {}).ready_number);
  if (ready_number != 0) core_->OnPersistReady(ready_number);
}

void LogImpl::OnUnsynced(const Job& job) {
  unsynced_ = true;
  unsynced_job_ = Job{.ready_number = job.ready_number, .end = job.end, .last_index = job.last_index};
  if (sync_timer_ == 0) sync_timer_ = env_.shard.After(options_.async_flush_interval, Guarded([this] { RequestSync(); }));
}

void LogImpl::RequestSync() {
  sync_timer_ = 0;
  sync_due_ = true;
  SchedulePump();
}

// ---------------------------------------------------------------- life

void LogImpl::Tick() {
  tick_timer_ = env_.shard.After(options_.tick_interval, Guarded([this] { Tick(); }));
  core_->Tick();
  if (core_->HasReady()) SchedulePump();
}

void LogImpl::FailQueue(const absl::Status& why) {
  for (Batch& batch : queue_.TakeAll()) {
    pending_bytes_ -= batch.payload_bytes;
    env_.shard.Post([batch = std::move(batch), why]() mutable { batch.FailAll(why); });
  }
}

void LogImpl::FailProposed(const absl::Status& why) {
  for (Batch& batch : proposed_) {
    pending_bytes_ -= batch.payload_bytes;
    env_.shard.Post([batch = std::move(batch), why]() mutable { batch.FailAll(why); });
  }
  proposed_.clear();
}

void LogImpl::Fault(const absl::Status& why) {
  if (!fault_.ok()) return;
  fault_ = absl::IsDataLoss(why) ? why : absl::DataLossError(why.message());
  FailQueue(fault_);
  FailProposed(fault_);
  jobs_.clear();
  machine_.OnFault(fault_);
}

void LogImpl::Stop(absl::AnyInvocable<void() &&> done) {
  stop_done_.push_back(std::move(done));
  stopping_ = true;
  if (spare_maker_ != nullptr) spare_maker_->Cancel();
  if (spare_timer_ != 0) {
    env_.shard.Cancel(std::exchange(spare_timer_, 0));
    spare_maker_->Continue();
  }
  SchedulePump();
}

void LogImpl::MaybeFinishStop() {
  if (!stopping_ || job_under_way_ || reads_under_way_ > 0 || reading_for_apply_ || spare_maker_ != nullptr || removing_)
    return;
  if (started_ && fault_.ok() && !stopped_) {
    // Without a majority nothing more gets committed: those who wait learn it from the client's own timeout, not from us.
    if (!Announced()) FailQueue(errors::HaNotAvailable(absl::StrCat("shard '", options_.shard_name, "' is stopping")));
    if (!queue_.empty() || !proposed_.empty() || !jobs_.empty() || unsynced_ || committed_ > LastApplied())
      return;  // each of these ends in another turn of the pump
    if (!std::exchange(closing_written_, true)) {
      // So that the next start knows how far the log went: a missing tail is then damage and not a torn write.
      Job job{.end = end_, .last_index = last_index_};
      job.write.state = CurrentState();
      job.write.durable_end = durable_end_;
      return GiveToWriter(std::move(job));
    }
  }
  stopped_ = true;
  for (common::Executor::TimerId* timer : {&tick_timer_, &sync_timer_, &space_timer_})
    if (*timer != 0) env_.shard.Cancel(std::exchange(*timer, 0));
  for (auto& done : std::exchange(stop_done_, {})) env_.shard.Post(std::move(done));
}

LogStats LogImpl::Stats() const {
  const RaftStatus status = core_->Status();
  LogStats stats;
  stats.first_index = segments_.oldest().header.first_index;
  stats.last_index = last_index_;
  stats.committed = status.committed;
  stats.applied = LastApplied();
  stats.term = status.term;
  stats.leader = Announced();
  stats.begin = segments_.oldest().header.base;
  stats.end = end_;
  stats.pending_bytes = pending_bytes_;
  stats.segment_files = segments_.size();
  stats.disk_bytes = segments_.file_bytes();
  for (const SpareFile& spare : spares_) stats.disk_bytes += spare.file_bytes;
  stats.appended_records = appended_records_;
  stats.appended_bytes = appended_bytes_;
  stats.syncs = syncs_;
  stats.space_exhausted = space_exhausted_;
  stats.fault = fault_;
  return stats;
}

}  // namespace fulmar::log
