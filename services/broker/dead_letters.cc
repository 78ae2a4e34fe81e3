#include "services/broker/dead_letters.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "services/broker/message_bodies.h"
#include "services/broker/message_record.h"
#include "services/broker/message_ttl.h"
#include "services/broker/sender.h"
#include "services/common/errors.h"
#include "services/common/log.h"

namespace fulmar::broker {
namespace {

constexpr int64_t kRetryMs = 1000;

}  // namespace

DeadLetters::Key DeadLetters::KeyOf(const SubscribedQueue& queue, int64_t offset) {
  return {queue.subscription.id, queue.queue.id.queue, offset};
}

bool DeadLetters::Moving(const SubscribedQueue& queue, int64_t offset) const { return moving_.contains(KeyOf(queue, offset)); }

SubscribedQueue* DeadLetters::Find(const Key& key) {
  Subscription* subscription = consumers_.Find(std::get<0>(key));
  if (subscription == nullptr) return nullptr;
  return subscription->queues[static_cast<size_t>(std::get<1>(key))].get();
}

void DeadLetters::Move(SubscribedQueue& queue, int64_t offset, DoneStatus done) {
  const Key key = KeyOf(queue, offset);
  auto [it, inserted] = moving_.try_emplace(key);
  it->second.waiting.push_back(std::move(done));
  if (!inserted) return;
  it->second.hold = queue.progress.Hold(offset);
  const absl::StatusOr<const index::QueueEntry*> entry = consumers_.Entry(queue, offset);
  if (!entry.ok()) return Finish(key, absl::IsNotFound(entry.status()) ? End::kGone : End::kFailed, entry.status());
  it->second.visible_since_ms = (*entry)->store_time_ms;
  const int64_t now_ms = absl::ToUnixMillis(context_.env.clock.Now());
  if (ExpiredByTopic(queue.subscription.topic->definition, it->second.visible_since_ms, now_ms)) {
    return Finish(key, End::kExpired, absl::OkStatus());
  }
  if (std::optional<common::SharedBytes> body = TryReadMessage(context_, queue.queue.id, **entry)) return OnBody(key, *std::move(body));
  ReadMessage(context_, queue.queue.id, **entry,
              [this, key](absl::StatusOr<common::SharedBytes> body) { OnBody(key, std::move(body)); });
}

void DeadLetters::OnBody(const Key& key, absl::StatusOr<common::SharedBytes> body) {
  if (!moving_.contains(key)) return;
  SubscribedQueue* queue = Find(key);
  if (queue == nullptr) return Finish(key, End::kFailed, errors::ConsumerGroupNotFound("the topic or group was deleted"));
  if (!body.ok()) return Finish(key, absl::IsNotFound(body.status()) ? End::kGone : End::kFailed, body.status());
  const absl::StatusOr<MessageView> message = ParseMessageRecord(body->view());
  if (message.ok() && ExpiredByItself(*message, moving_.at(key).visible_since_ms, absl::ToUnixMillis(context_.env.clock.Now()))) {
    return Finish(key, End::kExpired, absl::OkStatus());
  }
  definitions_.WithDeadLetterTopic(queue->subscription.group_name(), [this, key, body = *std::move(body)](absl::StatusOr<Topic*> topic) {
    if (!topic.ok()) return Finish(key, End::kFailed, topic.status());
    Append(key, body, **topic);
  });
}

void DeadLetters::Append(const Key& key, const common::SharedBytes& body, Topic& topic) {
  if (!moving_.contains(key)) return;
  SubscribedQueue* queue = Find(key);
  if (queue == nullptr) return Finish(key, End::kFailed, errors::ConsumerGroupNotFound("the topic or group was deleted"));
  absl::StatusOr<MessageView> message = ParseMessageRecord(body.view());
  if (!message.ok()) return Finish(key, End::kFailed, message.status());
  // A dead letter that dies again keeps its first origin.
  if (message->origin_topic.empty()) {
    message->origin_topic = queue->subscription.topic_name();
    message->origin_id = message->message_id;
  }
  Sender::Append(context_, topic, EncodeMessageRecord(*message), log::Durability::kSync,
                 [this, key](const absl::StatusOr<Sender::Placed>& placed) {
                   Finish(key, placed.ok() ? End::kMoved : End::kFailed, placed.status());
                 });
}

void DeadLetters::Finish(const Key& key, End end, const absl::Status& status) {
  auto it = moving_.find(key);
  if (it == moving_.end()) return;
  Moved moved = std::move(it->second);
  moving_.erase(it);
  const int64_t offset = std::get<2>(key);
  SubscribedQueue* queue = Find(key);
  if (queue != nullptr && queue->progress.IsHeld(offset, moved.hold)) {
    if (end == End::kFailed) {
      const int64_t now_ms = context_.NowMs();
      queue->progress.Release(offset, now_ms, now_ms + kRetryMs, GroupQueue::OldHandle::kKeep);
      retry_.Arm(*queue);
    } else {
      queue->progress.MarkDone(offset);
      retry_.Progressed(*queue);
      on_room_(queue->subscription);
    }
    progress_.MarkChanged(*queue);
  }
  if (end == End::kMoved && queue != nullptr) {
    context_.observer().OnDeadLettered(queue->subscription.topic_name(), queue->subscription.group_name());
    context_.trace.Add(TraceKind::kDeadLettered, queue->queue.id, offset, 0, queue->subscription.group_name(), "");
  } else if (end == End::kExpired && queue != nullptr) {
    context_.observer().OnExpired(queue->subscription.topic_name(), queue->subscription.group_name(), 1);
  } else if (end == End::kFailed) {
    FULMAR_LOG_EVERY(absl::Seconds(10), kWarn, "dead_letter_not_moved",
                     {{"shard", context_.options.name}, {"offset", offset}, {"error", status}});
  }
  for (DoneStatus& done : moved.waiting) std::move(done)(end == End::kFailed ? status : absl::OkStatus());
}

void DeadLetters::Clear(const absl::Status& why) {
  for (auto& [key, moved] : std::exchange(moving_, {})) {
    for (DoneStatus& done : moved.waiting) std::move(done)(why);
  }
}

}  // namespace fulmar::broker
