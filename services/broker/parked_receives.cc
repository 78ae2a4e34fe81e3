#include "services/broker/parked_receives.h"

#include <algorithm>

namespace fulmar::broker {

WaitingReceive& ParkedReceives::Add(std::unique_ptr<WaitingReceive> receive) {
  WaitingReceive& added = *receive;
  deadlines_.emplace(added.deadline_ms, added.id);
  receives_[added.id] = std::move(receive);
  Arm();
  return added;
}

WaitingReceive* ParkedReceives::Find(ReceiveId id) {
  auto it = receives_.find(id);
  return it == receives_.end() ? nullptr : it->second.get();
}

std::unique_ptr<WaitingReceive> ParkedReceives::Remove(ReceiveId id) {
  auto it = receives_.find(id);
  if (it == receives_.end()) return nullptr;
  std::unique_ptr<WaitingReceive> receive = std::move(it->second);
  receives_.erase(it);
  deadlines_.erase({receive->deadline_ms, id});
  return receive;
}

std::vector<ReceiveId> ParkedReceives::All() const {
  std::vector<ReceiveId> ids;
  ids.reserve(receives_.size());
  for (const auto& [id, receive] : receives_) ids.push_back(id);
  return ids;
}

std::vector<ReceiveId> ParkedReceives::Of(const std::vector<uint64_t>& subscriptions) const {
  std::vector<ReceiveId> ids;
  for (const auto& [id, receive] : receives_) {
    if (std::find(subscriptions.begin(), subscriptions.end(), receive->subscription) != subscriptions.end()) ids.push_back(id);
  }
  return ids;
}

// The timer may be early (its receive was answered meanwhile), never late.
void ParkedReceives::Arm() {
  if (deadlines_.empty()) return;
  const int64_t first = deadlines_.begin()->first;
  if (timer_ != 0) {
    if (timer_ms_ <= first) return;
    context_.env.shard.Cancel(timer_);
  }
  timer_ms_ = first;
  // Rounded up: the steady clock in milliseconds is cut off, and a poll must not end before its time.
  timer_ = context_.After(absl::Milliseconds(std::max<int64_t>(0, first - context_.NowMs())), [this] { OnTimer(); });
}

void ParkedReceives::OnTimer() {
  timer_ = 0;
  const int64_t now_ms = context_.NowMs();
  std::vector<ReceiveId> over;
  for (auto it = deadlines_.begin(); it != deadlines_.end() && it->first <= now_ms; ++it) over.push_back(it->second);
  for (const ReceiveId id : over) {
    WaitingReceive* receive = Find(id);
    if (receive == nullptr) continue;
    deadlines_.erase({receive->deadline_ms, id});
    on_deadline_(*receive);  // removes it, or lets it end when its bodies are there
  }
  Arm();
}

}  // namespace fulmar::broker
