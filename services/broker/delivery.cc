#include "services/broker/delivery.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/broker/message_bodies.h"
#include "services/broker/order_kept.h"
#include "services/broker/message_ttl.h"
#include "services/broker/priority_order.h"
#include "services/common/errors.h"
#include "services/common/log.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

// Mostly the one that came first; thousands that time out together must not each search the line.
void StopWaiting(Subscription& subscription, ReceiveId id) {
  if (!subscription.waiting.empty() && subscription.waiting.front() == id) {
    subscription.waiting.pop_front();
  } else {
    std::erase(subscription.waiting, id);
  }
}

}  // namespace

Delivery::Delivery(ShardContext& context, Consumers& consumers, AutoCreate& definitions, ClientTable& clients,
                   ProgressFlusher& progress, RetryTimes& retry)
    : context_(context),
      consumers_(consumers),
      definitions_(definitions),
      clients_(clients),
      progress_(progress),
      retry_(retry),
      parked_(context, [this](WaitingReceive& receive) { OnDeadline(receive); }) {}

// ---- arrival and end

void Delivery::Receive(ReceiveId id, ReceiveCommand command, Done<std::vector<Delivered>> done) {
  const ShardOptions& options = context_.options;
  if (parked_.size() >= options.max_parked_receives) {
    return Refuse(std::move(done), errors::TooManyRequests(absl::StrCat(parked_.size(), " receives are parked here, which is the limit")));
  }
  if (command.auto_renew) command.invisible_duration = options.auto_renew_invisible;
  if (command.invisible_duration < options.min_invisible && !command.auto_renew) {
    return Refuse(std::move(done), errors::IllegalInvisibleTime(absl::StrCat(
                                       "the invisibleTime is too small: ", absl::FormatDuration(command.invisible_duration),
                                       ", at least ", absl::FormatDuration(options.min_invisible))));
  }
  if (command.invisible_duration > options.max_invisible && !command.auto_renew) {
    return Refuse(std::move(done), errors::IllegalInvisibleTime(absl::StrCat(
                                       "the invisibleTime is too large: ", absl::FormatDuration(command.invisible_duration),
                                       ", at most ", absl::FormatDuration(options.max_invisible))));
  }
  command.max_messages = std::clamp(command.max_messages, 1, options.max_batch);
  command.wait = std::clamp(command.wait, absl::ZeroDuration(), options.max_wait);

  auto receive = std::make_unique<WaitingReceive>();
  const int64_t now_ms = context_.NowMs();
  receive->id = id;
  receive->client = clients_.Touch(command.client, now_ms);
  // The clock's millisecond is cut off: one more, so that no poll ends before its time.
  const int64_t wait_ms = absl::ToInt64Milliseconds(command.wait);
  receive->deadline_ms = now_ms + wait_ms + (wait_ms > 0 ? 1 : 0);
  receive->command = std::move(command);
  receive->done = std::move(done);

  const std::string& topic = receive->command.topic;
  if (Topic* known = context_.state.FindTopic(topic); known != nullptr && !known->deleting) {
    Group* group = context_.state.FindGroup(receive->command.group);
    if (group != nullptr && !group->deleting) return Start(std::move(receive), group->definition.name, *known);
  }
  const std::string topic_name = topic, group_name = receive->command.group;
  // The topic first: when neither exists, that is the error that helps.
  definitions_.WithTopic(topic_name, [this, topic_name, group_name, receive = std::move(receive)](absl::StatusOr<Topic*> found) mutable {
    if (!found.ok()) return Refuse(std::move(receive->done), found.status());
    definitions_.WithGroup(group_name, [this, topic_name, receive = std::move(receive)](absl::StatusOr<Group*> group) mutable {
      if (!group.ok()) return Refuse(std::move(receive->done), group.status());
      Topic* still = context_.state.FindTopic(topic_name);
      if (still == nullptr || still->deleting) {
        return Refuse(std::move(receive->done), errors::TopicNotFound(absl::StrCat("topic '", topic_name, "' was deleted")));
      }
      Start(std::move(receive), (*group)->definition.name, *still);
    });
  });
}

void Delivery::Start(std::unique_ptr<WaitingReceive> receive, const std::string& group_name, Topic& topic) {
  Group* group = context_.state.FindGroup(group_name);
  if (group == nullptr || group->deleting) {
    return Refuse(std::move(receive->done), errors::ConsumerGroupNotFound(absl::StrCat("group '", group_name, "' was deleted")));
  }
  // One that would only wait for the quota is told so; those that are parked already wait.
  if (absl::Status over = context_.quotas.AdmitReceive(group->definition, receive->command.client.client_id, context_.NowMs()); !over.ok()) {
    context_.observer().OnThrottled(ShardObserver::Throttled::kReceive);
    return Refuse(std::move(receive->done), std::move(over));
  }
  Subscription& subscription = consumers_.Ensure(*group, topic);
  clients_.JoinGroup(receive->client, group_name);
  for (auto& queue : subscription.queues) {
    if (queue->kept && queue->sequence == 0) progress_.MarkChanged(*queue);  // "latest" must stay where it was on this day
  }
  receive->subscription = subscription.id;
  WaitingReceive& parked = parked_.Add(std::move(receive));
  if (subscription.ordered && TakeAgain(subscription, parked)) return StartReads(parked);
  subscription.waiting.push_back(parked.id);
  // Those who wait longer were served when there was something.
  if (subscription.waiting.size() == 1) {
    Serve(subscription);
  } else {
    Wake(subscription);
  }
}

void Delivery::Refuse(Done<std::vector<Delivered>> done, absl::Status why) {
  // Bounded like what is parked: those who come on top have nothing to gain from polling fast.
  if (delayed_errors_ >= context_.options.max_parked_receives) return std::move(done)(std::move(why));
  ++delayed_errors_;
  context_.After(context_.options.error_delay, [this, done = std::move(done), why = std::move(why)]() mutable {
    --delayed_errors_;
    std::move(done)(std::move(why));
  });
}

void Delivery::OnDeadline(WaitingReceive& receive) {
  if (receive.pending_reads > 0) return;  // its messages are taken: they come with the last body
  // One that does not want to wait still gets to see the whole queue: the pass that ends its looking answers it.
  if (receive.scanning && receive.command.wait <= absl::ZeroDuration()) return;
  if (Subscription* subscription = consumers_.Find(receive.subscription); subscription != nullptr) {
    StopWaiting(*subscription, receive.id);
  }
  const std::unique_ptr<WaitingReceive> over = parked_.Remove(receive.id);
  Release(*over);
  std::move(over->done)(errors::MessageNotFound("no new message"));
}

void Delivery::Cancel(ReceiveId id) { EndAll({id}, absl::CancelledError("the call has ended")); }

void Delivery::EndAll(const std::vector<ReceiveId>& ids, const absl::Status& why) {
  for (const ReceiveId id : ids) {
    const std::unique_ptr<WaitingReceive> receive = parked_.Remove(id);
    if (receive == nullptr) continue;
    if (Subscription* subscription = consumers_.Find(receive->subscription); subscription != nullptr) {
      StopWaiting(*subscription, id);
    }
    Release(*receive);
    if (absl::IsCancelled(why) || absl::IsNotFound(why)) {
      std::move(receive->done)(why);
    } else {
      Refuse(std::move(receive->done), why);
    }
  }
}

// What was taken for a receive that will not be answered with it: open again at once.
void Delivery::Release(WaitingReceive& receive) {
  if (receive.taken.empty()) return;
  Subscription* subscription = consumers_.Find(receive.subscription);
  if (subscription == nullptr) return;
  const int64_t now_ms = context_.NowMs();
  for (const TakenMessage& taken : receive.taken) {
    if (taken.queue->progress.IsHeld(taken.offset, taken.hold)) taken.queue->progress.Release(taken.offset, now_ms, now_ms);
  }
  receive.taken.clear();
  Wake(*subscription);
}

// ---- waking

void Delivery::Wake(Subscription& subscription) {
  if (subscription.waiting.empty() || subscription.scheduled) return;
  subscription.scheduled = true;
  woken_.push_back(subscription.id);
  if (run_posted_) return;
  run_posted_ = true;
  context_.Post([this] { RunWoken(); });
}

void Delivery::WakeAfter(Subscription& subscription, int64_t wait_ms) {
  if (subscription.quota_timer) return;
  subscription.quota_timer = true;
  context_.After(absl::Milliseconds(wait_ms), [this, id = subscription.id] {
    Subscription* waited = consumers_.Find(id);
    if (waited == nullptr) return;
    waited->quota_timer = false;
    Wake(*waited);
  });
}

void Delivery::WakeTopic(uint32_t topic_id) {
  consumers_.ForEachOfTopic(topic_id, [this](Subscription& subscription) { Wake(subscription); });
}

void Delivery::WakeGroup(std::string_view group) {
  consumers_.ForEachOfGroup(group, [this](Subscription& subscription) { Wake(subscription); });
}

void Delivery::GroupHasRoom(std::string_view group, int64_t ended) {
  if (consumers_.FlightsOf(group) + ended < context_.options.max_in_flight_per_group) return;
  WakeGroup(group);
}

void Delivery::RunWoken() {
  run_posted_ = false;
  std::deque<uint64_t> now = std::exchange(woken_, {});
  for (const uint64_t id : now) {
    Subscription* subscription = consumers_.Find(id);
    if (subscription == nullptr) continue;
    subscription->scheduled = false;
    Serve(*subscription);
  }
}

// ---- one pass

void Delivery::Serve(Subscription& subscription) {
  int32_t budget = context_.options.scan_budget;
  while (!subscription.waiting.empty() && !subscription.group->definition.suspended) {
    WaitingReceive* receive = parked_.Find(subscription.waiting.front());
    FULMAR_CHECK(receive != nullptr);
    if (const int64_t wait_ms = context_.quotas.DeliveryWaitMs(subscription.group->definition, context_.NowMs()); wait_ms > 0) {
      WakeAfter(subscription, wait_ms);
      break;
    }
    const Pass pass = Fill(subscription, *receive, budget);
    if (pass == Pass::kOutOfBudget) {
      receive->scanning = true;
      return Wake(subscription);
    }
    if (pass == Pass::kNothing) break;
    subscription.waiting.pop_front();
    StartReads(*receive);
  }
  // A receive that does not want to wait is answered by its first pass.
  const int64_t now_ms = context_.NowMs();
  while (!subscription.waiting.empty()) {
    WaitingReceive* receive = parked_.Find(subscription.waiting.front());
    if (receive->deadline_ms > now_ms || receive->command.wait > absl::ZeroDuration()) break;
    receive->scanning = false;
    OnDeadline(*receive);
  }
}

Delivery::Pass Delivery::Fill(Subscription& subscription, WaitingReceive& receive, int32_t& budget) {
  if (subscription.topic->definition.type == index::TopicType::kPriority) return FillByPriority(subscription, receive, budget);
  if (subscription.ordered) return FillInOrder(subscription, receive, budget);
  const size_t wanted = static_cast<size_t>(receive.command.max_messages);
  const size_t queues = subscription.queues.size();
  if (queues == 0) return Pass::kNothing;
  int64_t room = context_.options.max_in_flight_per_group - consumers_.FlightsOf(subscription.group_name());
  uint64_t bytes = 0;
  const size_t first = subscription.rotation % queues;
  const auto full = [&] { return receive.taken.size() >= wanted || bytes >= context_.options.max_batch_bytes; };
  for (size_t i = 0; i < queues && !full(); ++i) {
    SubscribedQueue& queue = *subscription.queues[(first + i) % queues];
    bool readable = true;  // else the next poll tries again; the other queues go on
    for (std::optional<int64_t> due; readable && !full() && budget > 0 && (due = queue.progress.NextReady());) {
      --budget;
      readable = Take(queue, *due, receive, bytes) != Taken::kUnreadable;
    }
    for (std::optional<int64_t> open; readable && !full() && budget > 0 && room > 0 && (open = queue.progress.NextNew(queue.queue.counters.next));) {
      --budget;
      const Taken taken = Take(queue, *open, receive, bytes);
      if (taken == Taken::kHeld) --room;
      readable = taken != Taken::kUnreadable;
    }
    if (budget <= 0) break;
  }
  ++subscription.rotation;
  if (!receive.taken.empty()) return Pass::kTook;
  return budget <= 0 ? Pass::kOutOfBudget : Pass::kNothing;
}

Delivery::Pass Delivery::FillByPriority(Subscription& subscription, WaitingReceive& receive, int32_t& budget) {
  int64_t room = context_.options.max_in_flight_per_group - consumers_.FlightsOf(subscription.group_name());
  uint64_t bytes = 0;
  PriorityOrder order(context_, consumers_, subscription);
  while (receive.taken.size() < static_cast<size_t>(receive.command.max_messages) && bytes < context_.options.max_batch_bytes && budget > 0) {
    const std::optional<PriorityOrder::Next> next = order.First(/*only_retries=*/room <= 0);
    if (!next) break;
    --budget;
    const Taken taken = Take(*next->queue, next->offset, receive, bytes);
    if (taken == Taken::kHeld && next->fresh) --room;
    order.Took(*next->queue, /*usable=*/taken != Taken::kUnreadable);
  }
  if (!receive.taken.empty()) return Pass::kTook;
  return budget <= 0 ? Pass::kOutOfBudget : Pass::kNothing;
}

// kHeld: for `receive`, from now on. kDone: for this group. kUnreadable: as it was.
Delivery::Taken Delivery::Take(SubscribedQueue& queue, int64_t offset, WaitingReceive& receive, uint64_t& bytes) {
  const absl::StatusOr<const index::QueueEntry*> found = consumers_.Entry(queue, offset);
  if (absl::IsNotFound(found.status())) {  // retention was faster
    context_.observer().OnLost(queue.subscription.topic_name(), queue.subscription.group_name(), 1);
    Skip(queue, offset);
    return Taken::kDone;
  }
  if (!found.ok()) {
    context_.observer().OnUnreadable();
    return Taken::kUnreadable;
  }
  const index::QueueEntry* const entry = *found;
  const int64_t wall_ms = absl::ToUnixMillis(context_.env.clock.Now());
  if (ExpiredByTopic(queue.subscription.topic->definition, entry->store_time_ms, wall_ms)) {
    Expire(queue, offset);
    return Taken::kDone;
  }
  const Filter& filter = receive.command.filter;
  if (!filter.takes_all() && !filter.MayMatch(entry->tag_hash)) {
    Skip(queue, offset);
    return Taken::kDone;
  }
  TakenMessage taken{.queue = &queue, .offset = offset, .visible_since_ms = entry->store_time_ms};
  if (std::optional<common::SharedBytes> body = TryBody(queue, *entry)) taken.body = *std::move(body);
  if (!filter.takes_all() && !taken.body.empty()) {  // without a body the exact test comes after its reading
    const absl::StatusOr<MessageView> message = ParseMessageRecord(taken.body.view());
    if (message.ok() && !filter.Matches(*message)) {
      Skip(queue, offset);
      return Taken::kDone;
    }
  }
  bytes += entry->length;
  taken.hold = queue.progress.Hold(offset);
  receive.taken.push_back(std::move(taken));
  return Taken::kHeld;
}

std::optional<common::SharedBytes> Delivery::TryBody(const SubscribedQueue& queue, const index::QueueEntry& entry) {
  return TryReadMessage(context_, queue.queue.id, entry);
}

void Delivery::Expire(SubscribedQueue& queue, int64_t offset) {
  context_.observer().OnExpired(queue.subscription.topic_name(), queue.subscription.group_name(), 1);
  context_.trace.Add(TraceKind::kExpired, queue.queue.id, offset, 0, queue.subscription.group_name(), "");
  Skip(queue, offset);
}

void Delivery::Skip(SubscribedQueue& queue, int64_t offset) {
  // Behind others of its message group it is done for good only while it is held.
  if (queue.subscription.ordered) queue.progress.Hold(offset);
  queue.progress.MarkDone(offset);
  retry_.Progressed(queue);
  progress_.MarkChanged(queue);
}

// ---- bodies

void Delivery::StartReads(WaitingReceive& receive) {
  for (size_t i = 0; i < receive.taken.size(); ++i) {
    TakenMessage& taken = receive.taken[i];
    if (!taken.body.empty()) continue;
    const absl::StatusOr<const index::QueueEntry*> entry = consumers_.Entry(*taken.queue, taken.offset);
    if (!entry.ok()) {
      taken.read = entry.status();
      continue;
    }
    ++receive.pending_reads;
    ReadMessage(context_, taken.queue->queue.id, **entry, [this, id = receive.id, i](absl::StatusOr<common::SharedBytes> body) {
      OnRead(id, i, std::move(body));
    });
  }
  if (receive.pending_reads == 0) Finish(receive);
}

void Delivery::OnRead(ReceiveId id, size_t i, absl::StatusOr<common::SharedBytes> body) {
  WaitingReceive* receive = parked_.Find(id);
  if (receive == nullptr) return;  // cancelled: everything was released
  TakenMessage& taken = receive->taken[i];
  if (body.ok()) {
    taken.body = *std::move(body);
  } else {
    taken.read = body.status();
  }
  if (--receive->pending_reads == 0) Finish(*receive);
}

// ---- the answer

void Delivery::Finish(WaitingReceive& receive) {
  Subscription* subscription = consumers_.Find(receive.subscription);
  FULMAR_CHECK(subscription != nullptr);  // else EndAll() would have removed the receive
  const int64_t now_ms = context_.NowMs();
  // It was parked, perhaps for longer than a client may be silent, and is there all the same: under the number that it has now.
  receive.client = clients_.Touch(receive.command.client, now_ms);
  clients_.JoinGroup(receive.client, subscription->group_name());
  std::vector<Delivered> out;
  out.reserve(receive.taken.size());
  uint64_t bytes = 0, redelivered = 0;
  OrderKept order(subscription->ordered);
  for (const TakenMessage& taken : receive.taken) {
    if (!taken.queue->progress.IsHeld(taken.offset, taken.hold)) {  // acknowledged or reset while its body was read
      order.Missed(taken);
      continue;
    }
    if (!order.MayFollow(taken)) {
      taken.queue->progress.Release(taken.offset, now_ms, now_ms);
      continue;
    }
    if (subscription->group->definition.suspended) {  // while its body was read
      taken.queue->progress.Release(taken.offset, now_ms, now_ms);
      continue;
    }
    const size_t before = out.size();
    Deliver(taken, receive, now_ms, out);
    if (out.size() == before) {
      order.Missed(taken);
      continue;
    }
    bytes += out.back().record.size();
    if (out.back().attempt > 1) ++redelivered;
  }
  receive.taken.clear();
  if (out.empty()) {
    if (receive.deadline_ms <= now_ms && receive.command.wait > absl::ZeroDuration()) return OnDeadline(receive);
    subscription->waiting.push_front(receive.id);  // it keeps its place
    return Wake(*subscription);
  }
  if (subscription->ordered) Remember(*subscription, receive, out);
  const std::unique_ptr<WaitingReceive> answered = parked_.Remove(receive.id);
  context_.observer().OnDelivered(subscription->topic_name(), subscription->group_name(), out.size(), bytes, redelivered);
  context_.quotas.Delivered(subscription->group->definition, answered->command.client.client_id, out.size(), bytes, now_ms);
  std::move(answered->done)(std::move(out));
}

void Delivery::Deliver(const TakenMessage& taken, const WaitingReceive& receive, int64_t now_ms, std::vector<Delivered>& out) {
  SubscribedQueue& queue = *taken.queue;
  if (!taken.read.ok()) {
    if (absl::IsNotFound(taken.read)) {
      context_.observer().OnLost(queue.subscription.topic_name(), queue.subscription.group_name(), 1);
      return Skip(queue, taken.offset);
    }
    return Quarantine(taken, now_ms, taken.read);
  }
  const absl::StatusOr<MessageView> message = ParseMessageRecord(taken.body.view());
  if (!message.ok()) return Quarantine(taken, now_ms, message.status());
  if (message->topic_id != queue.queue.id.topic_id || message->queue != queue.queue.id.queue || message->offset != taken.offset) {
    return Quarantine(taken, now_ms, absl::DataLossError(absl::StrCat("found offset ", message->offset, " of queue ", message->queue)));
  }
  if (!receive.command.filter.takes_all() && !receive.command.filter.Matches(*message)) return Skip(queue, taken.offset);
  if (ExpiredByItself(*message, taken.visible_since_ms, absl::ToUnixMillis(context_.env.clock.Now()))) return Expire(queue, taken.offset);

  const uint32_t serial = context_.NextSerial();
  const int64_t until_ms = now_ms + absl::ToInt64Milliseconds(receive.command.invisible_duration);
  const Flight& flight = queue.progress.Deliver(taken.offset, {.now_ms = now_ms,
                                                               .until_ms = until_ms,
                                                               .client = receive.client,
                                                               .serial = serial,
                                                               .auto_renew = receive.command.auto_renew,
                                                               .again = taken.again});
  progress_.MarkChanged(queue);
  retry_.Arm(queue);
  Delivered& delivered = out.emplace_back();
  delivered.record = taken.body;
  delivered.queue = queue.queue.id.queue;
  delivered.offset = taken.offset;
  delivered.attempt = flight.attempt;
  delivered.invisible_duration = receive.command.invisible_duration;
  context_.trace.Add(TraceKind::kDelivered, queue.queue.id, taken.offset, flight.attempt, queue.subscription.group_name(), receive.command.client.client_id);
  delivered.receipt_handle = EncodeHandle({.shard = context_.options.name,
                                           .topic_id = queue.queue.id.topic_id,
                                           .queue = queue.queue.id.queue,
                                           .offset = taken.offset,
                                           .attempt = flight.attempt,
                                           .term = context_.term,
                                           .serial = serial},
                                          *context_.state.newest_key(), queue.subscription.group_name(), queue.subscription.topic_name());
}

// Never delivered as garbage and never forgotten: it stays in the lag, and is tried again now and then (a replica may have mended it).
void Delivery::Quarantine(const TakenMessage& taken, int64_t now_ms, const absl::Status& why) {
  SubscribedQueue& queue = *taken.queue;
  queue.progress.Release(taken.offset, now_ms, now_ms + absl::ToInt64Milliseconds(context_.options.unreadable_retry),
                         GroupQueue::OldHandle::kKeep);
  retry_.Arm(queue);
  context_.observer().OnUnreadable();
  FULMAR_LOG_EVERY(absl::Seconds(1), kError, "message_unreadable",
                   {{"shard", context_.options.name},
                    {"topic", queue.subscription.topic_name()},
                    {"queue", queue.queue.id.queue},
                    {"offset", taken.offset},
                    {"error", why}});
}

}  // namespace fulmar::broker
