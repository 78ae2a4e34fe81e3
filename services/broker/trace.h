#ifndef FULMAR_BROKER_TRACE_H_
#define FULMAR_BROKER_TRACE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "services/common/clock.h"
#include "services/common/executor.h"
#include "services/common/files.h"
#include "services/index/keys.h"

namespace fulmar::broker {

// Numbers are on disk and those of fulmar.admin.v1.
enum class TraceKind : uint8_t {
  kStored = 1,        // durable (async topics: written); by `client`
  kDelivered = 2,     // given to `client` of `group` as this attempt
  kAcknowledged = 3,
  kRescheduled = 4,   // a client asked for another invisible time, or gave the message back
  kDeadLettered = 5,
  kExpired = 6,       // older than its time to live when `group` came to it
  kReturned = 7,      // the connection was gone before the message was sent: that attempt does not count
  kPulled = 8,        // read by offset
};

struct TraceEvent {
  TraceKind kind = TraceKind::kStored;
  int64_t time_ms = 0;
  int32_t attempt = 0;
  std::string group, client;
  friend bool operator==(const TraceEvent&, const TraceEvent&) = default;
};

// What became of messages, in a ring of files beside the log: <dir>/0000000001.trace, ... No promise hangs on them: nothing waits for a
// write, nothing is synced, a kill loses the last second, a full disk loses what came meanwhile (counted), the oldest file goes when all together
// reach `max_bytes`.
//
//   file:  chunks, one behind the other; a chunk that does not fit its checksum ends the file
//   chunk: magic "FTRC" | checksum u32 of what follows | payload bytes u32 | first time i64 ms | payload
//   payload: count varint, names (string each) | count varint, events
//   event: kind u8 | time - the one before signed varint | topic id varint | queue + 1 varint | offset varint | attempt varint
//          | group, client: index of a name + 1 varint each, 0: none
//
// Queue -1 stands for a message that is held; its offset is its number there.
// Owns:    the files. Borrows: Env.
// Threads: the shard; files are read and written on env.background, one write at a time.
class Trace {
 public:
  struct Env {
    common::Files& files;
    common::Clock& clock;
    common::Executor& shard;
    common::Executor& background;
  };
  // max_bytes 0: off, Add() does nothing.
  Trace(std::string dir, uint64_t max_bytes, Env env);
  // Looks what is there; blocking. What cannot be read is as good as not there.
  absl::Status Open();
  bool on() const { return max_bytes_ > 0; }

  void Add(TraceKind kind, index::QueueId queue, int64_t offset, int32_t attempt, std::string_view group, std::string_view client) {
    if (max_bytes_ > 0) Append(kind, queue, offset, attempt, group, client);
  }

  // Events of one message in the order of their time, from `since` on; `done` later, on the shard. At most `kMaxEvents`.
  static constexpr size_t kMaxEvents = 1000;
  struct Id {
    index::QueueId queue;
    int64_t offset = 0;
    friend bool operator==(const Id&, const Id&) = default;
  };
  void Find(std::vector<Id> ids, absl::Time since, absl::AnyInvocable<void(std::vector<TraceEvent>) &&> done);

  // Begins to write what is in memory.
  void Flush();
  // `then` runs when everything so far is written (or lost).
  void WhenWritten(absl::AnyInvocable<void() &&> then);
  uint64_t dropped() const { return dropped_; }

 private:
  struct TraceFile {
    uint64_t number = 0;
    uint64_t bytes = 0;
    int64_t first_ms = 0, last_ms = 0;
  };
  struct Chunk {
    std::string bytes;
    int64_t first_ms = 0, last_ms = 0;
    uint64_t events = 0;
  };
  struct Search;
  void Append(TraceKind kind, index::QueueId queue, int64_t offset, int32_t attempt, std::string_view group, std::string_view client);
  uint64_t NameIndex(std::string_view name);
  void Seal();
  void WriteNext();
  void OnWritten(const Chunk& chunk, uint64_t number, absl::Status status, std::shared_ptr<common::File> file, uint64_t removed_below);
  void ReadNext(std::shared_ptr<Search> search);
  std::string PathOf(uint64_t number) const;
  template <class F>
  void PostBack(F f);

  const std::string dir_;
  const uint64_t max_bytes_;
  const uint64_t file_bytes_;
  Env env_;

  // The open chunk.
  std::string events_;
  uint64_t event_count_ = 0;
  int64_t first_ms_ = 0, last_ms_ = 0;
  std::vector<std::string> names_;
  absl::flat_hash_map<std::string, uint64_t> name_indexes_;
  bool timer_armed_ = false;

  std::deque<Chunk> waiting_;  // for the write before them
  uint64_t waiting_bytes_ = 0;
  bool writing_ = false;
  std::vector<absl::AnyInvocable<void() &&>> when_written_;
  std::vector<TraceFile> files_;         // the oldest first
  std::shared_ptr<common::File> open_;   // the newest of them, when this life made it
  int64_t not_before_ms_ = 0;            // after a failure
  uint64_t dropped_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_TRACE_H_
