#include "services/broker/priority_order.h"

#include <algorithm>

#include "absl/time/time.h"

namespace fulmar::broker {

int32_t PriorityLevel(int32_t priority, size_t queues) {
  return std::clamp(priority, 0, std::max(static_cast<int32_t>(queues), 1) - 1);
}

PriorityOrder::PriorityOrder(ShardContext& context, Consumers& consumers, Subscription& subscription)
    : context_(context),
      consumers_(consumers),
      step_ms_(absl::ToInt64Milliseconds(context.options.priority_age_step)),
      wall_ms_(absl::ToUnixMillis(context.env.clock.Now())) {
  heads_.reserve(subscription.queues.size());
  for (auto queue = subscription.queues.rbegin(); queue != subscription.queues.rend(); ++queue) heads_.emplace_back().queue = queue->get();
}

void PriorityOrder::Look(Head& head, bool only_retries) {
  GroupQueue& progress = head.queue->progress;
  const std::optional<int64_t> ready = progress.NextReady();
  std::optional<int64_t> fresh;
  if (!only_retries) fresh = progress.NextNew(head.queue->queue.counters.next);
  head.known = true;
  head.next.reset();
  head.height = head.queue->queue.id.queue;
  if (!ready && !fresh) return;
  const int64_t none = INT64_MAX;
  const bool take_fresh = fresh.value_or(none) < ready.value_or(none);
  head.next = Next{head.queue, std::min(fresh.value_or(none), ready.value_or(none)), take_fresh};
  if (step_ms_ <= 0) return;
  // One that cannot be read has no age; taking it will say what is wrong with it.
  const absl::StatusOr<const index::QueueEntry*> entry = consumers_.Entry(*head.queue, head.next->offset);
  const int64_t waited_ms = entry.ok() ? wall_ms_ - (*entry)->store_time_ms : 0;
  head.height += std::max<int64_t>(waited_ms, 0) / step_ms_;
}

std::optional<PriorityOrder::Next> PriorityOrder::First(bool only_retries) {
  if (only_retries != only_retries_) {
    only_retries_ = only_retries;
    for (Head& head : heads_) head.known = false;
  }
  const Head* first = nullptr;
  for (Head& head : heads_) {
    if (!head.usable) continue;
    if (!head.known) Look(head, only_retries);
    if (head.next && (first == nullptr || head.height > first->height)) first = &head;
  }
  return first == nullptr ? std::nullopt : first->next;
}

void PriorityOrder::Took(const SubscribedQueue& queue, bool usable) {
  Head& head = heads_[heads_.size() - 1 - static_cast<size_t>(queue.queue.id.queue)];
  head.usable = usable;
  head.known = false;
}

}  // namespace fulmar::broker
