#ifndef FULMAR_BROKER_PARKED_RECEIVES_H_
#define FULMAR_BROKER_PARKED_RECEIVES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/functional/any_invocable.h"
#include "services/broker/consumers.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// A message on its way out: held for the receive that will get it, until its body is in memory.
struct TakenMessage {
  SubscribedQueue* queue = nullptr;
  int64_t offset = 0;
  int64_t visible_since_ms = 0;  // wall clock: when it came into its queue
  uint32_t hold = 0;
  bool again = false;  // its answer was lost: the attempt is the same
  common::SharedBytes body{};
  absl::Status read = absl::OkStatus();
};

// A receive between its arrival and its answer.
struct WaitingReceive {
  ReceiveId id = 0;
  ReceiveCommand command;
  Done<std::vector<Delivered>> done;
  int64_t deadline_ms = 0;
  uint64_t client = 0;
  uint64_t subscription = 0;  // Subscription::id
  std::vector<TakenMessage> taken;
  int32_t pending_reads = 0;  // > 0: not in Subscription::waiting
  bool scanning = false;      // its last pass ended before the end of the queues
};

// Every receive that has no answer yet, by id and by deadline. Bounded by the caller. One timer for all.
class ParkedReceives {
 public:
  using OnDeadline = absl::AnyInvocable<void(WaitingReceive&)>;
  ParkedReceives(ShardContext& context, OnDeadline on_deadline) : context_(context), on_deadline_(std::move(on_deadline)) {}

  WaitingReceive& Add(std::unique_ptr<WaitingReceive> receive);
  WaitingReceive* Find(ReceiveId id);
  // Out of the books; the caller answers it.
  std::unique_ptr<WaitingReceive> Remove(ReceiveId id);
  std::vector<ReceiveId> All() const;
  // Of these subscriptions, also while their bodies are being read.
  std::vector<ReceiveId> Of(const std::vector<uint64_t>& subscriptions) const;
  int64_t size() const { return static_cast<int64_t>(receives_.size()); }

 private:
  void Arm();
  void OnTimer();

  ShardContext& context_;
  OnDeadline on_deadline_;
  absl::btree_map<ReceiveId, std::unique_ptr<WaitingReceive>> receives_;
  absl::btree_set<std::pair<int64_t, ReceiveId>> deadlines_;
  common::Executor::TimerId timer_ = 0;
  int64_t timer_ms_ = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_PARKED_RECEIVES_H_
