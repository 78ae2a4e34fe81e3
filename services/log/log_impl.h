#ifndef FULMAR_LOG_LOG_IMPL_H_
#define FULMAR_LOG_LOG_IMPL_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "services/log/append_queue.h"
#include "services/log/cold_reader.h"
#include "services/log/entry_cache.h"
#include "services/log/raft_core.h"
#include "services/log/raft_state.h"
#include "services/log/recovery.h"
#include "services/log/replicated_log.h"
#include "services/log/segment_table.h"
#include "services/log/segment_writer.h"
#include "services/log/spare_files.h"

namespace fulmar::log {

// The log behind ReplicatedLog::Open(). Everything here runs on the shard executor; what blocks is sent to the writer or
// the reader as a task that owns what it needs and posts its result back.
//
//   Append ──► queue_ ──propose──► core_ ──ready──► jobs_ ──► writer: write [answer kAsync] sync
//                                                               │
//   done(kSync) ◄── Apply ◄── committed ◄── core_ ◄──persisted──┘
//
// One job is with the writer at a time; what is appended meanwhile becomes the next entry.
class LogImpl final : public ReplicatedLog {
 public:
  struct Parts {
    std::unique_ptr<common::File> lock;
    RaftState state;
    RecoveredLog recovered;
    std::unique_ptr<RaftCore> core;
    std::shared_ptr<SegmentWriter> writer;
  };
  LogImpl(LogOptions options, Env env, StateMachine& machine, AppliedPoint applied, Parts parts);
  ~LogImpl() override = default;

  void Start() override;
  void Append(RecordType type, std::string body, Durability durability, AppendClass append_class,
              AppendDone done) override;
  absl::Status CanAppend(uint64_t bytes, AppendClass append_class) const override;
  std::optional<common::SharedBytes> TryRead(LogPosition position) override;
  void Read(LogPosition position, uint32_t length, ReadDone done) override;
  std::vector<SegmentInfo> Segments() const override { return segments_.Infos(); }
  void RemoveSegmentsBelow(LogPosition position) override;
  LogStats Stats() const override;
  void Step(std::string raft, std::vector<ReplicaPayload> payloads) override;
  void Stop(absl::AnyInvocable<void() &&> done) override;

 private:
  // A job for the writer and what follows when it is done.
  struct Job {
    WriteJob write;
    uint64_t ready_number = 0;  // of the Raft engine; 0: none to report
    LogPosition end;            // of the log, when this is written
    LogIndex last_index;
    bool early = false;         // holds records that are answered after the write
  };

  // --- The pump: moves everything that can move. Posted, never called from a callback.
  void SchedulePump();
  void Pump();
  void ProposeNext();
  void TakeReadies();
  void StartNextJob();
  void ApplyCommitted();

  // --- Raft's output.
  void OnRole(RaftRole role);
  void LayOut(const RaftReady& ready, Job& job);
  Entry ToEntry(const RaftEntry& raft_entry);
  void TruncateTo(LogIndex first_void, Job& job);
  void Send(RaftMessage message);
  RaftState CurrentState() const;

  // --- The writer.
  void GiveToWriter(Job job);
  void OnWritten(LogIndex last);
  void OnJobDone(Job job, absl::Status status);
  void OnDurable(const Job& job);
  void OnUnsynced(const Job& job);
  void AnswerEarly(LogIndex last);

  // --- Applying.
  void ApplyEntry(const Entry& entry);
  void ReadForApply();
  void OnReadForApply(absl::StatusOr<std::vector<Entry>> entries);
  void ApplyMembers(const Entry& entry);
  void FinishBatch(Batch batch);
  void ForgetOldEntries();

  // --- Space.
  void MaintainSpares();
  void OnSparePiece(SpareMaker::Progress progress);
  bool IsSpareUrgent(SpareMaker::Progress progress) const;
  void OnSpareMade(absl::StatusOr<SpareFile> spare);
  bool IsRecyclable(uint64_t file_bytes) const;
  void SetSpaceExhausted(bool exhausted);
  void RetrySpaceLater();
  void RemoveNextDoomed();
  void OnRemoved(absl::Status status);
  size_t WantedSpares() const { return static_cast<size_t>(std::max(1, options_.spare_segments)); }

  // --- Failing and stopping.
  void Fault(const absl::Status& why);
  void FailQueue(const absl::Status& why);
  void FailProposed(const absl::Status& why);
  void FailLater(AppendDone done, absl::Status why);
  void MaybeFinishStop();
  void Tick();
  void RequestSync();

  bool Announced() const { return announced_term_.has_value(); }
  LogIndex LastApplied() const { return {next_apply_.next_index.value - 1}; }

  // Wraps a task for the shard so that it does nothing once this object is gone.
  template <class Function>
  auto Guarded(Function function) {
    return [alive = std::weak_ptr<const bool>(alive_), function = std::move(function)](auto&&... args) mutable {
      if (!alive.expired()) function(std::forward<decltype(args)>(args)...);
    };
  }
  // Runs `work` on `executor` (blocking work, not touching this object) and then `then(result)` here.
  template <class Work, class Then>
  void RunOn(common::Executor& executor, Work work, Then then) {
    executor.Post([&shard = env_.shard, work = std::move(work), then = Guarded(std::move(then))]() mutable {
      auto result = work();
      shard.Post([result = std::move(result), then = std::move(then)]() mutable { then(std::move(result)); });
    });
  }

  const LogOptions options_;
  const Env env_;
  StateMachine& machine_;
  const std::unique_ptr<common::File> lock_;
  const std::unique_ptr<RaftCore> core_;
  const std::shared_ptr<SegmentWriter> writer_;      // used on the writer executor only
  const std::shared_ptr<ColdReader> cold_;           // used on the reader executor
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);

  // What was laid out, written or not.
  SegmentTable segments_;
  EntryCache cache_;
  LogPosition end_;
  LogIndex last_index_;
  Term last_term_;
  int64_t last_time_ms_;
  LogPosition durable_end_;

  // Raft.
  RaftRole role_ = RaftRole::kFollower;
  RaftState state_;                       // what raft.state holds, or will after the jobs under way
  std::optional<Term> announced_term_;    // OnLeader was called for it
  LogIndex committed_;
  absl::btree_map<std::pair<int64_t, int64_t>, common::SharedBytes> incoming_;  // payloads from the leader, by index, term

  // Appends.
  AppendQueue queue_;
  std::deque<Batch> proposed_;  // by index
  uint64_t pending_bytes_ = 0;  // of records not answered for good

  // The writer.
  std::deque<Job> jobs_;
  bool job_under_way_ = false;
  bool unsynced_ = false;           // something was written and not synced
  Job unsynced_job_;                // the last of those
  bool sync_due_ = false;
  common::Executor::TimerId sync_timer_ = 0;
  LogIndex early_upto_;             // kAsync records up to here are to be answered
  LogIndex early_answered_;         // and up to here they are

  // Applying.
  LogCursor next_apply_;
  std::deque<Entry> read_ahead_;    // entries for Apply that are no longer in the cache
  bool reading_for_apply_ = false;
  std::vector<RecordView> views_;           // scratch
  std::vector<AppliedRecord> records_;      // scratch

  // Space.
  std::deque<SpareFile> spares_;
  uint64_t next_spare_number_;
  std::shared_ptr<SpareMaker> spare_maker_;
  common::Executor::TimerId spare_timer_ = 0;  // until the next piece
  bool space_exhausted_ = false;
  common::Executor::TimerId space_timer_ = 0;
  std::deque<RecoveredSegment> doomed_;
  std::optional<SpareFile> recycled_as_;  // what the first of them is being turned into
  bool removing_ = false;

  // Life.
  LogIndex core_applied_;  // what the Raft core believes; more than is applied during a replay
  LogIndex compacted_;     // the Raft core has forgotten up to here
  bool started_ = false, pump_scheduled_ = false, pumping_ = false;
  bool stopping_ = false, closing_written_ = false, stopped_ = false;
  common::Executor::TimerId tick_timer_ = 0;
  std::vector<absl::AnyInvocable<void() &&>> stop_done_;
  int64_t reads_under_way_ = 0;
  absl::Status fault_;
  uint64_t appended_records_ = 0, appended_bytes_ = 0, syncs_ = 0;
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_LOG_IMPL_H_
