// What a receive of an ordered group takes. The order inside a message group is OrderedQueue's; here is who comes first.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"

#include "services/broker/delivery.h"

namespace fulmar::broker {
namespace {

// Messages that wait behind others and are passed over for the sake of an answer that is not empty any more: an answer that mixes message
// groups keeps a client busier than one of a single group, but not at any price.
constexpr int32_t kLookAhead = 256;
constexpr size_t kMaxAttemptId = 256;

}  // namespace

// First one message of each message group (clients work through an answer in its order, so that one slow group must not fill it), then
// more of the same groups.
Delivery::Pass Delivery::FillInOrder(Subscription& subscription, WaitingReceive& receive, int32_t& budget) {
  const size_t wanted = static_cast<size_t>(receive.command.max_messages);
  const size_t queues = subscription.queues.size();
  if (queues == 0) return Pass::kNothing;
  int64_t room = context_.options.max_in_flight_per_group - consumers_.FlightsOf(subscription.group_name());
  uint64_t bytes = 0;
  const auto full = [&] { return receive.taken.size() >= wanted || bytes >= context_.options.max_batch_bytes; };
  const size_t first = subscription.rotation++ % queues;
  for (size_t i = 0; i < queues && !full() && budget > 0; ++i) {
    SubscribedQueue& queue = *subscription.queues[(first + i) % queues];
    OrderedQueue& order = *queue.progress.ordered();
    bool readable = true;  // else the next poll tries again; the other queues go on
    const auto take = [&](int64_t offset) {
      --budget;
      const Taken taken = Take(queue, offset, receive, bytes);
      readable = taken != Taken::kUnreadable;
      return taken == Taken::kHeld;
    };
    for (std::optional<int64_t> due; readable && !full() && budget > 0 && (due = order.NextReady());) take(*due);
    for (std::optional<int64_t> open; readable && !full() && budget > 0 && room > 0 && (open = order.NextWaiting());) {
      if (take(*open)) --room;
    }
    int32_t passed = 0;
    while (readable && !full() && budget > 0 && room > 0 && order.front() < queue.queue.counters.next &&
           (receive.taken.empty() || passed < kLookAhead)) {
      const int64_t offset = order.front();
      const absl::StatusOr<const index::QueueEntry*> entry = consumers_.Entry(queue, offset);
      if (absl::IsNotFound(entry.status())) {  // retention was faster
        --budget;
        context_.observer().OnLost(subscription.topic_name(), subscription.group_name(), static_cast<uint64_t>(order.MoveUp(offset + 1)));
        progress_.MarkChanged(queue);
      } else if (!entry.ok()) {
        context_.observer().OnUnreadable();
        readable = false;
      } else if (order.Pass((*entry)->group)) {
        if (take(offset)) --room;
      } else {
        --budget;
        ++passed;
      }
    }
  }
  TakeBehind(receive, room, bytes, budget);
  if (!receive.taken.empty()) return Pass::kTook;
  return budget <= 0 ? Pass::kOutOfBudget : Pass::kNothing;
}

void Delivery::TakeBehind(WaitingReceive& receive, int64_t room, uint64_t& bytes, int32_t& budget) {
  const size_t wanted = static_cast<size_t>(receive.command.max_messages);
  std::vector<std::pair<SubscribedQueue*, int64_t>> chain;
  for (const TakenMessage& taken : receive.taken) chain.emplace_back(taken.queue, taken.offset);
  for (size_t i = 0; i < chain.size() && receive.taken.size() < wanted && bytes < context_.options.max_batch_bytes && budget > 0; ++i) {
    const auto [queue, offset] = chain[i];
    const std::optional<int64_t> next = queue->progress.ordered()->NextBehind(offset);
    if (!next) continue;
    const bool fresh = queue->progress.Find(*next) == nullptr;
    if (fresh && room <= 0) continue;
    --budget;
    switch (Take(*queue, *next, receive, bytes)) {
      case Taken::kHeld:
        if (fresh) --room;
        chain.emplace_back(queue, *next);
        break;
      case Taken::kDone: chain.emplace_back(queue, offset); break;  // filtered out: the one behind it
      case Taken::kUnreadable: break;
    }
  }
}

bool Delivery::TakeAgain(Subscription& subscription, WaitingReceive& receive) {
  const ReceiveCommand& command = receive.command;
  if (command.attempt_id.empty() || command.attempt_id.size() > kMaxAttemptId || subscription.group->definition.suspended) return false;
  const DeliveredBatches::Batch batch =
      subscription.batches.Take(command.client.client_id, command.attempt_id, [](const DeliveredBatches::Message&) { return true; });
  // Behind one that is open and does not come again, its group stays where it is.
  absl::btree_set<std::pair<int32_t, uint64_t>> following;
  for (const DeliveredBatches::Message& message : batch) {
    if (static_cast<size_t>(message.queue) >= subscription.queues.size()) continue;
    SubscribedQueue& queue = *subscription.queues[static_cast<size_t>(message.queue)];
    const Flight* flight = queue.progress.Find(message.offset);
    if (flight == nullptr || flight->acked) continue;  // over, or will be with its predecessors
    const std::pair<int32_t, uint64_t> group(message.queue, flight->group);
    const bool follows = following.erase(group) > 0 || queue.progress.IsNext(message.offset);
    if (!follows || !IsOut(subscription, message)) continue;
    const absl::StatusOr<const index::QueueEntry*> entry = consumers_.Entry(queue, message.offset);
    if (!entry.ok()) continue;
    following.insert(group);
    TakenMessage taken{.queue = &queue, .offset = message.offset, .visible_since_ms = (*entry)->store_time_ms};
    taken.again = true;
    if (std::optional<common::SharedBytes> body = TryBody(queue, **entry)) taken.body = *std::move(body);
    taken.hold = queue.progress.Hold(message.offset);
    receive.taken.push_back(std::move(taken));
  }
  return !receive.taken.empty();
}

bool Delivery::IsOut(const Subscription& subscription, const DeliveredBatches::Message& message) {
  if (static_cast<size_t>(message.queue) >= subscription.queues.size()) return false;
  const Flight* flight = subscription.queues[static_cast<size_t>(message.queue)]->progress.Find(message.offset);
  return flight != nullptr && flight->serial == message.serial && flight->state == Flight::State::kOut && !flight->acked;
}

void Delivery::Remember(Subscription& subscription, const WaitingReceive& receive, const std::vector<Delivered>& out) {
  const ReceiveCommand& command = receive.command;
  if (command.attempt_id.empty() || command.attempt_id.size() > kMaxAttemptId) return;
  DeliveredBatches::Batch batch;
  batch.reserve(out.size());
  for (const Delivered& message : out) {
    const Flight* flight = subscription.queues[static_cast<size_t>(message.queue)]->progress.Find(message.offset);
    batch.push_back({message.queue, message.offset, flight->serial});
  }
  subscription.batches.Put(command.client.client_id, command.attempt_id, std::move(batch),
                           [&subscription](const DeliveredBatches::Message& message) { return IsOut(subscription, message); });
}

}  // namespace fulmar::broker
