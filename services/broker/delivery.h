#ifndef FULMAR_BROKER_DELIVERY_H_
#define FULMAR_BROKER_DELIVERY_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "services/broker/auto_create.h"
#include "services/broker/client_table.h"
#include "services/broker/consumers.h"
#include "services/broker/parked_receives.h"
#include "services/broker/progress_flusher.h"
#include "services/broker/retry.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Receives: takes what is due and what is new from all queues of a topic, brings the bodies, answers, or parks until something comes.
//
//   Receive ──► take from the queues ──► something ──► bodies in memory? ──► answer: attempts count, handles are made
//                    ▲                                   │ no: read, then
//                    │                nothing            ▼
//   Wake ◄── parked ◄────────────────────┘          (cancelled: everything taken is open again)
//
// A pass looks at a bounded number of index entries, then other tasks of the shard get their turn.
class Delivery {
 public:
  Delivery(ShardContext& context, Consumers& consumers, AutoCreate& definitions, ClientTable& clients, ProgressFlusher& progress,
           RetryTimes& retry);

  void Receive(ReceiveId id, ReceiveCommand command, Done<std::vector<Delivered>> done);
  void Cancel(ReceiveId id);
  // An error that a client would answer with the next poll at once: told after options.error_delay.
  void Refuse(Done<std::vector<Delivered>> done, absl::Status why);

  // Something may be there for those who wait.
  void Wake(Subscription& subscription);
  void WakeTopic(uint32_t topic_id);
  void WakeAfter(Subscription& subscription, int64_t wait_ms);
  void WakeGroup(std::string_view group);
  // `ended` flights of the group are over: who waited for its bound may go on.
  void GroupHasRoom(std::string_view group, int64_t ended);
  // These wait for nothing any more.
  void EndAll(const std::vector<ReceiveId>& ids, const absl::Status& why);
  void EndOf(const std::vector<uint64_t>& subscriptions, const absl::Status& why) { EndAll(parked_.Of(subscriptions), why); }
  void EndAll(const absl::Status& why) { EndAll(parked_.All(), why); }
  int64_t parked() const { return parked_.size(); }

 private:
  void Start(std::unique_ptr<WaitingReceive> receive, const std::string& group, Topic& topic);
  enum class Pass { kTook, kNothing, kOutOfBudget };
  void Serve(Subscription& subscription);
  Pass Fill(Subscription& subscription, WaitingReceive& receive, int32_t& budget);
  Pass FillByPriority(Subscription& subscription, WaitingReceive& receive, int32_t& budget);
  Pass FillInOrder(Subscription& subscription, WaitingReceive& receive, int32_t& budget);
  void TakeBehind(WaitingReceive& receive, int64_t room, uint64_t& bytes, int32_t& budget);
  // What an earlier answer to this attempt id held and is still out, for a client that did not get it.
  bool TakeAgain(Subscription& subscription, WaitingReceive& receive);
  void Remember(Subscription& subscription, const WaitingReceive& receive, const std::vector<Delivered>& out);
  static bool IsOut(const Subscription& subscription, const DeliveredBatches::Message& message);
  std::optional<common::SharedBytes> TryBody(const SubscribedQueue& queue, const index::QueueEntry& entry);
  enum class Taken { kHeld, kDone, kUnreadable };
  Taken Take(SubscribedQueue& queue, int64_t offset, WaitingReceive& receive, uint64_t& bytes);
  void Skip(SubscribedQueue& queue, int64_t offset);
  void Expire(SubscribedQueue& queue, int64_t offset);
  void StartReads(WaitingReceive& receive);
  void OnRead(ReceiveId id, size_t i, absl::StatusOr<common::SharedBytes> body);
  void Finish(WaitingReceive& receive);
  void Deliver(const TakenMessage& taken, const WaitingReceive& receive, int64_t now_ms, std::vector<Delivered>& out);
  void Quarantine(const TakenMessage& taken, int64_t now_ms, const absl::Status& why);
  void Release(WaitingReceive& receive);
  void OnDeadline(WaitingReceive& receive);
  void RunWoken();

  ShardContext& context_;
  Consumers& consumers_;
  AutoCreate& definitions_;
  ClientTable& clients_;
  ProgressFlusher& progress_;
  RetryTimes& retry_;
  ParkedReceives parked_;
  int64_t delayed_errors_ = 0;
  std::deque<uint64_t> woken_;  // Subscription ids
  bool run_posted_ = false;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_DELIVERY_H_
