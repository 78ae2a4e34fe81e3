#ifndef FULMAR_BROKER_MESSAGING_HANDLER_H_
#define FULMAR_BROKER_MESSAGING_HANDLER_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "apache/rocketmq/v2/service.pb.h"
#include "services/broker/data_plane.h"
#include "services/broker/hot_calls_handler.h"
#include "services/broker/hot_methods_handler.h"
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

namespace pb = ::apache::rocketmq::v2;

struct MessagingOptions {
  DataPlaneOptions data_plane;
  v2edge::SettingsOptions settings;
  ShardRoutes::Options routes;  // for answers without a RouteSource
  int ready_calls = 64;         // of each hot method, asked for ahead
  absl::Duration max_invisible = absl::Hours(12);
};

// The MessagingService in front of one shard (or of a front door that stands where a shard would).
//   SendMessage, ReceiveMessage, AckMessage: raw, on the server's data-plane thread, see DataPlane.
//   All others: generated messages on the same thread, as an RpcService.
// Every call is answered exactly once, by the status of the protocol.
// Borrows: everything given; all outlive it, and it outlives the server's Shutdown().
class MessagingHandler final : public common::RpcService, private v2edge::TelemetryHost {
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

  void QueryRoute(common::UnaryCall*, const pb::QueryRouteRequest*, pb::QueryRouteResponse*);
  void QueryAssignment(common::UnaryCall*, const pb::QueryAssignmentRequest*, pb::QueryAssignmentResponse*);
  void Heartbeat(common::UnaryCall*, const pb::HeartbeatRequest*, pb::HeartbeatResponse*);
  void Telemetry(common::ServerCall*);
  void NotifyClientTermination(common::UnaryCall*, const pb::NotifyClientTerminationRequest*, pb::NotifyClientTerminationResponse*);
  void ChangeInvisibleDuration(common::UnaryCall*, const pb::ChangeInvisibleDurationRequest*, pb::ChangeInvisibleDurationResponse*);
  void ForwardMessageToDeadLetterQueue(common::UnaryCall*, const pb::ForwardMessageToDeadLetterQueueRequest*, pb::ForwardMessageToDeadLetterQueueResponse*);
  void PullMessage(common::ServerCall*, const pb::PullMessageRequest*);
  void UpdateOffset(common::UnaryCall*, const pb::UpdateOffsetRequest*, pb::UpdateOffsetResponse*);
  void GetOffset(common::UnaryCall*, const pb::GetOffsetRequest*, pb::GetOffsetResponse*);
  void QueryOffset(common::UnaryCall*, const pb::QueryOffsetRequest*, pb::QueryOffsetResponse*);
  void EndTransaction(common::UnaryCall*, const pb::EndTransactionRequest*, pb::EndTransactionResponse*);
  void RecallMessage(common::UnaryCall*, const pb::RecallMessageRequest*, pb::RecallMessageResponse*);
  void SyncLiteSubscription(common::UnaryCall*, const pb::SyncLiteSubscriptionRequest*, pb::SyncLiteSubscriptionResponse*);

 private:
  void DecideOrder(index::GroupDefinition group, std::vector<std::string> topics,
                   absl::AnyInvocable<void(absl::StatusOr<index::GroupDefinition>) &&> done);
  absl::Status CheckFilter(int32_t type, std::string_view expression) override;
  void ResolveConsumer(std::string group, std::vector<std::string> topics,
                       absl::AnyInvocable<void(absl::StatusOr<index::GroupDefinition>) &&> done) override;
  void ResolveGroup(std::string group, absl::AnyInvocable<void(absl::StatusOr<index::GroupDefinition>) &&> done) override;
  void StreamOpened(const v2edge::CallInfo& call) override;
  void StreamEnded(const v2edge::CallInfo& call) override;
  void ClientSeen(const v2edge::CallInfo& call, const std::string& group) override;

  template <class Response>
  UnaryReply<Response> ReplyTo(common::UnaryCall* call, Response* response, const char* rpc) {
    return {call, response, metrics_.Of(rpc), clock_, server_.data_plane()};
  }

  const MessagingOptions options_;
  Shard& shard_;
  ShardRoutes shard_routes_;
  registry::RouteSource& routes_;
  common::GrpcServer& server_;
  common::Clock& clock_;
  v2edge::RpcMetrics& metrics_;
  DataPlane data_plane_;
  HotMethods hot_methods_;
  HotCalls hot_calls_;
  v2edge::TelemetryHandler telemetry_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_MESSAGING_HANDLER_H_
