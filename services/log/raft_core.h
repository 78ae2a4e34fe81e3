#ifndef FULMAR_LOG_RAFT_CORE_H_
#define FULMAR_LOG_RAFT_CORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/ids.h"

struct FreNode;

namespace fulmar::log {

enum class RaftEntryKind : uint8_t {
  kPayload = 0,     // somebody proposed it; the handle stands for its payload
  kConfChange = 1,  // `conf_change` is its whole content, and must be stored and given back with it
  kTermStart = 2,   // the first entry of a leader's term: no content, nothing to apply
};

// Stands for an entry's payload, which never enters Raft. Travels with the entry to followers.
struct RaftHandle {
  uint32_t payload_bytes = 0;
  uint32_t payload_crc = 0;
  uint64_t extra = 0;  // the owner's own
  friend bool operator==(const RaftHandle&, const RaftHandle&) = default;
};

struct RaftEntry {
  LogIndex index;
  Term term;
  RaftEntryKind kind = RaftEntryKind::kPayload;
  RaftHandle handle;
  std::string conf_change;
  friend bool operator==(const RaftEntry&, const RaftEntry&) = default;
};

struct RaftHardState {
  Term term;
  uint64_t vote = 0;  // node voted for in `term`; 0: none
  LogIndex commit;    // may be stored, need not be: a start with 0 finds it again
  friend bool operator==(const RaftHardState&, const RaftHardState&) = default;
};

// Who takes part. Lists are sorted; the outgoing voters are not empty while a change of several members is under way.
struct RaftConfState {
  std::vector<uint64_t> voters;
  std::vector<uint64_t> learners;
  std::vector<uint64_t> voters_outgoing;
  std::vector<uint64_t> learners_next;
  bool auto_leave = false;
  friend bool operator==(const RaftConfState&, const RaftConfState&) = default;
};

struct RaftConfChange {
  enum class Type : uint8_t { kAddVoter = 0, kRemove = 1, kAddLearner = 2 };
  struct Item {
    Type type;
    uint64_t node;
    friend bool operator==(const Item&, const Item&) = default;
  };
  std::vector<Item> items;      // one: changed at once; several: through a joint configuration; none: leave that
  std::string context;          // the owner's own, at most 60 KiB
  bool explicit_leave = false;  // stay joint until an empty change is proposed
  friend bool operator==(const RaftConfChange&, const RaftConfChange&) = default;
};

enum class RaftRole : uint8_t { kFollower = 0, kCandidate = 1, kLeader = 2, kPreCandidate = 3 };

struct RaftOptions {
  uint64_t node_id = 1;
  // From the owner's random source, fresh at each start: two replicas that share it may campaign at the same tick for
  // ever.
  uint64_t election_seed = 0;
  LogIndex applied;              // what the state machine's store holds
  uint32_t election_ticks = 10;  // a follower campaigns after [n, 2n) ticks of silence
  uint32_t heartbeat_ticks = 2;
  uint32_t max_inflight = 256;  // append messages under way to one follower
  bool check_quorum = true;     // a leader that hears no majority for election_ticks steps down
  bool pre_vote = true;         // ask before raising the term: a replica that comes back disturbs nobody
  // Payload bytes of the entries in one append message, and of the committed entries in one Ready; at least one entry
  // each.
  uint64_t max_message_payload_bytes = 1 << 20;
  uint64_t max_ready_payload_bytes = 8 << 20;
  enum class LogLevel : uint8_t { kOff = 0, kError = 2, kWarning = 3, kInfo = 4 };
  LogLevel log_level = LogLevel::kWarning;
};

// What the owner's log holds at start.
struct RaftStored {
  RaftHardState hard_state;
  RaftConfState conf_state;  // as of RaftOptions::applied
  LogIndex compacted;        // the entry before `entries`; 0 and term 0 for a log from its beginning
  Term compacted_term;
  std::vector<RaftEntry> entries;
};

struct RaftMessage {
  struct EntryRef {
    LogIndex index;
    Term term;
    RaftEntryKind kind = RaftEntryKind::kPayload;
    uint32_t payload_bytes = 0;
  };
  uint64_t to = 0;
  std::string bytes;              // for Step() at `to`
  std::vector<EntryRef> entries;  // whose payloads the transport attaches
  LogIndex snapshot_index;        // not 0: the snapshot at this index must reach `to` first, then ReportSnapshot()
};

struct RaftSnapshot {
  LogIndex index;
  Term term;
  RaftConfState conf_state;
};

struct RaftReadState {
  LogIndex index;
  std::string context;
};

struct RaftSoftState {
  RaftRole role = RaftRole::kFollower;
  uint64_t leader = 0;  // 0: none known
};

struct RaftSnapshotWanted {
  uint64_t peer = 0;
  LogIndex at_least;
};

// What the owner must do now. The order: store (if must_persist), send, apply; sending and applying need not wait.
struct RaftReady {
  uint64_t number = 0;
  // hard_state, snapshot and entries must be made durable, in this order, before OnPersistReady(number).
  // When false there is nothing to write and no call to make (hard_state then differs in `commit` only).
  bool must_persist = false;
  std::optional<RaftHardState> hard_state;  // when it changed
  std::optional<RaftSnapshot> snapshot;     // the log and the state machine are replaced by it
  std::vector<RaftEntry> entries;           // to be written; whatever was at and behind the first one's index is void
  std::vector<RaftMessage> messages;        // to be sent now; may be lost, repeated or reordered
  std::vector<RaftEntry> committed;         // durable here and committed: to be applied, in order, each once
  std::vector<RaftReadState> read_states;   // reads that may be answered when `index` is applied
  std::optional<RaftSoftState> soft_state;  // when it changed
  std::vector<RaftSnapshotWanted> snapshots_wanted;  // followers that need entries which are compacted
};

struct RaftStatus {
  Term term;
  uint64_t vote = 0;
  uint64_t leader = 0;
  RaftRole role = RaftRole::kFollower;
  LogIndex first_index;  // behind the compaction point; may be last_index + 1
  LogIndex last_index;
  LogIndex persisted;
  LogIndex committed;
  LogIndex applied;
};

struct RaftPeer {
  enum class State : uint8_t { kProbe = 0, kReplicate = 1, kSnapshot = 2 };
  uint64_t id = 0;
  bool voter = false;
  bool recently_active = false;
  LogIndex matched;  // known to be durable there
  LogIndex next;
  State state = State::kProbe;
  LogIndex pending_snapshot;
};

struct RaftLogLine {
  RaftOptions::LogLevel level;
  std::string text;
};

// One replica of one Raft group: decides what is appended, sent and committed. A pure state machine around raft-rs
// (raft_engine/): no file, thread, clock or random source; the same calls give the same answers, byte for byte.
//
//   Tick / Step / Propose ... -> HasReady -> TakeReady -> write ------> OnPersistReady(number)
//                                                      -> send
//                                                      -> apply ------> ApplyConfChange / AdvanceApplied(index)
//
// Owns:    the metadata of all entries behind the compaction point (32 bytes each).
// Threads: none of its own; one at a time, in practice the shard thread.
// Readys:  take one whenever HasReady(); several may be on their way to disk. OnPersistReady comes in their order and
//          covers earlier ones. Messages that depend on a write come out with a later Ready than the write's own.
// Crash:   state is what the owner stored. Open() with that continues; a vote or entry that was reported durable and is
//          gone breaks the group.
// A broken order of calls, and a panic inside the engine, are our bugs and stop the process.
class RaftCore {
 public:
  // Errors: InvalidArgument (options, configuration), DataLoss (what is stored contradicts itself: says what).
  static absl::StatusOr<std::unique_ptr<RaftCore>> Open(const RaftOptions& options, const RaftStored& stored);
  ~RaftCore();
  RaftCore(const RaftCore&) = delete;
  RaftCore& operator=(const RaftCore&) = delete;

  // One step of time: heartbeats, elections.
  void Tick();
  // Asks to lead now; a single voter leads when this returns OK. OK also for a leader.
  // Errors: InvalidArgument (not a voter), Unavailable (writes under way or a configuration change not applied; ticks
  // retry).
  absl::Status Campaign();

  struct Place {
    LogIndex index;
    Term term;
  };
  // Appends an entry; it may still be lost as long as it is not among `committed` with this index and term.
  // Errors: Unavailable (not the leader, or handing over).
  absl::StatusOr<Place> Propose(const RaftHandle& handle);
  // As Propose. Errors: Unavailable (as Propose, or an earlier change is not applied), InvalidArgument (no such change
  // can be made to this configuration).
  absl::StatusOr<Place> ProposeConfChange(const RaftConfChange& change);

  // A message from a peer. What is wrong with it is the peer's fault, or the network's: log it, count it, go on.
  // Errors: InvalidArgument, Unavailable (right but untimely), NotFound (not from a member),
  //         DataLoss (the leader knows of durable entries here that are gone: stop this replica).
  absl::Status Step(std::string_view message);

  bool HasReady() const;
  RaftReady TakeReady();
  // All that the Readys up to `number` wanted written is durable.
  void OnPersistReady(uint64_t number);

  // Everything up to `index` is applied. Indexes must have been handed out as committed (or as a durable snapshot).
  void AdvanceApplied(LogIndex index);
  // When a committed kConfChange entry is applied, before AdvanceApplied of its index. The result is to be stored with
  // what is applied, for the next Open(). An error means that the change is void: nothing changed, go on.
  absl::StatusOr<RaftConfState> ApplyConfChange(std::string_view conf_change);
  // What the bytes of a kConfChange entry mean.
  absl::StatusOr<RaftConfChange> DecodeConfChange(std::string_view conf_change) const;

  // Asks `node` to take over as soon as it has everything; given up after election_ticks. Meanwhile nothing can be
  // proposed.
  // Errors: Unavailable (not the leader), NotFound (not a voter).
  absl::Status TransferLeader(uint64_t node);
  // Asks for the index from which on a read is up to date; it comes as a read state with `context` (1 to 64 bytes,
  // unique in the group), or never, when leadership changes or a message is lost: the caller needs a deadline.
  // Errors: Unavailable (no leader known; or leader without a committed entry in its term), InvalidArgument.
  absl::Status ReadIndex(std::string_view context);

  // Forgets the metadata of entries up to `index`, at most the applied one: followers that need them will want a
  // snapshot.
  void Compact(LogIndex index);
  // From now on followers that need one are offered the snapshot at `index` (applied, not compacted beyond), taken with
  // `conf_state`; WithdrawSnapshot() ends that.
  void ProvideSnapshot(LogIndex index, const RaftConfState& conf_state);
  void WithdrawSnapshot();
  // The transport's findings about what it was given to send.
  void ReportSnapshot(uint64_t node, bool delivered);
  void ReportUnreachable(uint64_t node);

  RaftStatus Status() const;
  bool IsLeader() const { return Status().role == RaftRole::kLeader; }
  // Everyone in the configuration, by id; what is known of others is true only on the leader.
  std::vector<RaftPeer> Peers() const;
  RaftConfState ConfState() const;
  // The term of an entry; none when it is compacted or does not exist yet.
  std::optional<Term> TermOf(LogIndex index) const;

  // What raft-rs had to say since the last call, at most 256 lines; `dropped` (may be null) counts those that were
  // lost.
  std::vector<RaftLogLine> TakeLogLines(uint64_t* dropped = nullptr);

 private:
  explicit RaftCore(FreNode* node) : node_(node) {}
  absl::Status ToStatus(int32_t code) const;
  void Must(int32_t code) const;

  FreNode* const node_;
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_RAFT_CORE_H_
