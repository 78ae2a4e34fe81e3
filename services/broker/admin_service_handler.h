#ifndef FULMAR_BROKER_ADMIN_SERVICE_HANDLER_H_
#define FULMAR_BROKER_ADMIN_SERVICE_HANDLER_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "apache/rocketmq/v2/admin.pb.h"
#include "services/common/grpc/grpc_server.h"

namespace fulmar::broker {

// The protocol's own Admin service: consoles of the reference call it. Here ChangeLogLevel works; all others answer NOT_IMPLEMENTED. Fulmar's
// own administration is fulmar.admin.v1.
// Threads: the server's data-plane thread. `set_log_level` is called on it with "debug", "info", "warn" or "error".
class AdminServiceHandler final : public common::RpcService {
 public:
  static constexpr const char* kServiceName = "apache.rocketmq.v2.Admin";
  using SetLogLevel = std::function<absl::Status(const std::string& level)>;

  AdminServiceHandler(SetLogLevel set_log_level, common::GrpcServer& server);

#define FULMAR_ADMIN_RPC(Name, Request, Response) \
  void Name(common::UnaryCall* call, const apache::rocketmq::v2::Request* request, apache::rocketmq::v2::Response* response);
  FULMAR_ADMIN_RPC(ChangeLogLevel, ChangeLogLevelRequest, ChangeLogLevelResponse)
  FULMAR_ADMIN_RPC(DescribeTopicStatus, DescribeTopicStatusRequest, DescribeTopicStatusResponse)
  FULMAR_ADMIN_RPC(ListSubscription, ListSubscriptionRequest, ListSubscriptionResponse)
  FULMAR_ADMIN_RPC(DescribeSubscription, DescribeSubscriptionRequest, DescribeSubscriptionResponse)
  FULMAR_ADMIN_RPC(DeleteSubscription, DeleteSubscriptionRequest, DeleteSubscriptionResponse)
  FULMAR_ADMIN_RPC(DescribeGroupAccumulation, DescribeGroupAccumulationRequest, DescribeGroupAccumulationResponse)
  FULMAR_ADMIN_RPC(ListConsumerConnection, ListConsumerConnectionRequest, ListConsumerConnectionResponse)
  FULMAR_ADMIN_RPC(ResetGroupOffset, ResetGroupOffsetRequest, ResetGroupOffsetResponse)
  FULMAR_ADMIN_RPC(QueryMessage, ListMessageRequest, ListMessageResponse)
  FULMAR_ADMIN_RPC(PrintThreadStackTrace, PrintThreadStackTraceRequest, PrintThreadStackTraceResponse)
  FULMAR_ADMIN_RPC(VerifyMessage, VerifyMessageRequest, VerifyMessageResponse)
  FULMAR_ADMIN_RPC(AdminSendMessage, AdminSendMessageRequest, AdminSendMessageResponse)
  FULMAR_ADMIN_RPC(GetConsumerRunningInfo, GetConsumerRunningInfoRequest, GetConsumerRunningInfoResponse)
  FULMAR_ADMIN_RPC(QueryTimeSpan, QueryTimeSpanRequest, QueryTimeSpanResponse)
  FULMAR_ADMIN_RPC(GetTopicRoute, GetTopicRouteRequest, GetTopicRouteResponse)
  FULMAR_ADMIN_RPC(GetProxyRuntimeStats, GetProxyRuntimeStatsRequest, GetProxyRuntimeStatsResponse)
#undef FULMAR_ADMIN_RPC

 private:
  const SetLogLevel set_log_level_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_ADMIN_SERVICE_HANDLER_H_
