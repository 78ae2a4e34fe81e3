#ifndef FULMAR_OFFSET_OFFSET_CORE_H_
#define FULMAR_OFFSET_OFFSET_CORE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/common/clock.h"
#include "services/common/executor.h"
#include "services/common/files.h"
#include "services/common/random.h"
#include "services/common/thread_role.h"
#include "services/index/kv_store.h"
#include "services/index/ports.h"
#include "services/log/replicated_log.h"
#include "services/offset/definition_watches.h"
#include "services/offset/ledger.h"
#include "services/offset/log_compaction.h"
#include "services/offset/offset_state.h"

namespace fulmar::offset {

struct OffsetCoreOptions {
  log::LogOptions log;
  LogCompaction::Options compaction;
  LedgerOptions ledger;
  size_t max_progress_record_bytes = 1 << 20;  // above, entries of one write go into several records
  size_t max_deletions = 65536;   // newest ones remembered for watchers
  size_t max_waiting = 100000;    // requests that wait for the log; more are refused with ResourceExhausted
  absl::Duration start_grace = absl::Seconds(5);  // how long requests wait for the first leader
};

struct OffsetStatus {
  bool serving = false;  // leads, and its log is healthy
  absl::Status health;   // why not
  log::LogStats log;
  index::KvStore::Stats index;
  OffsetState::Sizes sizes;
  Ledger::Counts ledger;
  uint64_t claims = 0, writes = 0, written_entries = 0, fenced = 0, dropped_entries = 0, definition_changes = 0, compactions = 0;
};

// The offset service: progress of every group, and the one authority for definitions, on a replicated log of its own.
// Owns:    the log. Borrows: Env, which outlives it.
// Threads: any may call. Everything happens on the shard executor; callbacks run there, never inside the call, and must
//          not block. Watches end from any thread.
// Answers: a change is answered when it is durable and committed, in the order of arrival per object. Requests that come before
//          this replica knows who leads wait for it up to start_grace; then, and on a follower: Unavailable.
// Fencing: a claim with a term below the newest one, and a write with another term than the claimed one: FailedPrecondition.
// Crash:   what was answered is there. The index may be deleted: the log fills it again, with the same bytes.
// Stop:    destroy only after Stop()'s callback ran, or after the executors are dead.
class OffsetCore final : public index::ProgressStore, public index::DefinitionStore, public LedgerStore, private log::StateMachine {
 public:
  struct Env {
    common::Files& files;
    common::Clock& clock;
    common::Random& random;
    common::Executor& shard;
    common::Executor& writer;
    common::Executor& reader;
    index::KvStore& kv;
    log::LogObserver* observer = nullptr;
    log::LogTransport* transport = nullptr;
  };

  // Blocking recovery, before the executors run anything of ours. Errors: as ReplicatedLog::Open; FailedPrecondition or DataLoss
  // of the index: remove its folder, the log fills a new one.
  static absl::StatusOr<std::unique_ptr<OffsetCore>> Open(OffsetCoreOptions options, Env env);
  ~OffsetCore() override;

  void Start();
  // Refuses what is new, finishes what was accepted; `done` on the shard executor. Twice is fine. Flush the store afterwards
  // to make the next start quick.
  void Stop(absl::AnyInvocable<void() &&> done);

  void GetStatus(absl::AnyInvocable<void(OffsetStatus) &&> done);

  // ProgressStore. Write drops entries of groups and topics that are not defined (any more): nothing would ever remove them.
  void Claim(std::string shard, Term term, index::Done<std::vector<index::QueueProgress>> done) override;
  void Write(std::string shard, Term term, std::vector<index::QueueProgress> entries, index::DoneStatus done) override;

  // DefinitionStore.
  void EnsureTopic(index::TopicDefinition topic, index::Done<index::TopicDefinition> done) override;
  void UpdateTopic(index::TopicDefinition topic, index::Done<index::TopicDefinition> done) override;
  void DeleteTopic(std::string name, index::DoneStatus done) override;
  void GetTopic(std::string name, index::Done<index::TopicDefinition> done) override;
  void ListTopics(index::Done<std::vector<index::TopicDefinition>> done) override;
  void EnsureGroup(index::GroupDefinition group, index::Done<index::GroupDefinition> done) override;
  void UpdateGroup(index::GroupDefinition group, index::Done<index::GroupDefinition> done) override;
  void DeleteGroup(std::string name, index::DoneStatus done) override;
  void GetGroup(std::string name, index::Done<index::GroupDefinition> done) override;
  void ListGroups(index::Done<std::vector<index::GroupDefinition>> done) override;
  // `on_event` runs on the shard executor and must not block; the handle is not destroyed from inside it.
  std::unique_ptr<Watch> WatchDefinitions(uint64_t since_version,
                                          absl::AnyInvocable<void(index::DefinitionEvent)> on_event) override;

  // LedgerStore (offset_ledger.cc).
  void LedgerBegin(offset::LedgerBegin begin, index::Done<LedgerBegun> done) override;
  void LedgerComplete(offset::LedgerComplete complete, index::Done<LedgerEntry> done) override;
  void LedgerAbandon(std::string group, std::string key, uint64_t token, index::DoneStatus done) override;
  void LedgerGet(std::string group, std::string key, index::Done<LedgerEntry> done) override;

 private:
  // Refused (with the reason) or not, on the shard executor.
  using WithStatus = absl::AnyInvocable<void(absl::Status) &&>;
  enum class Phase { kStarting, kLeading, kFollowing, kStopping, kBroken };

  struct Planned {
    log::RecordType type;
    std::string body;
  };
  // What a request for a definition comes to, given the state and the counters that it may take from; nothing: no change.
  using Plan = absl::AnyInvocable<absl::StatusOr<std::optional<Planned>>(DefinitionCounters& counters)>;
  struct DefinitionRequest {
    std::string object;  // kind and name: one change of an object at a time
    Plan plan;
    WithStatus finish;
  };

  OffsetCore(OffsetCoreOptions options, Env env);
  absl::Status Init();

  // StateMachine.
  void Apply(const log::AppliedEntry& entry) override;
  void OnLeader(Term term) override;
  void OnFollower(Term term) override;
  void OnFault(const absl::Status& why) override;
  void OnSpace(bool exhausted) override;

  // Runs `run` on the shard executor: at once when this replica leads, later while it starts, else with the reason.
  void WhenLeading(WithStatus run);
  void SetPhase(Phase phase, absl::Status refusal) ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  // Lets `run` go, or holds it back while compaction needs the log for itself.
  void PassGate(WithStatus run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  void OpenGate() ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  void Append(log::RecordType type, std::string body, WithStatus done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  void AfterAppend() ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);

  // Newest term that has claimed `shard`, claims on their way included.
  std::optional<Term> ProjectedClaim(const std::string& shard) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  void AppendClaim(std::string shard, Term term, index::Done<std::vector<index::QueueProgress>> done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  void AppendProgress(std::string shard, Term term, std::vector<index::QueueProgress> entries, index::DoneStatus done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  bool IsDefined(const index::QueueProgress& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);

  void Change(std::string object, Plan plan, WithStatus finish);
  void RunDefinitions() ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  void RunDefinition(DefinitionRequest request, DefinitionCounters& counters)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  absl::StatusOr<std::optional<Planned>> PlanEnsureTopic(index::TopicDefinition topic, DefinitionCounters& counters)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  absl::StatusOr<std::optional<Planned>> PlanUpdateTopic(index::TopicDefinition topic, DefinitionCounters& counters)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  absl::StatusOr<std::optional<Planned>> PlanDeleteTopic(const std::string& name, DefinitionCounters& counters)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  absl::StatusOr<std::optional<Planned>> PlanEnsureGroup(index::GroupDefinition group, DefinitionCounters& counters)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  absl::StatusOr<std::optional<Planned>> PlanUpdateGroup(index::GroupDefinition group, DefinitionCounters& counters)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  absl::StatusOr<std::optional<Planned>> PlanDeleteGroup(const std::string& name, DefinitionCounters& counters)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  Ledger::Host LedgerHost();
  WithStatus AnswerTopic(std::string name, index::Done<index::TopicDefinition> done);
  WithStatus AnswerGroup(std::string name, index::Done<index::GroupDefinition> done);

  void CheckCompaction() ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  void StepCompaction() ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  void FinishCompaction(LogPosition until) ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);
  void EndCompaction() ABSL_EXCLUSIVE_LOCKS_REQUIRED(common::kShardThread);

  const OffsetCoreOptions options_;
  const Env env_;
  OffsetState state_ ABSL_GUARDED_BY(common::kShardThread);
  LogCompaction compaction_ ABSL_GUARDED_BY(common::kShardThread);
  DefinitionWatches watches_ ABSL_GUARDED_BY(common::kShardThread);
  Ledger ledger_ ABSL_GUARDED_BY(common::kShardThread);
  bool space_exhausted_ ABSL_GUARDED_BY(common::kShardThread) = false;
  std::unique_ptr<log::ReplicatedLog> log_;

  Phase phase_ ABSL_GUARDED_BY(common::kShardThread) = Phase::kStarting;
  absl::Status refusal_ ABSL_GUARDED_BY(common::kShardThread);  // what requests get unless starting or leading
  std::vector<WithStatus> waiting_for_leader_ ABSL_GUARDED_BY(common::kShardThread);
  size_t appends_ ABSL_GUARDED_BY(common::kShardThread) = 0;  // on their way

  bool gate_closed_ ABSL_GUARDED_BY(common::kShardThread) = false;
  std::deque<WithStatus> at_gate_ ABSL_GUARDED_BY(common::kShardThread);
  size_t chunk_appends_ ABSL_GUARDED_BY(common::kShardThread) = 0;  // of the compaction's chunk, on their way
  bool chunk_failed_ ABSL_GUARDED_BY(common::kShardThread) = false;
  bool chunk_was_last_ ABSL_GUARDED_BY(common::kShardThread) = false;
  LogPosition next_compaction_check_ ABSL_GUARDED_BY(common::kShardThread);
  LogPosition applied_ ABSL_GUARDED_BY(common::kShardThread);

  struct PendingClaim {
    Term term;
    int on_their_way = 0;
  };
  absl::btree_map<std::string, PendingClaim> pending_claims_ ABSL_GUARDED_BY(common::kShardThread);

  std::deque<DefinitionRequest> definition_requests_ ABSL_GUARDED_BY(common::kShardThread);
  size_t definitions_running_ ABSL_GUARDED_BY(common::kShardThread) = 0;
  absl::btree_set<std::string> groups_being_deleted_ ABSL_GUARDED_BY(common::kShardThread);
  absl::btree_set<uint32_t> topics_being_deleted_ ABSL_GUARDED_BY(common::kShardThread);

  OffsetStatus counts_ ABSL_GUARDED_BY(common::kShardThread);  // only the counts
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_OFFSET_CORE_H_
