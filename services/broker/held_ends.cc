#include "services/broker/held_ends.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "services/broker/message_record.h"
#include "services/common/errors.h"
#include "services/common/log.h"

namespace fulmar::broker {
namespace {

absl::Status ClientError(const absl::Status& status) {
  if (absl::IsResourceExhausted(status)) return errors::TooManyRequests(status.message());
  if (absl::IsDataLoss(status)) return errors::InternalServerError(absl::StrCat("the storage of this shard failed: ", status.message()));
  return errors::HaNotAvailable(status.message());
}

}  // namespace

void HeldEnds::With(int64_t id, Task task) {
  auto [it, free] = busy_.try_emplace(id);
  if (!free) return it->second.push_back(std::move(task));
  std::move(task)(Turn(*this, id, life_));
}

void HeldEnds::End(int64_t id, uint64_t life) {
  if (life != life_) return;
  const auto it = busy_.find(id);
  if (it == busy_.end()) return;
  if (it->second.empty()) {
    busy_.erase(it);
    return;
  }
  // Not from inside the one that ends: its callbacks come first.
  Task next = std::move(it->second.front());
  it->second.pop_front();
  context_.Post([this, id, life, next = std::move(next)]() mutable {
    if (life != life_) return std::move(next)(errors::HaNotAvailable("the shard does not lead any more"));
    std::move(next)(Turn(*this, id, life));
  });
}

void HeldEnds::Clear(const absl::Status& why) {
  ++life_;
  for (auto& [id, waiting] : std::exchange(busy_, {})) {
    for (Task& task : waiting) std::move(task)(why);
  }
}

void HeldEnds::Append(Turn turn, log::RecordType type, std::string body, Done done) {
  context_.log->Append(type, std::move(body), log::Durability::kSync, log::AppendClass::kInternal,
                       [turn = std::move(turn), done = std::move(done)](const absl::StatusOr<log::RecordPlace>& place) mutable {
                         std::move(done)(place.ok() ? absl::OkStatus() : ClientError(place.status()));
                       });
}

void HeldEnds::Release(Turn turn, const HeldState& state, Done done) {
  Topic* topic = context_.state.FindTopic(state.topic_id);
  if (topic == nullptr || topic->deleting) {
    Done gone = [done = std::move(done)](const absl::Status& dropped) mutable {
      std::move(done)(dropped.ok() ? errors::TopicNotFound("the topic was deleted") : dropped);
    };
    return Drop(std::move(turn), state, DropReason::kTopicDeleted, std::move(gone));
  }
  HeldReleased released;
  released.kind = state.kind;
  released.topic_id = state.topic_id;
  released.tag_hash = state.tag_hash;
  released.message_bytes = state.body_bytes - static_cast<uint32_t>(kHeldHeaderBytes);
  released.id = turn.id();
  // Asked first, so that what is refused at once takes no offset.
  if (absl::Status status = context_.log->CanAppend(64, log::AppendClass::kUser); !status.ok()) return std::move(done)(ClientError(status));
  Queue& queue = *topic->queues[topic->next_queue++ % topic->queues.size()];
  released.queue = queue.id.queue;
  released.offset = queue.projected++;
  context_.last_store_ms = std::max(context_.last_store_ms, absl::ToUnixMillis(context_.env.clock.Now()));
  released.store_time_ms = context_.last_store_ms;
  context_.log->Append(log::RecordType::kHeldReleased, EncodeHeldReleased(released), log::Durability::kSync, log::AppendClass::kUser,
                       [&context = context_, turn = std::move(turn), id = queue.id, offset = released.offset, term = context_.term,
                        done = std::move(done)](const absl::StatusOr<log::RecordPlace>& place) mutable {
                         if (place.ok()) return std::move(done)(absl::OkStatus());
                         if (context.term == term) context.state.TakeBack(id, offset);
                         std::move(done)(ClientError(place.status()));
                       });
}

void HeldEnds::Drop(Turn turn, const HeldState& state, DropReason reason, Done done) {
  const HeldDropped dropped{.kind = state.kind, .reason = reason, .topic_id = state.topic_id, .id = turn.id()};
  Append(std::move(turn), log::RecordType::kHeldDropped, EncodeHeldDropped(dropped), std::move(done));
}

void HeldEnds::Update(Turn turn, const HeldUpdated& updated, Done done) {
  Append(std::move(turn), log::RecordType::kHeldUpdated, EncodeHeldUpdated(updated), std::move(done));
}

void HeldEnds::Carry(Turn turn, const HeldState& state, Done done) {
  context_.log->Read(state.body, state.body_bytes, [this, turn = std::move(turn), state, done = std::move(done)](absl::StatusOr<common::SharedBytes> body) mutable {
    absl::StatusOr<HeldMessageRecord> record = body.ok() ? DecodeHeldMessage(body->view()) : body.status();
    if (!record.ok()) {
      FULMAR_LOG_EVERY(absl::Seconds(10), kError, "held_message_unreadable",
                       {{"shard", context_.options.name}, {"id", turn.id()}, {"position", state.body.value}, {"error", record.status()}});
      return std::move(done)(record.status());
    }
    record->id = turn.id();
    record->released = state.stage == HeldStage::kReleased;
    record->parked = state.parked;
    record->checks = state.checks;
    record->due_ms = state.due_ms;
    Append(std::move(turn), log::RecordType::kHeldMessage, EncodeHeldMessage(*record), std::move(done));
  });
}

}  // namespace fulmar::broker
