#ifndef FULMAR_BROKER_ORDERED_QUEUE_H_
#define FULMAR_BROKER_ORDERED_QUEUE_H_

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "services/broker/group_queue.h"

namespace fulmar::broker {

// Which messages of one queue belong to which message group, as the index says. A group is named by the hash of its name; two names of
// one hash are one group, which only orders more than was asked for.
class MessageGroups {
 public:
  virtual ~MessageGroups() = default;
  // 0: a message without a group. Errors: NotFound (retention removed it), others (unreadable now).
  virtual absl::StatusOr<uint64_t> GroupOf(int64_t offset) = 0;
  // Messages of `group` in [from, end), ascending, until `visit` says false.
  virtual void ForEachOf(uint64_t group, int64_t from, int64_t end, absl::FunctionRef<bool(int64_t offset)> visit) = 0;
};

// What one ordered consumer group knows about one queue. Acknowledgements count in the order of each message group, so that the done part
// of a message group is always its beginning. Hence the whole state is
//
//   front     everything below it was looked at; nothing above it was touched
//   lines     the message groups that have something below the front which is not done; of every other group all of it is done.
//             Of a line: its messages in flight, the first one that waits (the later ones are found in the index), how many wait.
//
//   line g:    done done │ flight flight │ waiting · · · waiting │ front
//                        └ head: the first that is not done
//
// A message may be taken when it is the head of its line, or follows right behind messages that the same receive took. So memory grows with
// the message groups that have something in flight, never with the messages that wait behind them.
// Borrows: the message groups. Otherwise as GroupQueue.
class OrderedQueue final : public GroupQueue {
 public:
  OrderedQueue(int64_t cursor, MessageGroups& groups) : GroupQueue(cursor), groups_(groups) {}
  OrderedQueue* ordered() override { return this; }

  // ---- taking
  // The lowest head that was delivered before and whose time has come.
  std::optional<int64_t> NextReady() const override { return First(ready_heads_); }
  // The lowest head that was never delivered.
  std::optional<int64_t> NextWaiting() const { return First(waiting_heads_); }
  // The message behind `taken` in its group, if a receive that holds `taken` and all before it may take it, too.
  std::optional<int64_t> NextBehind(int64_t taken);
  // The front moves over its message, which is of `group` (0: of none). True: it is the head of its line and can be held or skipped.
  // False: it waits behind others.
  bool Pass(uint64_t group);
  int64_t front() const { return cursor_.cursor(); }
  uint32_t Hold(int64_t offset) override;
  // Heads that came to be since the last call and whose time had already come: their attempts are to be looked at.
  std::vector<int64_t> TakeNewHeads() { return std::exchange(new_heads_, {}); }

  // ---- GroupQueue
  // Of a message behind others it is a note: it counts when they are done. Made while it is held, it stays; else it ends with the
  // invisible time, unless the predecessors end by then as dead letters.
  bool MarkDone(int64_t offset) override;
  bool IsNext(int64_t offset) const override;
  Handle Check(int64_t offset, int32_t attempt, uint32_t serial, bool own_term) override;
  void Reschedule(int64_t offset, int32_t attempt, int64_t now_ms, int64_t until_ms, uint32_t serial) override;
  void ResetTo(int64_t cursor) override;
  int64_t MoveUp(int64_t to) override;
  void Save(absl::Duration wall_minus_steady, index::QueueProgress& out) const override;
  void Restore(const index::QueueProgress& progress, const RestoreTimes& times) override;
  bool Done(int64_t offset) const override;
  int64_t cursor() const override { return heads_.empty() ? front() : heads_.begin()->first; }
  int64_t Lag(int64_t end) const override { return end - front() + flights() + waiting_; }
  bool has_ready() const override { return !ready_heads_.empty() || !waiting_heads_.empty(); }

  int64_t waiting() const { return waiting_; }
  int64_t lines() const { return static_cast<int64_t>(lines_.size()); }

 private:
  static constexpr int64_t kNone = INT64_MAX;
  struct Line {
    absl::InlinedVector<int64_t, 1> flights;  // ascending
    int64_t waiting = kNone;                  // the first that is neither done nor in flight
    int64_t behind = 0;                       // how many are so, below the front
    int64_t head = kNone;
  };
  using Lines = absl::btree_map<uint64_t, Line>;

  static std::optional<int64_t> First(const absl::btree_set<int64_t>& offsets) {
    return offsets.empty() ? std::nullopt : std::optional<int64_t>(*offsets.begin());
  }
  static uint64_t LineOf(uint64_t group, int64_t offset);
  std::optional<uint64_t> FindLine(int64_t offset) const;
  void OnReady(int64_t offset, bool ready) override;
  // The front goes over messages that an earlier leader delivered. False: too far, or the index cannot be read.
  bool PassUpTo(int64_t end);
  // Takes the first waiting message of the line (or, with its offset, another one) out of those that wait.
  void StopWaiting(uint64_t id, Line& line, int64_t offset);
  Flight& AddFlight(uint64_t id, Line& line, int64_t offset);
  void RemoveFlight(Line& line, int64_t offset);
  // Sets the head anew; the line goes when nothing is left of it.
  void Settle(uint64_t id);

  MessageGroups& groups_;
  Lines lines_;
  absl::btree_map<int64_t, uint64_t> heads_;
  absl::btree_set<int64_t> ready_heads_, waiting_heads_;
  std::vector<int64_t> new_heads_;
  int64_t waiting_ = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_ORDERED_QUEUE_H_
