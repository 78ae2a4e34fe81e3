#ifndef FULMAR_LOG_REPLICATED_LOG_H_
#define FULMAR_LOG_REPLICATED_LOG_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "services/common/bytes.h"
#include "services/common/clock.h"
#include "services/common/executor.h"
#include "services/common/files.h"
#include "services/common/ids.h"
#include "services/common/random.h"
#include "services/log/log_transport.h"
#include "services/log/record.h"

namespace fulmar::log {

// Where a record lies. `length` counts the record's body bytes.
struct RecordPlace {
  LogIndex index;         // of its entry
  Term term;
  LogPosition position;   // of the record itself: what Read() takes
  uint32_t length = 0;
};

struct AppliedRecord {
  RecordType type;
  LogPosition position;
  common::SharedBytes body;
};

// One committed and durable Raft entry: the records that were appended together.
struct AppliedEntry {
  LogIndex index;
  Term term;
  LogPosition end;  // first byte behind the entry
  absl::Time time;  // the leader's wall clock when it laid the entry out; never goes back inside a log
  absl::Span<const AppliedRecord> records;
};

// Up to where a state machine has applied the log; stored by it with its state.
struct AppliedPoint {
  LogIndex index;        // 0: nothing
  Term term;
  LogPosition position;  // end of that entry
};

struct SegmentInfo {
  LogPosition base;
  LogPosition end;
  LogIndex first_index;
  uint64_t file_bytes = 0;
  absl::Time last_entry_time;  // InfinitePast when it holds no entry yet
  bool sealed = false;         // the open segment is never removed
};

// What a log drives. Every call runs on the shard executor.
class StateMachine {
 public:
  virtual ~StateMachine() = default;
  // Each entry after the applied point given to Open, in order, once.
  virtual void Apply(const AppliedEntry& entry) = 0;
  // This replica leads `term` and has applied every entry of earlier terms: it may append and serve.
  virtual void OnLeader(Term term) = 0;
  virtual void OnFollower(Term term) = 0;
  // A write or sync failed, or replay met damage: nothing is accepted any more. At most once.
  virtual void OnFault(const absl::Status& why) = 0;
  // Space ran out (true) or came back (false) for user records.
  virtual void OnSpace(bool exhausted) = 0;
  // Not OK: it cannot take what users send now, whose appends are refused with this. Internal records go on. Cheap: asked for each append.
  virtual absl::Status TakesUserRecords() const { return absl::OkStatus(); }
};

struct LogOptions {
  std::string dir;                       // holds segments/, raft.state, LOCK
  std::string shard_name;                // stored in every segment, checked at Open
  uint64_t node_id = 1;                  // Raft id of this replica
  std::vector<uint64_t> voters = {1};    // of a new shard; an existing one knows its own
  int64_t segment_bytes = 256 << 20;
  int64_t cache_bytes = 64 << 20;        // recent entries kept in memory for reads
  int64_t max_batch_bytes = 4 << 20;     // of one entry (a single larger record makes an entry of its own)
  int64_t max_pending_bytes = 64 << 20;  // user records waiting for append; above: ResourceExhausted
  int32_t spare_segments = 1;            // zero-filled ahead; also the reserve of internal records when the disk is full
  absl::Duration async_flush_interval = absl::Milliseconds(20);
  absl::Duration space_retry_interval = absl::Milliseconds(500);
  absl::Duration tick_interval = absl::Milliseconds(100);  // Raft tick
};

struct LogStats {
  LogIndex first_index, last_index, committed, applied;
  Term term;
  bool leader = false;
  LogPosition begin, end;
  uint64_t pending_bytes = 0, segment_files = 0, disk_bytes = 0;
  uint64_t appended_records = 0, appended_bytes = 0, syncs = 0;
  bool space_exhausted = false;
  absl::Status fault;  // OK unless poisoned
};

// Observes what the log does, for metrics; called on the writer executor, must be cheap.
class LogObserver {
 public:
  virtual ~LogObserver() = default;
  virtual void OnSync(absl::Duration took, uint64_t bytes, uint64_t records) = 0;
};

// The replicated, append-only record log of one shard: raft-rs decides, our segments store.
// Owns:    the files under options.dir, the Raft core, the entry cache.
// Borrows: everything in Env, the state machine; all outlive it.
// Threads: unless said otherwise, calls are made on the shard executor and never wait for the disk.
//          Blocking file work runs on `writer` (one serial executor), cold reads on `reader`.
// Crash:   Open() cuts a torn tail, and refuses to start on damage before it, naming file and byte.
// Stop:    destroy only after Stop()'s callback ran, or (crash in a simulation) after the executors are dead.
class ReplicatedLog {
 public:
  struct Env {
    common::Files& files;
    common::Clock& clock;
    common::Random& random;
    common::Executor& shard;
    common::Executor& writer;
    common::Executor& reader;
    LogObserver* observer = nullptr;
    LogTransport* transport = nullptr;  // to the other voters; none is needed by a single one
  };

  // Recovers what is on disk; blocking, on any thread, before anything else runs. No entry is applied yet.
  // `applied`: what the state machine's store already holds; {} replays from the oldest segment.
  // Errors: DataLoss (damage in the middle; an applied point that the log does not hold), Unavailable (locked), as Files.
  static absl::StatusOr<std::unique_ptr<ReplicatedLog>> Open(LogOptions options, Env env, StateMachine& machine,
                                                             AppliedPoint applied);
  virtual ~ReplicatedLog() = default;

  // Replays entries behind the applied point, starts ticking, campaigns at once when this is the only voter.
  virtual void Start() = 0;

  // `done` runs exactly once on the shard executor, with no Apply under way. kSync: after its entry was applied here.
  // kAsync: as soon as the bytes were handed to the file system (applied later).
  // Errors: ResourceExhausted (pending bytes or disk space; retry later), Unavailable (not leader, stopping),
  //         DataLoss (poisoned), Aborted (lost leadership before commit: the record may or may not survive).
  using AppendDone = absl::AnyInvocable<void(absl::StatusOr<RecordPlace>) &&>;
  virtual void Append(RecordType type, std::string body, Durability durability, AppendClass append_class,
                      AppendDone done) = 0;

  // OK when Append would accept a user record of `bytes` now; else the error it would give. Any cost-free moment.
  virtual absl::Status CanAppend(uint64_t bytes, AppendClass append_class) const = 0;

  // The body of the record at `position` if its entry is still in memory.
  virtual std::optional<common::SharedBytes> TryRead(LogPosition position) = 0;
  // From memory or file, checksum verified; `done` runs on the shard executor.
  // Errors: NotFound (removed by retention), DataLoss (checksum, with file and byte).
  using ReadDone = absl::AnyInvocable<void(absl::StatusOr<common::SharedBytes>) &&>;
  virtual void Read(LogPosition position, uint32_t length, ReadDone done) = 0;

  virtual std::vector<SegmentInfo> Segments() const = 0;
  // Removes (recycles) every sealed segment that ends at or below `position`; the caller has re-appended what lived
  // only there, and its store is durable beyond it. No-op for segments above.
  virtual void RemoveSegmentsBelow(LogPosition position) = 0;

  virtual LogStats Stats() const = 0;

  // A message of another replica, as its transport was given it.
  virtual void Step(std::string /*raft*/, std::vector<ReplicaPayload> /*payloads*/) {}

  // Refuses new appends, finishes what was accepted, syncs; `done` on the shard executor. Twice is fine.
  virtual void Stop(absl::AnyInvocable<void() &&> done) = 0;
};

// Reads a log's records without opening it for writing (index rebuild checks, `fulmar log dump`): calls `visit` for each entry
// in order until it returns false. Blocking. Errors as Open.
absl::Status ScanLog(common::Files& files, const std::string& dir,
                     absl::AnyInvocable<bool(const AppliedEntry&)> visit);

}  // namespace fulmar::log

#endif  // FULMAR_LOG_REPLICATED_LOG_H_
