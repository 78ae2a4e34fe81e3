#ifndef FULMAR_BROKER_MESSAGING_SERVICE_HANDLER_H_
#define FULMAR_BROKER_MESSAGING_SERVICE_HANDLER_H_

#include "apache/rocketmq/v2/service.grpc.pb.h"

namespace fulmar::broker {

namespace pb = ::apache::rocketmq::v2;

namespace internal {
using Messaging = pb::MessagingService;
using Routes = Messaging::WithCallbackMethod_QueryRoute<Messaging::WithCallbackMethod_QueryAssignment<Messaging::Service>>;
using Clients = Messaging::WithCallbackMethod_Heartbeat<
    Messaging::WithCallbackMethod_Telemetry<Messaging::WithCallbackMethod_NotifyClientTermination<Routes>>>;
using Deliveries = Messaging::WithCallbackMethod_ChangeInvisibleDuration<Messaging::WithCallbackMethod_ForwardMessageToDeadLetterQueue<Clients>>;
using Pulls = Messaging::WithCallbackMethod_PullMessage<Messaging::WithCallbackMethod_UpdateOffset<
    Messaging::WithCallbackMethod_GetOffset<Messaging::WithCallbackMethod_QueryOffset<Deliveries>>>>;
using Others = Messaging::WithCallbackMethod_EndTransaction<
    Messaging::WithCallbackMethod_RecallMessage<Messaging::WithCallbackMethod_SyncLiteSubscription<Pulls>>>;
using Hot = Messaging::WithRawMethod_SendMessage<Messaging::WithRawMethod_ReceiveMessage<Messaging::WithRawMethod_AckMessage<Others>>>;
}  // namespace internal

// The MessagingService with its three hot methods raw on a completion queue and all others on gRPC's callback threads.
using MessagingServiceBase = internal::Hot;

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_MESSAGING_SERVICE_HANDLER_H_
