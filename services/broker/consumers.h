#ifndef FULMAR_BROKER_CONSUMERS_H_
#define FULMAR_BROKER_CONSUMERS_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "services/broker/delivered_batches.h"
#include "services/broker/group_queue.h"
#include "services/broker/ordered_queue.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

struct Subscription;

// One (group, topic, queue): the pure progress and what the shard keeps around it.
struct SubscribedQueue {
  SubscribedQueue(Subscription& of, Queue& its_queue, int64_t cursor, std::unique_ptr<MessageGroups> in_order);
  Subscription& subscription;
  Queue& queue;
  const std::unique_ptr<MessageGroups> message_groups;  // of an ordered subscription, else null
  const std::unique_ptr<GroupQueue> owned;
  GroupQueue& progress;
  uint64_t sequence = 0;    // of the last copy written anywhere (index::QueueProgress::sequence)
  uint64_t confirmed = 0;   // of the last copy that the offset service has
  bool marked = false;      // ProgressFlusher has it on its list
  bool kept = false;        // something worth keeping ever happened: an explicit start, a delivery, an end
  int64_t armed_ms = INT64_MAX;  // RetryTimes will look at it then
  std::vector<index::QueueEntry> window;  // index entries read ahead, ascending
};

// One group in one topic.
struct Subscription {
  uint64_t id = 0;  // orders what must not be ordered by address
  Topic* topic = nullptr;
  Group* group = nullptr;
  std::vector<std::unique_ptr<SubscribedQueue>> queues;
  size_t rotation = 0;           // the queue that the next receive begins with
  std::deque<uint64_t> waiting;  // ReceiveIds of parked receives, first come first served
  bool scheduled = false;        // a pass over `waiting` is posted
  bool quota_timer = false;      // and one will be when the group's quota allows
  bool ordered = false;          // the queues' progress is OrderedQueue
  DeliveredBatches batches;      // ordered only

  const std::string& topic_name() const { return topic->definition.name; }
  const std::string& group_name() const { return group->definition.name; }
};

// Every group's progress in every topic of this shard: what the claim returned, and what came since. Leader only.
class Consumers {
 public:
  // `on_restored`: what an earlier leader left has its place now; its times are to be watched.
  Consumers(ShardContext& context, absl::AnyInvocable<void(SubscribedQueue&)> on_restored)
      : context_(context), on_restored_(std::move(on_restored)) {}

  // What an earlier leader left, the newer of each two copies. Taken into use as soon as the shard knows group and topic.
  void Adopt(std::vector<index::QueueProgress> progress);
  // A definition came: adopted progress may find its place.
  void AdoptWaiting();

  Subscription* Find(std::string_view group, uint32_t topic_id);
  Subscription* Find(uint64_t id);
  // Made at the group's first contact with the topic, at the start that the group's definition names. A topic that got more queues
  // gets them here too.
  Subscription& Ensure(Group& group, Topic& topic);

  // Flights of this group in all topics: the measure of its bound.
  int64_t FlightsOf(std::string_view group) const;
  // Definitions changed: subscriptions whose order is another one now begin again where their lowest open message lies. Who
  // waits there is ended by `before`.
  void Reorder(absl::FunctionRef<void(Subscription&)> before);
  // The topic (group) is gone.
  struct Ended {
    std::vector<uint64_t> subscriptions;
    std::vector<index::QueueProgress> forget;  // what the offset service need not keep any more
    std::vector<std::pair<std::string, int64_t>> freed;  // groups that had flights there, and how many
  };
  Ended RemoveTopic(uint32_t topic_id);
  Ended RemoveGroup(std::string_view group);
  void Clear();

  template <class F>
  void ForEach(F f) {
    for (auto& [id, subscription] : by_id_) f(*subscription);
  }
  template <class F>
  void ForEachOfTopic(uint32_t topic_id, F f) {
    for (auto it = of_topic_.lower_bound({topic_id, 0}); it != of_topic_.end() && it->first.first == topic_id; ++it) f(*it->second);
  }
  template <class F>
  void ForEachOfGroup(std::string_view group, F f) {
    auto it = groups_.find(group);
    if (it == groups_.end()) return;
    for (auto& [topic_id, subscription] : it->second) f(*subscription);
  }

  // The index entry of `offset`, from memory if it can be; null when there is none (any more). Good until the next call.
  // Errors: NotFound (retention removed it); others: the index cannot be read, which says nothing about the message.
  absl::StatusOr<const index::QueueEntry*> Entry(SubscribedQueue& queue, int64_t offset);

 private:
  using OfGroup = absl::btree_map<uint32_t, std::unique_ptr<Subscription>>;
  void AddQueues(Subscription& subscription);
  std::unique_ptr<SubscribedQueue> MakeQueue(Subscription& subscription, Queue& queue, int64_t cursor);
  void Drop(const std::string& group, uint32_t topic_id, Subscription& subscription, Ended& ended);

  ShardContext& context_;
  absl::AnyInvocable<void(SubscribedQueue&)> on_restored_;
  absl::btree_map<std::string, OfGroup> groups_;
  absl::btree_map<uint64_t, Subscription*> by_id_;
  absl::btree_map<std::pair<uint32_t, uint64_t>, Subscription*> of_topic_;
  absl::btree_map<ShardState::ProgressId, index::QueueProgress> adopted_;  // not yet in use
  uint64_t last_id_ = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_CONSUMERS_H_
