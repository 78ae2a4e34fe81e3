#include "services/broker/message_bodies.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/broker/held_records.h"
#include "services/broker/message_record.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

absl::StatusOr<common::SharedBytes> Placed(const common::SharedBytes& body, index::QueueId queue, const index::QueueEntry& entry) {
  FULMAR_ASSIGN_OR_RETURN(const HeldMessageRecord held, DecodeHeldMessage(body.view()));
  FULMAR_ASSIGN_OR_RETURN(const MessageView message, ParseMessageRecord(held.message));
  if (message.topic_id != queue.topic_id) {
    return absl::DataLossError(absl::StrCat("held message ", entry.held, " is of topic ", message.topic_id, ", not ", queue.topic_id));
  }
  std::string record(held.message);
  PlaceMessage(record, queue.topic_id, queue.queue, entry.offset, entry.store_time_ms);
  return common::SharedBytes(std::move(record));
}

}  // namespace

std::optional<common::SharedBytes> TryReadMessage(ShardContext& context, index::QueueId queue, const index::QueueEntry& entry) {
  if (entry.held == 0) return context.log->TryRead(entry.position);
  const std::optional<HeldState> held = context.state.held().Find(entry.held);
  if (!held || held->body.value == 0) return std::nullopt;
  const std::optional<common::SharedBytes> body = context.log->TryRead(held->body);
  if (!body) return std::nullopt;
  absl::StatusOr<common::SharedBytes> placed = Placed(*body, queue, entry);
  if (!placed.ok()) return std::nullopt;
  return *std::move(placed);
}

void ReadMessage(ShardContext& context, index::QueueId queue, const index::QueueEntry& entry, log::ReplicatedLog::ReadDone done) {
  if (entry.held == 0) return context.log->Read(entry.position, entry.length, std::move(done));
  const std::optional<HeldState> held = context.state.held().Find(entry.held);
  if (!held || held->body.value == 0) {
    context.Post([id = entry.held, done = std::move(done)]() mutable {
      std::move(done)(absl::NotFoundError(absl::StrCat("held message ", id, " is gone")));
    });
    return;
  }
  context.log->Read(held->body, held->body_bytes, [queue, entry, done = std::move(done)](absl::StatusOr<common::SharedBytes> body) mutable {
    if (!body.ok()) return std::move(done)(std::move(body));
    std::move(done)(Placed(*body, queue, entry));
  });
}

}  // namespace fulmar::broker
