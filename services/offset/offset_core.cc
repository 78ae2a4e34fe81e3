#include "services/offset/offset_core.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/common/status.h"
#include "services/index/keys.h"

// A request's way: any thread -> WhenLeading (the shard executor, leading) -> PassGate (compaction does not need the log for
// itself) -> a record appended -> applied, index written, watchers told -> answered.
//
// What a record says is decided when it is appended, by the leader, from the applied state plus the records on their way:
// so a record in the log is never in vain, and applying it needs nothing else. For claims the records on their way are
// counted (pending_claims_); definitions are changed in rounds, in which no object comes twice, and the next round begins
// when the last one is applied.
namespace fulmar::offset {

using common::kShardThread;
using index::DefinitionEvent;
using index::QueueProgress;

absl::StatusOr<std::unique_ptr<OffsetCore>> OffsetCore::Open(OffsetCoreOptions options, Env env) {
  std::unique_ptr<OffsetCore> core(new OffsetCore(std::move(options), env));
  FULMAR_RETURN_IF_ERROR(core->Init());
  return core;
}

OffsetCore::OffsetCore(OffsetCoreOptions options, Env env)
    : options_(std::move(options)),
      env_(env),
      state_(env.kv, options_.max_deletions),
      compaction_(options_.compaction, env.kv, state_),
      ledger_(options_.ledger, LedgerHost()) {}

OffsetCore::~OffsetCore() = default;

// Nothing of ours runs yet, so no thread needs to be proved.
absl::Status OffsetCore::Init() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  constexpr char kIndex[] = "offset index (`fulmar index rebuild` makes it again from the log)";
  FULMAR_RETURN_IF_ERROR(Annotate(index::CheckIndexFormat(env_.kv), kIndex));
  FULMAR_RETURN_IF_ERROR(Annotate(state_.Load(), kIndex));
  const log::ReplicatedLog::Env log_env{.files = env_.files,
                                        .clock = env_.clock,
                                        .random = env_.random,
                                        .shard = env_.shard,
                                        .writer = env_.writer,
                                        .reader = env_.reader,
                                        .observer = env_.observer,
                                        .transport = env_.transport};
  FULMAR_ASSIGN_OR_RETURN(log_, log::ReplicatedLog::Open(options_.log, log_env, *this, index::ReadApplied(env_.kv)));
  return absl::OkStatus();
}

void OffsetCore::Start() {
  env_.shard.Post([this] {
    kShardThread.AssertHeld(env_.shard);
    log_->Start();
    ledger_.StartCleaning();
  });
  env_.shard.After(options_.start_grace, [this] {
    kShardThread.AssertHeld(env_.shard);
    if (phase_ == Phase::kStarting) SetPhase(Phase::kFollowing, absl::UnavailableError("the offset service has no leader yet"));
  });
}

void OffsetCore::Stop(absl::AnyInvocable<void() &&> done) {
  env_.shard.Post([this, done = std::move(done)]() mutable {
    kShardThread.AssertHeld(env_.shard);
    if (phase_ != Phase::kBroken) SetPhase(Phase::kStopping, absl::UnavailableError("the offset service is stopping"));
    log_->Stop(std::move(done));
  });
}

void OffsetCore::GetStatus(absl::AnyInvocable<void(OffsetStatus) &&> done) {
  env_.shard.Post([this, done = std::move(done)]() mutable {
    kShardThread.AssertHeld(env_.shard);
    OffsetStatus status = counts_;
    status.serving = phase_ == Phase::kLeading;
    status.health = phase_ == Phase::kStarting ? absl::UnavailableError("the offset service is starting") : refusal_;
    status.log = log_->Stats();
    status.index = env_.kv.GetStats();
    status.sizes = state_.GetSizes();
    status.ledger = ledger_.counts();
    if (status.health.ok() && !status.index.healthy) status.health = absl::UnavailableError(status.index.problem);
    std::move(done)(std::move(status));
  });
}

// --- The log's side.

void OffsetCore::Apply(const log::AppliedEntry& entry) {
  kShardThread.AssertHeld(env_.shard);
  if (phase_ == Phase::kBroken) return;  // an entry was missed: later ones would be applied to the wrong state
  const auto publish = [this](const DefinitionEvent& event) {
    kShardThread.AssertHeld(env_.shard);
    watches_.Publish(event);
  };
  if (absl::Status status = state_.Apply(entry, publish); !status.ok()) return OnFault(status);
  applied_ = entry.end;
  if (entry.end < next_compaction_check_ || phase_ != Phase::kLeading) return;
  next_compaction_check_.value = entry.end.value + options_.log.segment_bytes / 4;
  env_.shard.Post([this] {
    kShardThread.AssertHeld(env_.shard);
    CheckCompaction();
  });
}

void OffsetCore::OnLeader(Term) {
  kShardThread.AssertHeld(env_.shard);
  if (phase_ == Phase::kStopping || phase_ == Phase::kBroken) return;
  SetPhase(Phase::kLeading, absl::OkStatus());
}

void OffsetCore::OnFollower(Term term) {
  kShardThread.AssertHeld(env_.shard);
  if (phase_ == Phase::kStopping || phase_ == Phase::kBroken) return;
  // A replica begins as a follower: only one that led has something to give up.
  if (phase_ == Phase::kLeading) {
    SetPhase(Phase::kFollowing, absl::UnavailableError(absl::StrCat("this replica does not lead term ", term.value)));
  }
}

void OffsetCore::OnFault(const absl::Status& why) {
  kShardThread.AssertHeld(env_.shard);
  SetPhase(Phase::kBroken, Annotate(why, "the offset service is broken"));
}

// Only internal records are appended here: the log's reserve serves them, and says itself when that is used up. The ledger spares it.
void OffsetCore::OnSpace(bool exhausted) {
  kShardThread.AssertHeld(env_.shard);
  space_exhausted_ = exhausted;
}

// --- From any thread to a record.

void OffsetCore::WhenLeading(WithStatus run) {
  env_.shard.Post([this, run = std::move(run)]() mutable {
    kShardThread.AssertHeld(env_.shard);
    if (phase_ == Phase::kLeading) return std::move(run)(absl::OkStatus());
    if (phase_ != Phase::kStarting) return std::move(run)(refusal_);
    if (waiting_for_leader_.size() >= options_.max_waiting) {
      return std::move(run)(absl::ResourceExhaustedError("too many requests wait for the offset service to start"));
    }
    waiting_for_leader_.push_back(std::move(run));
  });
}

void OffsetCore::SetPhase(Phase phase, absl::Status refusal) {
  phase_ = phase;
  refusal_ = std::move(refusal);
  for (WithStatus& run : std::exchange(waiting_for_leader_, {})) std::move(run)(refusal_);
  if (phase_ == Phase::kLeading) return;
  for (DefinitionRequest& request : std::exchange(definition_requests_, {})) std::move(request.finish)(refusal_);
  EndCompaction();
}

void OffsetCore::PassGate(WithStatus run) {
  if (!gate_closed_) return std::move(run)(absl::OkStatus());
  if (at_gate_.size() >= options_.max_waiting) {
    return std::move(run)(absl::ResourceExhaustedError("too many requests wait for the offset service's log"));
  }
  at_gate_.push_back(std::move(run));
}

void OffsetCore::OpenGate() {
  gate_closed_ = false;
  for (WithStatus& run : std::exchange(at_gate_, {})) {
    std::move(run)(phase_ == Phase::kLeading ? absl::OkStatus() : refusal_);
  }
  RunDefinitions();
}

void OffsetCore::Append(log::RecordType type, std::string body, WithStatus done) {
  ++appends_;
  log_->Append(type, std::move(body), log::Durability::kSync, log::AppendClass::kInternal,
               [this, done = std::move(done)](absl::StatusOr<log::RecordPlace> place) mutable {
                 kShardThread.AssertHeld(env_.shard);
                 --appends_;
                 // The log has it, but a broken state did not take it.
                 std::move(done)(phase_ == Phase::kBroken ? refusal_ : place.status());
                 AfterAppend();
               });
}

void OffsetCore::AfterAppend() {
  if (gate_closed_ && appends_ == 0) StepCompaction();
  if (definitions_running_ == 0) RunDefinitions();
}

// --- Progress.

std::optional<Term> OffsetCore::ProjectedClaim(const std::string& shard) const {
  std::optional<Term> claim = state_.ClaimOf(shard);
  const auto pending = pending_claims_.find(shard);
  if (pending != pending_claims_.end() && (!claim || *claim < pending->second.term)) claim = pending->second.term;
  return claim;
}

void OffsetCore::Claim(std::string shard, Term term, index::Done<std::vector<QueueProgress>> done) {
  WhenLeading([this, shard = std::move(shard), term, done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (status.ok()) status = index::CheckShardName(shard);
    if (status.ok() && term.value < 1) status = absl::InvalidArgumentError(absl::StrCat("term ", term.value));
    if (!status.ok()) return std::move(done)(std::move(status));
    PassGate([this, shard = std::move(shard), term, done = std::move(done)](absl::Status gate) mutable {
      kShardThread.AssertHeld(env_.shard);
      if (!gate.ok()) return std::move(done)(std::move(gate));
      AppendClaim(std::move(shard), term, std::move(done));
    });
  });
}

void OffsetCore::AppendClaim(std::string shard, Term term, index::Done<std::vector<QueueProgress>> done) {
  const auto fenced = [shard, term](Term by) {
    return absl::FailedPreconditionError(
        absl::StrCat("shard '", shard, "' is claimed by term ", by.value, ", this is term ", term.value));
  };
  if (const std::optional<Term> claim = ProjectedClaim(shard); claim && term < *claim) {
    ++counts_.fenced;
    return std::move(done)(fenced(*claim));
  }
  PendingClaim& pending = pending_claims_[shard];
  pending.term = std::max(pending.term, term);
  ++pending.on_their_way;
  std::string body = Encode(ClaimRecord{shard, term});
  Append(log::RecordType::kClaim, std::move(body),
         [this, shard, term, fenced, done = std::move(done)](absl::Status status) mutable {
           kShardThread.AssertHeld(env_.shard);
           const auto own = pending_claims_.find(shard);
           if (--own->second.on_their_way == 0) pending_claims_.erase(own);
           if (!status.ok()) return std::move(done)(std::move(status));
           const Term claim = state_.ClaimOf(shard).value_or(term);
           if (term < claim) return std::move(done)(fenced(claim));
           ++counts_.claims;
           std::move(done)(state_.ReadProgress(shard));
         });
}

void OffsetCore::Write(std::string shard, Term term, std::vector<QueueProgress> entries, index::DoneStatus done) {
  WhenLeading([this, shard = std::move(shard), term, entries = std::move(entries),
               done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    for (const QueueProgress& entry : entries) {
      if (status.ok()) status = index::CheckProgress(entry);
      if (status.ok()) status = index::CheckGroupName(entry.group);
    }
    if (!status.ok()) return std::move(done)(std::move(status));
    PassGate([this, shard = std::move(shard), term, entries = std::move(entries),
              done = std::move(done)](absl::Status gate) mutable {
      kShardThread.AssertHeld(env_.shard);
      if (!gate.ok()) return std::move(done)(std::move(gate));
      AppendProgress(std::move(shard), term, std::move(entries), std::move(done));
    });
  });
}

bool OffsetCore::IsDefined(const QueueProgress& entry) const {
  return state_.FindGroup(entry.group) != nullptr && !groups_being_deleted_.contains(entry.group) &&
         state_.HasTopicId(entry.topic_id) && !topics_being_deleted_.contains(entry.topic_id);
}

void OffsetCore::AppendProgress(std::string shard, Term term, std::vector<QueueProgress> entries,
                                index::DoneStatus done) {
  if (const std::optional<Term> claim = ProjectedClaim(shard); claim != term) {
    ++counts_.fenced;
    return std::move(done)(absl::FailedPreconditionError(
        absl::StrCat("shard '", shard, "' is claimed by ", claim ? absl::StrCat("term ", claim->value) : "nobody",
                     ", this is term ", term.value)));
  }
  const size_t given = entries.size();
  std::erase_if(entries, [this](const QueueProgress& entry) {
    kShardThread.AssertHeld(env_.shard);
    return !entry.deleted && !IsDefined(entry);
  });
  counts_.dropped_entries += given - entries.size();
  ++counts_.writes;
  counts_.written_entries += entries.size();
  if (entries.empty()) return std::move(done)(absl::OkStatus());
  // Whatever one call brings, a record stays small. The entries are independent; a caller that sees an error writes all of them again.
  struct Answer {
    size_t records = 1;  // not answered; one more while they are made
    absl::Status status;
    index::DoneStatus done;
    void Count(const absl::Status& appended) {
      status.Update(appended);
      if (--records == 0) std::move(done)(status);
    }
  };
  auto answer = std::make_shared<Answer>(Answer{.done = std::move(done)});
  ProgressRecord record{.shard = std::move(shard), .term = term};
  size_t bytes = 0;
  const auto append = [&] {
    kShardThread.AssertHeld(env_.shard);
    ++answer->records;
    Append(log::RecordType::kProgress, Encode(record), [answer](const absl::Status& status) { answer->Count(status); });
    record.entries.clear();
    bytes = 0;
  };
  for (QueueProgress& entry : entries) {
    const size_t more = index::MaxEncodedBytes(entry);
    if (bytes > 0 && bytes + more > options_.max_progress_record_bytes) append();
    bytes += more;
    record.entries.push_back(std::move(entry));
  }
  append();
  answer->Count(absl::OkStatus());
}

// --- Compaction.

void OffsetCore::CheckCompaction() {
  if (phase_ != Phase::kLeading || compaction_.active()) return;
  if (!compaction_.BeginIfWanted(log_->Segments())) return;
  gate_closed_ = true;
  if (appends_ == 0) StepCompaction();
}

// The gate is closed and no append is under way.
void OffsetCore::StepCompaction() {
  absl::StatusOr<LogCompaction::Chunk> chunk = compaction_.NextChunk();
  if (!chunk.ok()) return OnFault(chunk.status());
  chunk_was_last_ = chunk->last;
  chunk_failed_ = false;
  // One is held until all are appended: an answer may come before the loop ends.
  chunk_appends_ = 1;
  const auto appended = [this](absl::Status status) {
    kShardThread.AssertHeld(env_.shard);
    chunk_failed_ |= !status.ok();
    if (--chunk_appends_ > 0 || !compaction_.active()) return;
    if (chunk_failed_) return EndCompaction();  // no space, or not leader: the next check begins again
    if (chunk_was_last_) return FinishCompaction(applied_);
    gate_closed_ = true;
    env_.shard.Post([this] {
      kShardThread.AssertHeld(env_.shard);
      if (gate_closed_ && appends_ == 0 && compaction_.active()) StepCompaction();
    });
  };
  for (LogCompaction::Record& record : chunk->records) {
    ++chunk_appends_;
    Append(record.type, std::move(record.body), appended);
  }
  OpenGate();
  appended(absl::OkStatus());
}

// All live state has a record at or behind the target, and those records are applied, the last one before `until`. The segments
// may go once the index survives a crash without them.
void OffsetCore::FinishCompaction(LogPosition until) {
  env_.kv.FlushAsync();
  constexpr absl::Duration kPause = absl::Milliseconds(200);
  env_.shard.After(kPause, [this, until] {
    kShardThread.AssertHeld(env_.shard);
    if (!compaction_.active()) return;
    if (index::ReadDurableApplied(env_.kv).position < until) return FinishCompaction(until);
    log_->RemoveSegmentsBelow(compaction_.target());
    ++counts_.compactions;
    compaction_.End();
  });
}

void OffsetCore::EndCompaction() {
  compaction_.End();
  OpenGate();
}

}  // namespace fulmar::offset
