#ifndef FULMAR_BROKER_SENDER_H_
#define FULMAR_BROKER_SENDER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "services/broker/auto_create.h"
#include "services/broker/client_table.h"
#include "services/broker/dedup.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Sends: gives each message its queue (in turn, or by its priority, whatever the client asked) and offset, and appends it. Leader only.
class Sender {
 public:
  Sender(ShardContext& context, AutoCreate& definitions, ClientTable& clients, Dedup& dedup)
      : context_(context), definitions_(definitions), clients_(clients), dedup_(dedup) {}

  void Send(SendCommand command, Done<std::vector<SendOutcome>> done);

  // Puts one record at the end of a queue of `topic`; `done` as the log's durability says, with the place it got in the queue.
  using Placed = Dedup::Place;
  // Errors in `done` only: TooManyRequests, HaNotAvailable, InternalServerError (the log is poisoned).
  static void Append(ShardContext& context, Topic& topic, std::string record, log::Durability durability,
                     absl::AnyInvocable<void(absl::StatusOr<Placed>) &&> done);
  // At the end of this one.
  static void Append(ShardContext& context, Topic& topic, Queue& queue, std::string record, log::Durability durability,
                     absl::AnyInvocable<void(absl::StatusOr<Placed>) &&> done);

 private:
  struct Batch;
  void SendTo(Topic& topic, SendCommand command, Done<std::vector<SendOutcome>> done);
  // What waits in the log before it comes into a queue; answered when it is durable, whatever the topic says.
  void SendHeld(Topic& topic, SendCommand command, Done<std::vector<SendOutcome>> done);
  static std::shared_ptr<Batch> MakeBatch(SendCommand& command, Done<std::vector<SendOutcome>> done);

  // In a topic with a dedup window. `repeat`: it was there already.
  void AppendOnce(Topic& topic, Queue& queue, const ClientRef& client, const std::string& message_id, const std::string& body_digest,
                  std::string record, absl::AnyInvocable<void(const absl::StatusOr<Placed>&, bool repeat)> settle);

  ShardContext& context_;
  AutoCreate& definitions_;
  ClientTable& clients_;
  Dedup& dedup_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SENDER_H_
