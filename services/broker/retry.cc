#include "services/broker/retry.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace fulmar::broker {

RetryTimes::RetryTimes(ShardContext& context, Consumers& consumers, const ClientTable& clients, Hooks hooks)
    : context_(context), consumers_(consumers), clients_(clients), auto_renew_(context.options), hooks_(std::move(hooks)) {}

void RetryTimes::Arm(SubscribedQueue& queue) {
  const std::optional<int64_t> next = queue.progress.next_time_ms();
  if (!next || *next >= queue.armed_ms) return;  // an earlier look at the queue will arm the next one
  queue.armed_ms = *next;
  schedule_.emplace(*next, queue.subscription.id, queue.queue.id.queue);
  Schedule();
}

void RetryTimes::Progressed(SubscribedQueue& queue) {
  OrderedQueue* const order = queue.progress.ordered();
  if (order == nullptr) return;
  for (std::vector<int64_t> heads = order->TakeNewHeads(); !heads.empty(); heads = order->TakeNewHeads()) {
    for (const int64_t offset : heads) {
      const Flight* flight = order->Find(offset);
      if (flight == nullptr || !flight->ready || !order->IsNext(offset)) continue;
      if (flight->attempt < queue.subscription.group->definition.retry.max_attempts) continue;
      // What was acknowledged, though too early to count, is no dead letter.
      if (flight->acked) order->MarkDone(offset);
      else hooks_.exhausted(queue, offset);
    }
  }
  if (queue.progress.has_ready()) hooks_.ready(queue.subscription);
}

void RetryTimes::ClientsGone(const std::vector<uint64_t>& clients) {
  if (clients.empty()) return;
  const int64_t now_ms = context_.NowMs();
  const int64_t at_ms = now_ms + absl::ToInt64Milliseconds(context_.options.give_back_delay);
  const auto gone = [&clients](uint64_t client) { return std::binary_search(clients.begin(), clients.end(), client); };
  consumers_.ForEach([&](Subscription& subscription) {
    for (auto& queue : subscription.queues) {
      if (queue->progress.GiveBack(gone, now_ms, at_ms) == 0) continue;
      hooks_.changed(*queue);
      Arm(*queue);
    }
  });
}

void RetryTimes::Clear() {
  schedule_.clear();
  if (timer_ != 0) context_.env.shard.Cancel(std::exchange(timer_, 0));
}

void RetryTimes::Schedule() {
  if (schedule_.empty()) return;
  const int64_t first = std::get<0>(*schedule_.begin());
  if (timer_ != 0) {
    if (timer_ms_ <= first) return;
    context_.env.shard.Cancel(timer_);
  }
  timer_ms_ = first;
  timer_ = context_.After(absl::Milliseconds(std::max<int64_t>(0, first - context_.NowMs())), [this] { OnTimer(); });
}

void RetryTimes::OnTimer() {
  timer_ = 0;
  const int64_t now_ms = context_.NowMs();
  while (!schedule_.empty() && std::get<0>(*schedule_.begin()) <= now_ms) {
    const auto [at_ms, subscription_id, queue_id] = *schedule_.begin();
    schedule_.erase(schedule_.begin());
    Subscription* subscription = consumers_.Find(subscription_id);
    if (subscription == nullptr) continue;
    SubscribedQueue& queue = *subscription->queues[static_cast<size_t>(queue_id)];
    if (queue.armed_ms != at_ms) continue;  // a nearer time was set meanwhile, and has its own look
    queue.armed_ms = INT64_MAX;
    std::vector<int64_t> exhausted;
    const int32_t max_attempts = subscription->group->definition.retry.max_attempts;
    queue.progress.OnTime(now_ms, [&](int64_t offset, const Flight& flight) {
      const std::optional<int64_t> renewed = auto_renew_.Renew(flight, clients_.Alive(flight.client), now_ms);
      // One that waits for its predecessors waits with its end, too.
      if (!renewed && flight.attempt >= max_attempts && queue.progress.IsNext(offset)) exhausted.push_back(offset);
      return renewed;
    });
    hooks_.changed(queue);
    for (const int64_t offset : exhausted) hooks_.exhausted(queue, offset);
    Arm(queue);
    if (queue.progress.has_ready()) hooks_.ready(*subscription);
  }
  Schedule();
}

}  // namespace fulmar::broker
