#ifndef FULMAR_BROKER_ACKNOWLEDGEMENTS_H_
#define FULMAR_BROKER_ACKNOWLEDGEMENTS_H_

#include <string>
#include <string_view>
#include <vector>

#include "services/broker/client_table.h"
#include "services/broker/consumers.h"
#include "services/broker/dead_letters.h"
#include "services/broker/delivery.h"
#include "services/broker/progress_flusher.h"
#include "services/broker/receipt_handle.h"
#include "services/broker/retry.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Everything that a consumer does with a receipt handle. A handle counts when its tag fits the names of the request and its delivery is
// the last one of its message:
//
//   delivered again since, given another handle, acknowledged, reset   InvalidReceiptHandle
//   its time is over, but nobody took it since                         accepted: the work is done, so why do it twice
//   made by an earlier leader                                          accepted, unless this leader delivered it again
class Acknowledgements {
 public:
  Acknowledgements(ShardContext& context, Consumers& consumers, Delivery& delivery, ProgressFlusher& progress, RetryTimes& retry,
                   DeadLetters& dead_letters, ClientTable& clients)
      : context_(context), consumers_(consumers), delivery_(delivery), progress_(progress), retry_(retry), dead_letters_(dead_letters),
        clients_(clients) {}

  void Ack(const AckCommand& command, Done<std::vector<absl::Status>> done);
  void ChangeInvisible(const ChangeInvisibleCommand& command, Done<std::string> done);
  void ForwardToDeadLetter(const DeadLetterCommand& command, DoneStatus done);
  void ReturnUndelivered(const std::string& group, const std::vector<std::string>& handles);

 private:
  struct Target {
    SubscribedQueue* queue = nullptr;
    ReceiptHandle handle;
    GroupQueue::Handle state = GroupQueue::Handle::kStale;
  };
  // `topic`: as the request names it; empty: whatever the handle says. Errors: InvalidReceiptHandle.
  absl::StatusOr<Target> Resolve(std::string_view text, std::string_view group, std::string_view topic, HandleBytes& scratch);
  absl::Status AckOne(std::string_view text, const AckCommand& command, Subscription*& acknowledged_in);

  ShardContext& context_;
  Consumers& consumers_;
  Delivery& delivery_;
  ProgressFlusher& progress_;
  RetryTimes& retry_;
  DeadLetters& dead_letters_;
  ClientTable& clients_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_ACKNOWLEDGEMENTS_H_
