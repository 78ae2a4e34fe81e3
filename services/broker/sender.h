#ifndef FULMAR_BROKER_SENDER_H_
#define FULMAR_BROKER_SENDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "services/broker/auto_create.h"
#include "services/broker/client_table.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Sends: gives each message its queue (in turn, or by its priority, whatever the client asked) and offset, and appends it. Leader only.
class Sender {
 public:
  Sender(ShardContext& context, AutoCreate& definitions, ClientTable& clients)
      : context_(context), definitions_(definitions), clients_(clients) {}

  void Send(SendCommand command, Done<std::vector<SendOutcome>> done);

  // Puts one record at the end of a queue of `topic`; `done` as the log's durability says, with the place it got in the queue.
  struct Placed {
    int32_t queue = 0;
    int64_t offset = 0;
  };
  // Errors in `done` only: TooManyRequests, HaNotAvailable, InternalServerError (the log is poisoned).
  static void Append(ShardContext& context, Topic& topic, std::string record, log::Durability durability,
                     absl::AnyInvocable<void(absl::StatusOr<Placed>) &&> done);
  // At the end of this one.
  static void Append(ShardContext& context, Topic& topic, Queue& queue, std::string record, log::Durability durability,
                     absl::AnyInvocable<void(absl::StatusOr<Placed>) &&> done);

 private:
  struct Batch;
  void SendTo(Topic& topic, SendCommand command, Done<std::vector<SendOutcome>> done);

  ShardContext& context_;
  AutoCreate& definitions_;
  ClientTable& clients_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SENDER_H_
