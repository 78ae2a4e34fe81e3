#ifndef FULMAR_BROKER_RETRY_H_
#define FULMAR_BROKER_RETRY_H_

#include <cstdint>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/functional/any_invocable.h"
#include "services/broker/auto_renew.h"
#include "services/broker/client_table.h"
#include "services/broker/consumers.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// What happens when the invisible time of a message is over: renewed for a living client, else dead-lettered after the group's last
// attempt, else delivered again. One timer for all queues; a queue is in the schedule at most a few times, not once per message.
class RetryTimes {
 public:
  struct Hooks {
    absl::AnyInvocable<void(Subscription&)> ready;                      // something can be delivered again
    absl::AnyInvocable<void(SubscribedQueue&, int64_t offset)> exhausted;  // no attempt is left; ready in its queue
    absl::AnyInvocable<void(SubscribedQueue&)> changed;                 // progress to be kept
  };
  RetryTimes(ShardContext& context, Consumers& consumers, const ClientTable& clients, Hooks hooks);

  // To be called after every change that may bring the next time of `queue` nearer.
  void Arm(SubscribedQueue& queue);
  // Messages of `queue` ended or went: of an ordered one, others may be next now. To be called after every such change.
  void Progressed(SubscribedQueue& queue);
  // These clients (ascending) hold nothing any more.
  void ClientsGone(const std::vector<uint64_t>& clients);
  void Clear();

 private:
  void Schedule();
  void OnTimer();

  ShardContext& context_;
  Consumers& consumers_;
  const ClientTable& clients_;
  AutoRenew auto_renew_;
  Hooks hooks_;
  absl::btree_set<std::tuple<int64_t, uint64_t, int32_t>> schedule_;  // time, subscription, queue
  common::Executor::TimerId timer_ = 0;
  int64_t timer_ms_ = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_RETRY_H_
