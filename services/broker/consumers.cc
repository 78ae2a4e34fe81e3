#include "services/broker/consumers.h"

#include <algorithm>

#include "services/common/log.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

constexpr size_t kReadAhead = 64;  // one seek of the index costs as much as some twenty entries

class IndexedGroups final : public MessageGroups {
 public:
  IndexedGroups(const index::QueueIndex& index, const Queue& queue) : index_(index), queue_(queue) {}
  absl::StatusOr<uint64_t> GroupOf(int64_t offset) override {
    if (const index::QueueEntry* recent = queue_.recent.Find(offset); recent != nullptr) return recent->group;
    FULMAR_ASSIGN_OR_RETURN(const std::vector<index::QueueEntry> read, index_.Read(queue_.id, offset, offset + 1, 1));
    if (read.empty()) return absl::NotFoundError("removed by retention");
    return read.front().group;
  }
  void ForEachOf(uint64_t group, int64_t from, int64_t end, absl::FunctionRef<bool(int64_t)> visit) override {
    index_.ForEachOfGroup(queue_.id, group, from, end, visit);
  }

 private:
  const index::QueueIndex& index_;
  const Queue& queue_;
};

std::unique_ptr<GroupQueue> MakeProgress(int64_t cursor, MessageGroups* groups) {
  if (groups != nullptr) return std::make_unique<OrderedQueue>(cursor, *groups);
  return std::make_unique<GroupQueue>(cursor);
}

}  // namespace

SubscribedQueue::SubscribedQueue(Subscription& of, Queue& its_queue, int64_t cursor, std::unique_ptr<MessageGroups> in_order)
    : subscription(of),
      queue(its_queue),
      message_groups(std::move(in_order)),
      owned(MakeProgress(cursor, message_groups.get())),
      progress(*owned) {}

void Consumers::Adopt(std::vector<index::QueueProgress> progress) {
  for (index::QueueProgress& entry : progress) {
    if (entry.deleted) continue;
    ShardState::ProgressId id{entry.group, {entry.topic_id, entry.queue}};
    auto it = adopted_.find(id);
    if (it == adopted_.end()) {
      adopted_.emplace(std::move(id), std::move(entry));
    } else if (it->second.sequence < entry.sequence) {
      it->second = std::move(entry);
    }
  }
  AdoptWaiting();
}

void Consumers::AdoptWaiting() {
  std::vector<std::pair<Group*, Topic*>> known;
  for (const auto& [id, progress] : adopted_) {
    Group* group = context_.state.FindGroup(id.first);
    Topic* topic = context_.state.FindTopic(id.second.topic_id);
    if (group != nullptr && topic != nullptr) known.emplace_back(group, topic);
  }
  for (const auto& [group, topic] : known) Ensure(*group, *topic);
}

Subscription* Consumers::Find(std::string_view group, uint32_t topic_id) {
  auto it = groups_.find(group);
  if (it == groups_.end()) return nullptr;
  auto subscription = it->second.find(topic_id);
  return subscription == it->second.end() ? nullptr : subscription->second.get();
}

Subscription* Consumers::Find(uint64_t id) {
  auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

Subscription& Consumers::Ensure(Group& group, Topic& topic) {
  const uint32_t topic_id = topic.definition.topic_id;
  if (Subscription* known = Find(group.definition.name, topic_id); known != nullptr) {
    if (known->queues.size() < topic.queues.size()) AddQueues(*known);
    return *known;
  }
  std::unique_ptr<Subscription>& subscription = groups_[group.definition.name][topic_id];
  subscription = std::make_unique<Subscription>();
  subscription->id = ++last_id_;
  subscription->topic = &topic;
  subscription->group = &group;
  subscription->ordered = index::InOrder(group.definition, topic.definition);
  by_id_[subscription->id] = subscription.get();
  of_topic_[{topic_id, subscription->id}] = subscription.get();
  AddQueues(*subscription);
  return *subscription;
}

void Consumers::AddQueues(Subscription& subscription) {
  const bool first = subscription.queues.empty();
  for (size_t i = subscription.queues.size(); i < subscription.topic->queues.size(); ++i) {
    Queue& queue = *subscription.topic->queues[i];
    // Messages of a queue that was added later were all sent after the group came, so none of them is skipped.
    const bool latest = first && subscription.group->definition.from == index::StartFrom::kLatest;
    subscription.queues.push_back(MakeQueue(subscription, queue, latest ? queue.counters.next : queue.counters.min));
    SubscribedQueue& made = *subscription.queues.back();
    made.kept = latest;
    const auto adopted = adopted_.find({subscription.group_name(), queue.id});
    if (adopted == adopted_.end()) continue;
    const int64_t now_ms = context_.NowMs();
    made.progress.Restore(adopted->second, {.wall_minus_steady = context_.WallMinusSteady(),
                                            .now_ms = now_ms,
                                            .renew_until_ms = now_ms + absl::ToInt64Milliseconds(context_.options.client_silence),
                                            .max_ms = absl::ToInt64Milliseconds(context_.options.max_invisible)});
    made.sequence = adopted->second.sequence;
    made.kept = true;
    adopted_.erase(adopted);
    if (const int64_t lost = made.progress.MoveUp(queue.counters.min); lost > 0) {
      context_.observer().OnLost(subscription.topic_name(), subscription.group_name(), static_cast<uint64_t>(lost));
    }
    on_restored_(made);
  }
}

std::unique_ptr<SubscribedQueue> Consumers::MakeQueue(Subscription& subscription, Queue& queue, int64_t cursor) {
  std::unique_ptr<MessageGroups> groups;
  if (subscription.ordered) groups = std::make_unique<IndexedGroups>(context_.state.index(), queue);
  return std::make_unique<SubscribedQueue>(subscription, queue, cursor, std::move(groups));
}

void Consumers::Reorder(absl::FunctionRef<void(Subscription&)> before) {
  for (auto& [id, subscription] : by_id_) {
    const bool ordered = index::InOrder(subscription->group->definition, subscription->topic->definition);
    if (ordered == subscription->ordered) continue;
    before(*subscription);
    subscription->ordered = ordered;
    subscription->batches = {};
    for (auto& queue : subscription->queues) {
      std::unique_ptr<SubscribedQueue> anew = MakeQueue(*subscription, queue->queue, queue->progress.cursor());
      anew->sequence = queue->sequence;
      anew->confirmed = queue->confirmed;
      anew->kept = queue->kept;
      queue = std::move(anew);
    }
  }
}

int64_t Consumers::FlightsOf(std::string_view group) const {
  int64_t flights = 0;
  auto it = groups_.find(group);
  if (it == groups_.end()) return 0;
  for (const auto& [topic_id, subscription] : it->second) {
    for (const auto& queue : subscription->queues) flights += queue->progress.flights();
  }
  return flights;
}

// Topic, group and queues of the subscription may be gone already: only ids are used here.
void Consumers::Drop(const std::string& group, uint32_t topic_id, Subscription& subscription, Ended& ended) {
  int64_t flights = 0;
  for (const auto& queue : subscription.queues) flights += queue->progress.flights();
  if (flights > 0) ended.freed.emplace_back(group, flights);
  for (size_t i = 0; i < subscription.queues.size(); ++i) {
    if (!subscription.queues[i]->kept) continue;
    index::QueueProgress& entry = ended.forget.emplace_back();
    entry.group = group;
    entry.topic_id = topic_id;
    entry.queue = static_cast<int32_t>(i);
    entry.deleted = true;
    entry.sequence = subscription.queues[i]->sequence + 1;
  }
  ended.subscriptions.push_back(subscription.id);
  of_topic_.erase({topic_id, subscription.id});
  by_id_.erase(subscription.id);
}

Consumers::Ended Consumers::RemoveTopic(uint32_t topic_id) {
  Ended ended;
  for (auto it = groups_.begin(); it != groups_.end();) {
    auto subscription = it->second.find(topic_id);
    if (subscription != it->second.end()) {
      Drop(it->first, topic_id, *subscription->second, ended);
      it->second.erase(subscription);
    }
    it = it->second.empty() ? groups_.erase(it) : std::next(it);
  }
  for (auto it = adopted_.begin(); it != adopted_.end();) {
    it = it->first.second.topic_id == topic_id ? adopted_.erase(it) : std::next(it);
  }
  return ended;
}

Consumers::Ended Consumers::RemoveGroup(std::string_view group) {
  Ended ended;
  auto it = groups_.find(group);
  if (it != groups_.end()) {
    for (auto& [topic_id, subscription] : it->second) Drop(it->first, topic_id, *subscription, ended);
    groups_.erase(it);
  }
  for (auto adopted = adopted_.begin(); adopted != adopted_.end();) {
    adopted = adopted->first.first == group ? adopted_.erase(adopted) : std::next(adopted);
  }
  return ended;
}

void Consumers::Clear() {
  of_topic_.clear();
  by_id_.clear();
  groups_.clear();
  adopted_.clear();
}

absl::StatusOr<const index::QueueEntry*> Consumers::Entry(SubscribedQueue& queue, int64_t offset) {
  if (const index::QueueEntry* recent = queue.queue.recent.Find(offset); recent != nullptr) {
    if (!queue.window.empty()) queue.window = {};
    return recent;
  }
  const auto in_window = [&queue, offset]() -> const index::QueueEntry* {
    const auto it = std::lower_bound(queue.window.begin(), queue.window.end(), offset,
                                     [](const index::QueueEntry& entry, int64_t value) { return entry.offset < value; });
    return it != queue.window.end() && it->offset == offset ? &*it : nullptr;
  };
  if (const index::QueueEntry* entry = in_window(); entry != nullptr) return entry;
  absl::StatusOr<std::vector<index::QueueEntry>> read =
      context_.state.index().Read(queue.queue.id, offset, queue.queue.counters.next, kReadAhead);
  if (!read.ok()) {
    FULMAR_LOG_EVERY(absl::Seconds(10), kError, "index_entry_unreadable",
                     {{"topic", queue.subscription.topic_name()}, {"queue", queue.queue.id.queue}, {"error", read.status()}});
    return read.status();
  }
  queue.window = *std::move(read);
  if (const index::QueueEntry* entry = in_window(); entry != nullptr) return entry;
  return absl::NotFoundError("removed by retention");
}

}  // namespace fulmar::broker
