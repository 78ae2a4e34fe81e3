#ifndef FULMAR_BROKER_HELD_ENDS_H_
#define FULMAR_BROKER_HELD_ENDS_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/broker/held_messages.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Everything that changes a held message takes its turn here, so that at most one record of each is on its way through the log: a recall that
// meets a release waits and then finds the message released, and so the two never both count. Leader only; an earlier leader's records were
// all applied before this one leads.
class HeldEnds {
 public:
  explicit HeldEnds(ShardContext& context) : context_(context) {}

  // The right to change one held message; ends with this object.
  class Turn {
   public:
    Turn(HeldEnds& owner, int64_t id, uint64_t life) : owner_(&owner), id_(id), life_(life) {}
    Turn(Turn&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), id_(other.id_), life_(other.life_) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (owner_ != nullptr) owner_->End(id_, life_);
    }
    int64_t id() const { return id_; }

   private:
    HeldEnds* owner_;
    int64_t id_;
    uint64_t life_;
  };

  // `task` gets its turn at once, or after those who came before; an error when the shard stops leading first.
  using Task = absl::AnyInvocable<void(absl::StatusOr<Turn>) &&>;
  void With(int64_t id, Task task);

  // What may be done with a waiting message, the state of which was looked at inside the turn. `done` when the record is applied. Errors: the
  // client's own (TooManyRequests, HaNotAvailable, InternalServerError); after HaNotAvailable it may have happened all the same.
  using Done = absl::AnyInvocable<void(absl::Status) &&>;
  // Into a queue of its topic. Dropped instead when the topic is gone: NotFound.
  void Release(Turn turn, const HeldState& state, Done done);
  void Drop(Turn turn, const HeldState& state, DropReason reason, Done done);
  void Update(Turn turn, const HeldUpdated& updated, Done done);
  // A copy of the body at the head of the log, for retention. Also for a released message.
  void Carry(Turn turn, const HeldState& state, Done done);

  // Nobody leads any more: those who wait are told why.
  void Clear(const absl::Status& why);
  int64_t busy() const { return static_cast<int64_t>(busy_.size()); }

 private:
  void End(int64_t id, uint64_t life);
  void Append(Turn turn, log::RecordType type, std::string body, Done done);

  ShardContext& context_;
  absl::btree_map<int64_t, std::deque<Task>> busy_;  // who waits behind the one whose turn it is
  uint64_t life_ = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_HELD_ENDS_H_
