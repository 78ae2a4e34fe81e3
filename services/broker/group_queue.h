#ifndef FULMAR_BROKER_GROUP_QUEUE_H_
#define FULMAR_BROKER_GROUP_QUEUE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "services/broker/queue_cursor.h"
#include "services/index/progress.h"

namespace fulmar::broker {

// One message between its first hand-out and its end. Times are milliseconds of the steady clock.
//
//            Hold            Deliver                    MarkDone
//   (open) ────────► kHeld ──────────► kOut ──────────────────────► (done)
//                     │ ▲                │  ▲ Reschedule (new handle)
//             Release │ │ Hold   Return, │  │
//                     ▼ │        restore ▼  │
//                    kWaiting ◄───────────  (its time comes: ready, then Hold again)
struct Flight {
  enum class State : uint8_t {
    kHeld,     // somebody works on it (reads its body, moves it to the dead letters): nobody else may take it
    kOut,      // delivered; the handle with `serial` ends it
    kWaiting,  // nobody holds a handle; delivered again at `until_ms`
  };
  State state = State::kHeld;
  bool ready = false;      // its time has come: it may be taken
  bool auto_renew = false;
  bool nacked = false;     // the consumer gave it back (shown as waiting for its retry)
  bool acked = false;      // ordered groups: counts when the messages of its message group before it are done
  int32_t attempt = 0;     // of the last delivery, from 1; 0: never delivered
  uint32_t serial = 0;     // of the delivery or change that made the valid handle; 0: by an earlier leader
  uint32_t hold = 0;       // which Hold() has it
  uint64_t client = 0;     // ClientTable number
  int64_t until_ms = 0;
  int64_t given_ms = 0;    // how long until_ms was away when it was set
  int64_t since_ms = 0;    // of this delivery
  uint64_t group = 0;      // ordered groups: its message group
};

class OrderedQueue;

// What one (group, queue) knows about consumption: the cursor, what is done above it, what is out, what waits for its retry.
// A pure state machine: no clock, no log, no callbacks kept. Every offset is in exactly one of: done, flight, open (never delivered).
// For groups that get message groups in order there is OrderedQueue.
class GroupQueue {
 public:
  explicit GroupQueue(int64_t cursor) { cursor_.Reset(cursor); }
  virtual ~GroupQueue() = default;
  GroupQueue(const GroupQueue&) = delete;
  GroupQueue& operator=(const GroupQueue&) = delete;
  // Not null when the group gets its message groups in order.
  virtual OrderedQueue* ordered() { return nullptr; }

  // ---- taking
  // The lowest open offset below `end`.
  std::optional<int64_t> NextNew(int64_t end);
  // The lowest offset whose time has come.
  virtual std::optional<int64_t> NextReady() const;
  // Takes an offset that is not done out of the reach of others; who held it before holds it no more. The result must come with
  // Deliver(), Release() or MarkDone().
  virtual uint32_t Hold(int64_t offset);
  bool IsHeld(int64_t offset, uint32_t hold) const;
  // `again`: the answer of this attempt was lost, the attempt is the same.
  struct Delivery { int64_t now_ms, until_ms; uint64_t client; uint32_t serial; bool auto_renew; bool again = false; };
  // A held offset is out from now on; counts the attempt.
  const Flight& Deliver(int64_t offset, const Delivery& delivery);
  // A held offset is not taken after all: ready again at `at_ms`. The attempt does not count. With kKeep the handle of the last
  // delivery stays good.
  enum class OldHandle { kVoid, kKeep };
  void Release(int64_t offset, int64_t now_ms, int64_t at_ms, OldHandle old_handle = OldHandle::kVoid);

  // ---- ending
  // False when it was done before. From any state.
  virtual bool MarkDone(int64_t offset);
  // Whether its end, now, would be more than a note that waits for its predecessors.
  virtual bool IsNext(int64_t) const { return true; }
  // A delivery that never reached its client: ready at once, the attempt does not count. False for a stale serial.
  bool Return(int64_t offset, uint32_t serial, int64_t now_ms);
  // What a handle of this (offset, attempt, serial) means now. `own_term`: made under the present leader's term.
  // Expired but not taken again counts as current: the work is done, so why do it twice.
  enum class Handle { kCurrent, kDone, kStale };
  virtual Handle Check(int64_t offset, int32_t attempt, uint32_t serial, bool own_term);
  // The consumer wants it invisible until then, under a new handle. Only after Check() said kCurrent.
  virtual void Reschedule(int64_t offset, int32_t attempt, int64_t now_ms, int64_t until_ms, uint32_t serial);

  // ---- time
  // Calls `decide` for each flight whose time has come; a time in the future postpones it, nothing makes it ready.
  void OnTime(int64_t now_ms, absl::FunctionRef<std::optional<int64_t>(int64_t offset, const Flight&)> decide);
  // When the next flight's time comes.
  std::optional<int64_t> next_time_ms() const;
  // Every auto-renewed delivery to a client that is gone ends at `at_ms` and is renewed no more. Returns how many.
  int64_t GiveBack(absl::FunctionRef<bool(uint64_t client)> gone, int64_t now_ms, int64_t at_ms);

  // ---- moving
  virtual void ResetTo(int64_t cursor);
  // Everything below `to` is gone. Returns how many were not done.
  virtual int64_t MoveUp(int64_t to);

  // ---- keeping
  // Times as the wall clock shows them: `wall_minus_steady` is Now() - Steady().
  virtual void Save(absl::Duration wall_minus_steady, index::QueueProgress& out) const;
  struct RestoreTimes {
    absl::Duration wall_minus_steady;
    int64_t now_ms = 0;
    int64_t renew_until_ms = 0;  // when what was auto-renewed under an earlier leader becomes visible
    int64_t max_ms = INT64_MAX;  // longest invisible time, where the record does not say what was given
  };
  // No message stays invisible for longer than it was given, wherever the wall clock has gone since.
  virtual void Restore(const index::QueueProgress& progress, const RestoreTimes& times);

  // ---- looking
  const Flight* Find(int64_t offset) const;
  virtual bool Done(int64_t offset) const { return cursor_.Done(offset); }
  // The lowest offset that is not done.
  virtual int64_t cursor() const { return cursor_.cursor(); }
  // Not done below `end`, in flight included.
  virtual int64_t Lag(int64_t end) const { return end - cursor_.cursor() - cursor_.done_above(); }
  int64_t flights() const { return static_cast<int64_t>(flights_.size()); }
  int64_t out() const { return out_; }  // with a client now; flights() - out() wait
  virtual bool has_ready() const { return !ready_.empty(); }
  // What the age of the backlog is measured by.
  int64_t first_open() const { return cursor(); }

 protected:
  using Flights = absl::btree_map<int64_t, Flight>;
  void SetTime(int64_t offset, Flight& flight, int64_t now_ms, int64_t until_ms);
  void ClearTime(int64_t offset, Flight& flight);
  void SetReady(int64_t offset, Flight& flight);
  virtual void OnReady(int64_t /*offset*/, bool /*ready*/) {}
  void AddRestored(const index::InFlight& saved, const RestoreTimes& times, Flight& flight);
  static bool CountsAsOut(const Flight& flight) { return flight.state == Flight::State::kOut && !flight.nacked && !flight.ready; }

  QueueCursor cursor_;
  Flights flights_;
  absl::btree_set<std::pair<int64_t, int64_t>> times_;  // (until, offset) of kOut and kWaiting that are not ready
  absl::btree_set<int64_t> ready_;
  int64_t next_new_ = 0;  // no open offset lies between the cursor and here
  int64_t out_ = 0;
  uint32_t last_hold_ = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_GROUP_QUEUE_H_
