#ifndef FULMAR_BROKER_RECALLS_H_
#define FULMAR_BROKER_RECALLS_H_

#include <string>

#include "services/broker/auto_create.h"
#include "services/broker/held_ends.h"
#include "services/broker/recall_handle.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Takes delayed messages, and back again until their delivery. Exact: either recalled or delivered.
class Recalls {
 public:
  Recalls(ShardContext& context, HeldEnds& ends, AutoCreate& definitions) : context_(context), ends_(ends), definitions_(definitions) {}

  // Appends a message that is held; its handle (also a transaction id) when it is durable. Errors: TooManyRequests, HaNotAvailable,
  // InternalServerError (the log is poisoned).
  static void Hold(ShardContext& context, const Topic& topic, HeldKind kind, int64_t due_ms, std::string record, std::string message_id,
                   absl::AnyInvocable<void(absl::StatusOr<std::string>) &&> done);

  // The message's id. Recalled before: the same again. Errors: TopicNotFound, MessagePropertyConflict (no topic for delays), BadRequest (not
  // a handle of this shard and topic), MessageNotFound (delivered, or so long ago that nothing is known), those of HeldEnds.
  void Recall(const std::string& topic, const std::string& handle, Done<std::string> done);

 private:
  void RecallFrom(const Topic& topic, const std::string& handle, Done<std::string> done);

  ShardContext& context_;
  HeldEnds& ends_;
  AutoCreate& definitions_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_RECALLS_H_
