#ifndef FULMAR_BROKER_ORDER_KEPT_H_
#define FULMAR_BROKER_ORDER_KEPT_H_

#include <cstdint>
#include <utility>

#include "absl/container/btree_set.h"
#include "services/broker/parked_receives.h"

namespace fulmar::broker {

// Several messages of one message group may go out in one answer, as long as none is left out: when one cannot be delivered after all
// (its bytes cannot be read), those behind it stay, too.
class OrderKept {
 public:
  explicit OrderKept(bool ordered) : ordered_(ordered) {}

  // `taken` was not delivered; unless it is done, nothing of its group may follow.
  void Missed(const TakenMessage& taken) {
    if (!ordered_) return;
    const Flight* flight = taken.queue->progress.Find(taken.offset);
    if (flight != nullptr && !flight->acked) broken_.emplace(taken.queue->queue.id, flight->group);
  }
  bool MayFollow(const TakenMessage& taken) const {
    if (broken_.empty()) return true;
    const Flight* flight = taken.queue->progress.Find(taken.offset);
    return flight == nullptr || !broken_.contains({taken.queue->queue.id, flight->group});
  }

 private:
  const bool ordered_;
  absl::btree_set<std::pair<index::QueueId, uint64_t>> broken_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_ORDER_KEPT_H_
