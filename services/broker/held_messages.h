#ifndef FULMAR_BROKER_HELD_MESSAGES_H_
#define FULMAR_BROKER_HELD_MESSAGES_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "services/broker/held_records.h"
#include "services/common/ids.h"
#include "services/index/kv_store.h"

namespace fulmar::broker {

// One held message as the log has it.
//
//   waiting ──► released (in a queue; its body is still needed while that entry is visible)
//      └──────► dropped (recalled, rolled back, its topic deleted; the bytes stay until their segment goes)
//
// An ended one is remembered until retention removes the record that ended it; everything known of it then comes from that record and,
// when it was released, from its body: so an index that is built from the segments that remain says the same.
enum class HeldStage : uint8_t { kWaiting = 1, kReleased = 2, kDropped = 3 };

struct HeldState {
  HeldStage stage = HeldStage::kWaiting;
  HeldKind kind = HeldKind::kTimed;
  bool parked = false;
  uint32_t checks = 0;
  int64_t due_ms = 0;
  LogPosition body;         // of the newest copy; 0: gone
  uint32_t body_bytes = 0;  // of the record's body, its header included
  uint32_t topic_id = 0;
  uint32_t tag_hash = 0;
  LogPosition end;          // the record that ended it
  DropReason reason = DropReason::kRecalled;  // of a dropped one
  friend bool operator==(const HeldState&, const HeldState&) = default;
};

// A place in the order in which held messages come due.
struct HeldDue {
  int64_t due_ms = 0;
  int64_t id = 0;
  friend auto operator<=>(const HeldDue&, const HeldDue&) = default;
};

// The three orders: timers, half messages by their next check, half messages that are not checked any more.
enum class HeldLine : char { kTimers = 't', kHalves = 'h', kParked = 'p' };

struct HeldCounts {
  int64_t timers = 0, halves = 0;  // waiting; parked ones count as halves
  int64_t bytes = 0;               // of the bodies of both
  friend bool operator==(const HeldCounts&, const HeldCounts&) = default;
};

// What the log says of held messages: everything in the index, nothing but three counters in memory. Part of ShardState: changed only by
// applying records, so that equal logs give equal bytes.
// Borrows: the store. Threads: the shard. Every record of a batch is of another message: their writers take turns (HeldEnds).
class HeldMessages {
 public:
  explicit HeldMessages(index::KvStore& kv) : kv_(kv) {}
  absl::Status Load();

  // Each fills the batch that applies the record at `position`; Finish() closes the batch.
  // The state before is the answer of the first: what was carried forward is not new.
  void ApplyMessage(LogPosition position, uint32_t body_bytes, const HeldMessageRecord& record, uint32_t topic_id, uint32_t tag_hash, index::KvBatch& batch);
  void ApplyReleased(LogPosition position, const HeldReleased& released, index::KvBatch& batch);
  void ApplyDropped(LogPosition position, const HeldDropped& dropped, index::KvBatch& batch);
  void ApplyUpdated(const HeldUpdated& updated, index::KvBatch& batch);
  void Finish(index::KvBatch& batch);
  // Forgets what ended below `begin`, and bodies that lie there.
  void Trim(LogPosition begin, index::KvBatch& batch);

  std::optional<HeldState> Find(int64_t id) const;
  // At most `max` of a line behind `after`, in order.
  std::vector<HeldDue> Read(HeldLine line, HeldDue after, size_t max) const;
  // Ids of at most `max` messages whose bodies lie in [from, to), with the place of the body, in the order of the log.
  struct BodyAt {
    LogPosition position;
    int64_t id = 0;
  };
  std::vector<BodyAt> Bodies(LogPosition from, LogPosition to, size_t max) const;
  const HeldCounts& counts() const { return counts_; }
  // Not OK: the index says what cannot be, and an answer since may have been too short. The owner applies and removes nothing any more.
  const absl::Status& damage() const { return damage_; }

  static HeldLine LineOf(const HeldState& state);

 private:
  void Disprove(int64_t id, std::string_view how);
  void Put(int64_t id, const HeldState& state, index::KvBatch& batch) const;
  // Takes a waiting message out of its line and of the counters.
  void Unlist(int64_t id, const HeldState& state, index::KvBatch& batch);
  void List(int64_t id, const HeldState& state, index::KvBatch& batch);

  index::KvStore& kv_;
  HeldCounts counts_;
  bool counts_changed_ = false;
  mutable absl::Status damage_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_HELD_MESSAGES_H_
