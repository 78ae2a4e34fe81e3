#ifndef FULMAR_BROKER_MESSAGING_HANDLER_H_
#define FULMAR_BROKER_MESSAGING_HANDLER_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "services/broker/data_plane.h"
#include "services/broker/hot_calls_handler.h"
#include "services/broker/messaging_service_handler.h"
#include "services/broker/shard.h"
#include "services/broker/shard_routes.h"
#include "services/broker/unary_reply_handler.h"
#include "services/common/clock.h"
#include "services/common/grpc/grpc_server.h"
#include "services/registry/route_source.h"
#include "services/v2/rpc_metrics.h"
#include "services/v2/settings_convert.h"
#include "services/v2/telemetry_handler.h"

namespace fulmar::broker {

struct MessagingOptions {
  DataPlaneOptions data_plane;
  v2edge::SettingsOptions settings;
  ShardRoutes::Options routes;  // for answers without a RouteSource
  int ready_calls = 64;         // of each hot method, asked for ahead
  absl::Duration max_invisible = absl::Hours(12);
};

// The MessagingService in front of one shard (or of a front door that stands where a shard would).
//   SendMessage, ReceiveMessage, AckMessage: raw, on the server's data-plane thread, see DataPlane.
//   All others: generated messages on gRPC's threads; answers of the shard go out on the data-plane thread.
// Every call is answered exactly once, by the status of the protocol.
// Borrows: everything given; all outlive it, and it outlives the server's Shutdown().
class MessagingHandler final : public MessagingServiceBase, private v2edge::TelemetryHost {
 public:
  static constexpr const char* kServiceName = "apache.rocketmq.v2.MessagingService";

  // `routes` null: the shard answers for itself. The service is added to `server` here.
  MessagingHandler(MessagingOptions options, Shard& shard, registry::RouteSource* routes, common::GrpcServer& server, common::Clock& clock,
                   v2edge::RpcMetrics& metrics);
  ~MessagingHandler() override;

  // After the server's Start(): calls of the hot methods are taken from now on.
  void Start();
  // Before the shard stops: ends the telemetry streams and answers what only waits for a delay.
  void Stop();

  v2edge::TelemetryHandler& telemetry() { return telemetry_; }

  grpc::ServerUnaryReactor* QueryRoute(grpc::CallbackServerContext*, const pb::QueryRouteRequest*, pb::QueryRouteResponse*) override;
  grpc::ServerUnaryReactor* QueryAssignment(grpc::CallbackServerContext*, const pb::QueryAssignmentRequest*, pb::QueryAssignmentResponse*) override;
  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext*, const pb::HeartbeatRequest*, pb::HeartbeatResponse*) override;
  grpc::ServerBidiReactor<pb::TelemetryCommand, pb::TelemetryCommand>* Telemetry(grpc::CallbackServerContext*) override;
  grpc::ServerUnaryReactor* NotifyClientTermination(grpc::CallbackServerContext*, const pb::NotifyClientTerminationRequest*,
                                                    pb::NotifyClientTerminationResponse*) override;
  grpc::ServerUnaryReactor* ChangeInvisibleDuration(grpc::CallbackServerContext*, const pb::ChangeInvisibleDurationRequest*,
                                                    pb::ChangeInvisibleDurationResponse*) override;
  grpc::ServerUnaryReactor* ForwardMessageToDeadLetterQueue(grpc::CallbackServerContext*, const pb::ForwardMessageToDeadLetterQueueRequest*,
                                                            pb::ForwardMessageToDeadLetterQueueResponse*) override;
  grpc::ServerWriteReactor<pb::PullMessageResponse>* PullMessage(grpc::CallbackServerContext*, const pb::PullMessageRequest*) override;
  grpc::ServerUnaryReactor* UpdateOffset(grpc::CallbackServerContext*, const pb::UpdateOffsetRequest*, pb::UpdateOffsetResponse*) override;
  grpc::ServerUnaryReactor* GetOffset(grpc::CallbackServerContext*, const pb::GetOffsetRequest*, pb::GetOffsetResponse*) override;
  grpc::ServerUnaryReactor* QueryOffset(grpc::CallbackServerContext*, const pb::QueryOffsetRequest*, pb::QueryOffsetResponse*) override;
  grpc::ServerUnaryReactor* EndTransaction(grpc::CallbackServerContext*, const pb::EndTransactionRequest*, pb::EndTransactionResponse*) override;
  grpc::ServerUnaryReactor* RecallMessage(grpc::CallbackServerContext*, const pb::RecallMessageRequest*, pb::RecallMessageResponse*) override;
  grpc::ServerUnaryReactor* SyncLiteSubscription(grpc::CallbackServerContext*, const pb::SyncLiteSubscriptionRequest*,
                                                 pb::SyncLiteSubscriptionResponse*) override;

 private:
  absl::Status CheckFilter(int32_t type, std::string_view expression) override;
  void ResolveGroup(std::string group, absl::AnyInvocable<void(absl::StatusOr<index::GroupDefinition>) &&> done) override;
  void StreamOpened(const v2edge::CallInfo& call) override;
  void StreamEnded(const v2edge::CallInfo& call) override;
  void ClientSeen(const v2edge::CallInfo& call, const std::string& group) override;

  template <class Response>
  UnaryReply<Response> ReplyTo(grpc::CallbackServerContext* context, Response* response, const char* rpc) {
    return {context, response, metrics_.Of(rpc), clock_, server_.data_plane()};
  }

  const MessagingOptions options_;
  Shard& shard_;
  ShardRoutes shard_routes_;
  registry::RouteSource& routes_;
  common::GrpcServer& server_;
  common::Clock& clock_;
  v2edge::RpcMetrics& metrics_;
  DataPlane data_plane_;
  HotCalls hot_calls_;
  v2edge::TelemetryHandler telemetry_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_MESSAGING_HANDLER_H_
