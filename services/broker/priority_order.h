#ifndef FULMAR_BROKER_PRIORITY_ORDER_H_
#define FULMAR_BROKER_PRIORITY_ORDER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "services/broker/consumers.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// The queue, and so the level, of a message of this priority: a topic of type priority has as many levels as queues (at least ten, unless
// its maker wanted fewer), and priorities above the last one share it. Stored with the message, so retries and restarts keep it.
int32_t PriorityLevel(int32_t priority, size_t queues);

// In which order one pass takes messages from a topic of type priority: among what is ready, the higher level first, and in one level the
// order of the log. Against starvation a message gains one level for each options.priority_age_step since it came into its queue; at equal height the higher original level goes first. So a message of level 0 goes before a new
// one of level n when it has waited for more than n steps, and messages that came together are never reordered.
//
// Looks at the first message of each level only, since within a level the first one is the oldest. Lives for one pass and borrows all.
class PriorityOrder {
 public:
  PriorityOrder(ShardContext& context, Consumers& consumers, Subscription& subscription);

  struct Next {
    SubscribedQueue* queue = nullptr;
    int64_t offset = 0;
    bool fresh = false;  // never delivered before: counts against the bound of the group
  };
  // What is to be taken now; with `only_retries` no fresh one. Empty: nothing is ready.
  std::optional<Next> First(bool only_retries);
  // The queue that First() named was taken from; `usable` false: it cannot be read now and is left out of this pass.
  void Took(const SubscribedQueue& queue, bool usable);

 private:
  struct Head {
    SubscribedQueue* queue = nullptr;
    bool usable = true;
    bool known = false;  // `next` and `height` are those of now
    std::optional<Next> next;
    int64_t height = 0;
  };
  void Look(Head& head, bool only_retries);

  ShardContext& context_;
  Consumers& consumers_;
  std::vector<Head> heads_;  // the highest level first
  bool only_retries_ = false;
  const int64_t step_ms_, wall_ms_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_PRIORITY_ORDER_H_
