#ifndef FULMAR_OFFSET_OFFSET_HANDLER_H_
#define FULMAR_OFFSET_OFFSET_HANDLER_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "fulmar/offset/v1/offset.grpc.pb.h"
#include "services/common/grpc/open_calls.h"
#include "services/index/ports.h"
#include "services/offset/offset_core.h"

namespace fulmar::offset {

// fulmar.offset.v1.OffsetService over the stores: translates, calls, translates.
// Borrows: the stores, which outlive the server that it is added to. Threads: gRPC's.
class OffsetHandler final : public v1::OffsetService::CallbackService {
 public:
  OffsetHandler(index::ProgressStore& progress, index::DefinitionStore& definitions)
      : progress_(progress), definitions_(definitions) {}
  explicit OffsetHandler(OffsetCore& core) : OffsetHandler(core, core) {}
  // Ends the watches, which would keep a server from shutting down. Watchers come again when there is a server again.
  void Stop() { watches_.CancelAll(); }

  grpc::ServerWriteReactor<v1::ClaimResponse>* Claim(grpc::CallbackServerContext* call, const v1::ClaimRequest* request) override;
  grpc::ServerUnaryReactor* WriteProgress(grpc::CallbackServerContext* call, const v1::WriteProgressRequest* request,
                                          v1::WriteProgressResponse* response) override;

  grpc::ServerUnaryReactor* EnsureTopic(grpc::CallbackServerContext* call, const v1::EnsureTopicRequest* request,
                                        v1::EnsureTopicResponse* response) override;
  grpc::ServerUnaryReactor* UpdateTopic(grpc::CallbackServerContext* call, const v1::UpdateTopicRequest* request,
                                        v1::UpdateTopicResponse* response) override;
  grpc::ServerUnaryReactor* DeleteTopic(grpc::CallbackServerContext* call, const v1::DeleteTopicRequest* request,
                                        v1::DeleteTopicResponse* response) override;
  grpc::ServerUnaryReactor* GetTopic(grpc::CallbackServerContext* call, const v1::GetTopicRequest* request,
                                     v1::GetTopicResponse* response) override;
  grpc::ServerWriteReactor<v1::ListTopicsResponse>* ListTopics(grpc::CallbackServerContext* call,
                                                               const v1::ListTopicsRequest* request) override;

  grpc::ServerUnaryReactor* EnsureGroup(grpc::CallbackServerContext* call, const v1::EnsureGroupRequest* request,
                                        v1::EnsureGroupResponse* response) override;
  grpc::ServerUnaryReactor* UpdateGroup(grpc::CallbackServerContext* call, const v1::UpdateGroupRequest* request,
                                        v1::UpdateGroupResponse* response) override;
  grpc::ServerUnaryReactor* DeleteGroup(grpc::CallbackServerContext* call, const v1::DeleteGroupRequest* request,
                                        v1::DeleteGroupResponse* response) override;
  grpc::ServerUnaryReactor* GetGroup(grpc::CallbackServerContext* call, const v1::GetGroupRequest* request,
                                     v1::GetGroupResponse* response) override;
  grpc::ServerWriteReactor<v1::ListGroupsResponse>* ListGroups(grpc::CallbackServerContext* call,
                                                               const v1::ListGroupsRequest* request) override;

  grpc::ServerWriteReactor<v1::WatchDefinitionsResponse>* WatchDefinitions(
      grpc::CallbackServerContext* call, const v1::WatchDefinitionsRequest* request) override;

 private:
  index::ProgressStore& progress_;
  index::DefinitionStore& definitions_;
  common::OpenCalls watches_;
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_OFFSET_HANDLER_H_
