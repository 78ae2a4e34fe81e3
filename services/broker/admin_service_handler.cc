#include "services/broker/admin_service_handler.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/v2/status_convert.h"

namespace fulmar::broker {
namespace {

namespace pb = ::apache::rocketmq::v2;

template <class Response>
void NotImplemented(common::UnaryCall* call, Response* response, const char* rpc) {
  v2edge::SetStatus(errors::NotImplemented(absl::StrCat(rpc, " is not implemented; see fulmar.admin.v1 and fulmarctl")), response->mutable_status());
  call->Finish(grpc::Status::OK);
}

const char* NameOf(pb::ChangeLogLevelRequest::Level level) {
  switch (level) {
    case pb::ChangeLogLevelRequest::TRACE:
    case pb::ChangeLogLevelRequest::DEBUG: return "debug";
    case pb::ChangeLogLevelRequest::WARN: return "warn";
    case pb::ChangeLogLevelRequest::ERROR: return "error";
    default: return "info";
  }
}

}  // namespace

AdminServiceHandler::AdminServiceHandler(SetLogLevel set_log_level, common::GrpcServer& server)
    : RpcService(kServiceName), set_log_level_(std::move(set_log_level)) {
  AddUnary("ChangeLogLevel", &AdminServiceHandler::ChangeLogLevel);
  AddUnary("DescribeTopicStatus", &AdminServiceHandler::DescribeTopicStatus);
  AddUnary("ListSubscription", &AdminServiceHandler::ListSubscription);
  AddUnary("DescribeSubscription", &AdminServiceHandler::DescribeSubscription);
  AddUnary("DeleteSubscription", &AdminServiceHandler::DeleteSubscription);
  AddUnary("DescribeGroupAccumulation", &AdminServiceHandler::DescribeGroupAccumulation);
  AddUnary("ListConsumerConnection", &AdminServiceHandler::ListConsumerConnection);
  AddUnary("ResetGroupOffset", &AdminServiceHandler::ResetGroupOffset);
  AddUnary("QueryMessage", &AdminServiceHandler::QueryMessage);
  AddUnary("PrintThreadStackTrace", &AdminServiceHandler::PrintThreadStackTrace);
  AddUnary("VerifyMessage", &AdminServiceHandler::VerifyMessage);
  AddUnary("AdminSendMessage", &AdminServiceHandler::AdminSendMessage);
  AddUnary("GetConsumerRunningInfo", &AdminServiceHandler::GetConsumerRunningInfo);
  AddUnary("QueryTimeSpan", &AdminServiceHandler::QueryTimeSpan);
  AddUnary("GetTopicRoute", &AdminServiceHandler::GetTopicRoute);
  AddUnary("GetProxyRuntimeStats", &AdminServiceHandler::GetProxyRuntimeStats);
  server.AddService(*this);
}

void AdminServiceHandler::ChangeLogLevel(common::UnaryCall* call, const pb::ChangeLogLevelRequest* request, pb::ChangeLogLevelResponse* response) {
  const std::string level = NameOf(request->level());
  const absl::Status status = set_log_level_(level);
  response->set_remark(status.ok() ? absl::StrCat("the log level is now ", level) : std::string(status.message()));
  call->Finish(grpc::Status::OK);
}

#define FULMAR_ADMIN_NOT_IMPLEMENTED(Name, Request, Response)                                                       \
  void AdminServiceHandler::Name(common::UnaryCall* call, const pb::Request*, pb::Response* response) { \
    NotImplemented(call, response, #Name);                                                                          \
  }
FULMAR_ADMIN_NOT_IMPLEMENTED(DescribeTopicStatus, DescribeTopicStatusRequest, DescribeTopicStatusResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(ListSubscription, ListSubscriptionRequest, ListSubscriptionResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(DescribeSubscription, DescribeSubscriptionRequest, DescribeSubscriptionResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(DeleteSubscription, DeleteSubscriptionRequest, DeleteSubscriptionResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(DescribeGroupAccumulation, DescribeGroupAccumulationRequest, DescribeGroupAccumulationResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(ListConsumerConnection, ListConsumerConnectionRequest, ListConsumerConnectionResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(ResetGroupOffset, ResetGroupOffsetRequest, ResetGroupOffsetResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(QueryMessage, ListMessageRequest, ListMessageResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(PrintThreadStackTrace, PrintThreadStackTraceRequest, PrintThreadStackTraceResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(VerifyMessage, VerifyMessageRequest, VerifyMessageResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(AdminSendMessage, AdminSendMessageRequest, AdminSendMessageResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(GetConsumerRunningInfo, GetConsumerRunningInfoRequest, GetConsumerRunningInfoResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(QueryTimeSpan, QueryTimeSpanRequest, QueryTimeSpanResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(GetTopicRoute, GetTopicRouteRequest, GetTopicRouteResponse)
FULMAR_ADMIN_NOT_IMPLEMENTED(GetProxyRuntimeStats, GetProxyRuntimeStatsRequest, GetProxyRuntimeStatsResponse)
#undef FULMAR_ADMIN_NOT_IMPLEMENTED

}  // namespace fulmar::broker
