#include "services/broker/recalls.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/broker/message_record.h"
#include "services/common/errors.h"

namespace fulmar::broker {

void Recalls::Hold(ShardContext& context, const Topic& topic, HeldKind kind, int64_t due_ms, std::string record, std::string message_id,
                   absl::AnyInvocable<void(absl::StatusOr<std::string>) &&> done) {
  context.last_store_ms = std::max(context.last_store_ms, absl::ToUnixMillis(context.env.clock.Now()));
  PlaceMessage(record, topic.definition.topic_id, 0, 0, context.last_store_ms);
  HeldMessageRecord held;
  held.kind = kind;
  held.due_ms = std::max<int64_t>(due_ms, 0);
  held.message = record;
  context.log->Append(log::RecordType::kHeldMessage, EncodeHeldMessage(held), log::Durability::kSync, log::AppendClass::kUser,
                      [&context, kind, name = topic.definition.name, message_id = std::move(message_id),
                       done = std::move(done)](const absl::StatusOr<log::RecordPlace>& place) mutable {
                        if (absl::IsResourceExhausted(place.status())) return std::move(done)(errors::TooManyRequests(place.status().message()));
                        if (absl::IsDataLoss(place.status())) {
                          return std::move(done)(errors::InternalServerError(absl::StrCat("the storage of this shard failed: ", place.status().message())));
                        }
                        if (!place.ok()) return std::move(done)(errors::HaNotAvailable(place.status().message()));
                        const HandleKey* key = context.state.newest_key();
                        if (key == nullptr) return std::move(done)(errors::HaNotAvailable("the shard has no key for handles yet"));
                        const RecallHandle handle{.shard = context.options.name, .kind = kind, .id = place->position.value, .message_id = message_id};
                        std::move(done)(EncodeRecallHandle(handle, *key, name));
                      });
}

void Recalls::Recall(const std::string& topic, const std::string& handle, Done<std::string> done) {
  definitions_.WithCurrentTopic(topic, [this, handle, done = std::move(done)](absl::StatusOr<Topic*> found) mutable {
    if (!found.ok()) return std::move(done)(found.status());
    RecallFrom(**found, handle, std::move(done));
  });
}

void Recalls::RecallFrom(const Topic& topic, const std::string& text, Done<std::string> done) {
  const index::TopicType type = topic.definition.type;
  if (type != index::TopicType::kDelay && type != index::TopicType::kMixed) {
    return std::move(done)(errors::MessagePropertyConflict(absl::StrCat("topic '", topic.definition.name, "' does not take delayed messages")));
  }
  const std::optional<ParsedRecallHandle> parsed = ParseRecallHandle(text);
  if (!parsed || parsed->handle.kind != HeldKind::kTimed) return std::move(done)(errors::BadRequest("the recall handle is not one of this system"));
  if (parsed->handle.shard != context_.options.name) {
    return std::move(done)(errors::BadRequest(absl::StrCat("the recall handle is of shard '", parsed->handle.shard, "', this is '", context_.options.name, "'")));
  }
  const HandleKey* key = context_.state.FindKey(parsed->key_id);
  if (key == nullptr || !VerifyRecallHandle(*parsed, *key, topic.definition.name)) {
    return std::move(done)(errors::BadRequest(absl::StrCat("the recall handle was not made here for topic '", topic.definition.name, "'")));
  }
  const int64_t id = parsed->handle.id;
  ends_.With(id, [this, id, message_id = parsed->handle.message_id, done = std::move(done)](absl::StatusOr<HeldEnds::Turn> turn) mutable {
    if (!turn.ok()) return std::move(done)(turn.status());
    const std::optional<HeldState> state = context_.state.held().Find(id);
    if (state && state->stage == HeldStage::kDropped && state->reason == DropReason::kRecalled) return std::move(done)(std::move(message_id));
    if (!state || state->stage != HeldStage::kWaiting) {
      return std::move(done)(errors::MessageNotFound(absl::StrCat("message '", message_id, "' was delivered, or is not known any more")));
    }
    ends_.Drop(*std::move(turn), *state, DropReason::kRecalled, [message_id = std::move(message_id), done = std::move(done)](const absl::Status& status) mutable {
      if (!status.ok()) return std::move(done)(status);
      std::move(done)(std::move(message_id));
    });
  });
}

}  // namespace fulmar::broker
