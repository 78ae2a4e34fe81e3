#include "services/broker/sender.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/broker/priority_order.h"
#include "services/broker/recalls.h"
#include "services/common/errors.h"
#include "services/common/log.h"

namespace fulmar::broker {
namespace {

constexpr uint8_t kNormalMessage = 1, kFifoMessage = 2, kDelayMessage = 3, kPriorityMessage = 6;  // MessageType of the protocol

// Clients of different languages would choose different queues; all messages of a group must lie in one.
Queue& HomeOf(Topic& topic, uint64_t group_hash) { return *topic.queues[group_hash % topic.queues.size()]; }
Queue& QueueInTurn(Topic& topic) { return *topic.queues[topic.next_queue++ % topic.queues.size()]; }

absl::Status ClientError(const absl::Status& status) {
  if (absl::IsResourceExhausted(status)) return errors::TooManyRequests(status.message());
  if (absl::IsDataLoss(status)) return errors::InternalServerError(absl::StrCat("the storage of this shard failed: ", status.message()));
  return errors::HaNotAvailable(status.message());
}

}  // namespace

// The answers of one SendMessage; the last one answers the call.
struct Sender::Batch {
  std::vector<SendOutcome> outcomes;
  size_t open = 0;
  uint64_t bytes = 0, repeats = 0;
  std::string topic, client;
  Done<std::vector<SendOutcome>> done;

  // One is answered without having been stored.
  void CountRepeat(uint64_t its_bytes) {
    ++repeats;
    bytes -= its_bytes;
  }
  void Settle(ShardContext& context) {
    if (--open > 0) return;
    const auto stored = static_cast<uint64_t>(
        std::count_if(outcomes.begin(), outcomes.end(), [](const SendOutcome& outcome) { return outcome.status.ok(); }));
    if (stored > repeats) context.observer().OnStored(topic, stored - repeats, bytes);
    if (stored < outcomes.size()) context.observer().OnSendRefused(outcomes.size() - stored);
    const absl::Status& first = outcomes.front().status;
    const bool all_alike = stored == 0 && std::all_of(outcomes.begin(), outcomes.end(), [&first](const SendOutcome& outcome) {
                             return outcome.status == first;
                           });
    if (all_alike) {
      std::move(done)(first);
    } else {
      std::move(done)(std::move(outcomes));
    }
  }
};

void Sender::Send(SendCommand command, Done<std::vector<SendOutcome>> done) {
  clients_.Touch(command.client, context_.NowMs());
  if (command.messages.empty()) return std::move(done)(errors::MessageCorrupted("no message to send"));
  // Never stored as something they are not.
  if (command.type != kNormalMessage && command.type != kFifoMessage && command.type != kDelayMessage && command.type != kPriorityMessage) {
    return std::move(done)(errors::NotImplemented(absl::StrCat("messages of type ", static_cast<int>(command.type), " cannot be sent yet")));
  }
  if (Topic* topic = context_.state.FindTopic(command.topic); topic != nullptr && !topic->deleting) {
    return SendTo(*topic, std::move(command), std::move(done));
  }
  const std::string name = command.topic;
  definitions_.WithTopic(name, [this, command = std::move(command), done = std::move(done)](absl::StatusOr<Topic*> topic) mutable {
    if (!topic.ok()) return std::move(done)(topic.status());
    SendTo(**topic, std::move(command), std::move(done));
  });
}

void Sender::SendTo(Topic& topic, SendCommand command, Done<std::vector<SendOutcome>> done) {
  // It waited for a leader or for its topic, and its client counts it as failed by now.
  if (command.remaining != absl::InfiniteDuration() && context_.env.clock.Steady() - command.arrived >= command.remaining) {
    context_.observer().OnSendRefused(command.messages.size());
    return std::move(done)(errors::ProxyTimeout("the deadline of the call passed before the message could be stored"));
  }
  uint64_t bytes = 0;
  for (const NewMessage& message : command.messages) bytes += message.record.size();
  if (absl::Status over = context_.quotas.AdmitSend(topic.definition, command.client.client_id, command.messages.size(), bytes, context_.NowMs());
      !over.ok()) {
    context_.observer().OnThrottled(ShardObserver::Throttled::kSend);
    context_.observer().OnSendRefused(command.messages.size());
    return std::move(done)(std::move(over));
  }
  if (command.type == kDelayMessage) return SendHeld(topic, std::move(command), std::move(done));
  const bool priority = command.type == kPriorityMessage;
  if (priority != (topic.definition.type == index::TopicType::kPriority)) {
    return std::move(done)(errors::MessagePropertyConflict(absl::StrCat("topic '", command.topic, "' ", priority ? "does not take" : "takes only",
                                                                        " messages with a priority")));
  }
  const bool fifo = command.type == kFifoMessage;
  const index::TopicType own = fifo ? index::TopicType::kFifo : index::TopicType::kNormal;
  if (!priority && topic.definition.type != own && topic.definition.type != index::TopicType::kMixed) {
    return std::move(done)(errors::MessagePropertyConflict(
        absl::StrCat("topic '", command.topic, "' does not take ", fifo ? "messages with a message group" : "normal messages")));
  }
  for (const NewMessage& message : command.messages) {
    if (fifo && message.group_hash == 0) {
      return std::move(done)(errors::IllegalMessageGroup(absl::StrCat("message '", message.message_id, "' of type FIFO has no message group")));
    }
  }
  std::shared_ptr<Batch> batch = MakeBatch(command, std::move(done));
  for (size_t i = 0; i < command.messages.size(); ++i) {
    Queue& queue = priority ? *topic.queues[static_cast<size_t>(PriorityLevel(command.messages[i].priority, topic.queues.size()))]
                   : fifo   ? HomeOf(topic, command.messages[i].group_hash)
                            : QueueInTurn(topic);
    const auto settle = [this, batch, topic_id = topic.definition.topic_id, i](const absl::StatusOr<Placed>& placed) {
      SendOutcome& outcome = batch->outcomes[i];
      if (placed.ok()) {
        outcome.queue = placed->queue;
        outcome.offset = placed->offset;
        context_.trace.Add(TraceKind::kStored, {topic_id, placed->queue}, placed->offset, 0, "", batch->client);
      } else {
        outcome.status = placed.status();
      }
      batch->Settle(context_);
    };
    std::string& record = command.messages[i].record;
    const uint64_t bytes = record.size();
    if (topic.definition.dedup_window > absl::ZeroDuration()) {
      AppendOnce(topic, queue, {.client_id = batch->client}, batch->outcomes[i].message_id, command.messages[i].body_digest, std::move(record),
                 [batch, settle, bytes](const absl::StatusOr<Placed>& placed, bool repeat) {
                   if (repeat) batch->CountRepeat(bytes);
                   settle(placed);
                 });
    } else {
      Append(context_, topic, queue, std::move(record), topic.definition.durability, settle);
    }
  }
}

void Sender::AppendOnce(Topic& topic, Queue& queue, const ClientRef& client, const std::string& message_id, const std::string& body_digest,
                        std::string record, absl::AnyInvocable<void(const absl::StatusOr<Placed>&, bool repeat)> settle) {
  auto shared = std::make_shared<decltype(settle)>(std::move(settle));
  const std::optional<DedupKey> key = dedup_.Begin(topic, client, message_id, body_digest,
                                                   [shared](const absl::StatusOr<Placed>& placed) { (*shared)(placed, true); });
  if (!key) return;
  AddDedupKey(record, {reinterpret_cast<const char*>(key->data()), key->size()});
  // Answered when it is applied, so that a repeat finds it either here or in the index.
  Append(context_, topic, queue, std::move(record), log::Durability::kSync,
         [this, shared, topic_id = topic.definition.topic_id, key = *key](const absl::StatusOr<Placed>& placed) {
           dedup_.End(topic_id, key, placed);
           (*shared)(placed, false);
         });
}

void Sender::SendHeld(Topic& topic, SendCommand command, Done<std::vector<SendOutcome>> done) {
  const index::TopicType type = topic.definition.type;
  if (type != index::TopicType::kDelay && type != index::TopicType::kMixed) {
    return std::move(done)(errors::MessagePropertyConflict(absl::StrCat("topic '", command.topic, "' does not take delayed messages")));
  }
  std::shared_ptr<Batch> batch = MakeBatch(command, std::move(done));
  for (size_t i = 0; i < command.messages.size(); ++i) {
    NewMessage& message = command.messages[i];
    ++topic.messages_in;
    topic.bytes_in += message.record.size();
    Recalls::Hold(context_, topic, HeldKind::kTimed, message.delivery_ms, std::move(message.record), batch->outcomes[i].message_id,
                  [this, batch, topic_id = topic.definition.topic_id, i](absl::StatusOr<std::string> handle) {
                    SendOutcome& outcome = batch->outcomes[i];
                    outcome.status = handle.status();
                    if (handle.ok()) {
                      if (context_.trace.on()) {
                        if (const auto held = ParseRecallHandle(*handle)) {
                          context_.trace.Add(TraceKind::kStored, {topic_id, -1}, held->handle.id, 0, "", batch->client);
                        }
                      }
                      outcome.recall_handle = *std::move(handle);
                    }
                    batch->Settle(context_);
                  });
  }
}

std::shared_ptr<Sender::Batch> Sender::MakeBatch(SendCommand& command, Done<std::vector<SendOutcome>> done) {
  auto batch = std::make_shared<Batch>();
  batch->outcomes.resize(command.messages.size());
  batch->open = command.messages.size();
  batch->done = std::move(done);
  batch->topic = std::move(command.topic);
  batch->client = std::move(command.client.client_id);
  for (size_t i = 0; i < command.messages.size(); ++i) {
    batch->outcomes[i].message_id = std::move(command.messages[i].message_id);
    batch->bytes += command.messages[i].record.size();
  }
  return batch;
}

void Sender::Append(ShardContext& context, Topic& topic, std::string record, log::Durability durability,
                    absl::AnyInvocable<void(absl::StatusOr<Placed>) &&> done) {
  Append(context, topic, QueueInTurn(topic), std::move(record), durability, std::move(done));
}

void Sender::Append(ShardContext& context, Topic& topic, Queue& queue, std::string record, log::Durability durability,
                    absl::AnyInvocable<void(absl::StatusOr<Placed>) &&> done) {
  // Asked first, so that what is refused at once takes no offset.
  if (absl::Status status = context.log->CanAppend(record.size(), log::AppendClass::kUser); !status.ok()) {
    return std::move(done)(ClientError(status));
  }
  const Placed placed{queue.id.queue, queue.projected++};
  context.last_store_ms = std::max(context.last_store_ms, absl::ToUnixMillis(context.env.clock.Now()));
  PlaceMessage(record, queue.id.topic_id, placed.queue, placed.offset, context.last_store_ms);
  ++topic.messages_in;
  topic.bytes_in += record.size();
  context.log->Append(log::RecordType::kMessage, std::move(record), durability, log::AppendClass::kUser,
                      [&context, id = queue.id, term = context.term, placed, done = std::move(done)](
                          const absl::StatusOr<log::RecordPlace>& place) mutable {
                        if (place.ok()) return std::move(done)(placed);
                        // Refused while it waited (the disk filled): so was all that waited behind it, and nothing was taken
                        // since. The offset is given again, else the queue would have a hole.
                        if (context.term == term) context.state.TakeBack(id, placed.offset);
                        std::move(done)(ClientError(place.status()));
                      });
}

}  // namespace fulmar::broker
