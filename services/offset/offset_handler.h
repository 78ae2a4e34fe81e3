#ifndef FULMAR_OFFSET_OFFSET_HANDLER_H_
#define FULMAR_OFFSET_OFFSET_HANDLER_H_

#include "fulmar/offset/v1/offset.pb.h"
#include "services/common/grpc/open_calls.h"
#include "services/common/grpc/rpc_service.h"
#include "services/index/ports.h"
#include "services/offset/offset_core.h"

namespace fulmar::offset {

// fulmar.offset.v1.OffsetService over the stores: translates, calls, translates.
// Borrows: the stores, which outlive the server that it is added to. Threads: the server's data-plane thread; answers from any.
class OffsetHandler final : public common::RpcService {
 public:
  OffsetHandler(index::ProgressStore& progress, index::DefinitionStore& definitions);
  explicit OffsetHandler(OffsetCore& core) : OffsetHandler(core, core) {}
  // Ends the watches, which would keep a server from shutting down. Watchers come again when there is a server again.
  void Stop() { watches_.CancelAll(); }

  void Claim(common::ServerCall* call, const v1::ClaimRequest* request);
  void WriteProgress(common::UnaryCall* call, const v1::WriteProgressRequest* request, v1::WriteProgressResponse* response);

  void EnsureTopic(common::UnaryCall* call, const v1::EnsureTopicRequest* request, v1::EnsureTopicResponse* response);
  void UpdateTopic(common::UnaryCall* call, const v1::UpdateTopicRequest* request, v1::UpdateTopicResponse* response);
  void DeleteTopic(common::UnaryCall* call, const v1::DeleteTopicRequest* request, v1::DeleteTopicResponse* response);
  void GetTopic(common::UnaryCall* call, const v1::GetTopicRequest* request, v1::GetTopicResponse* response);
  void ListTopics(common::ServerCall* call, const v1::ListTopicsRequest* request);

  void EnsureGroup(common::UnaryCall* call, const v1::EnsureGroupRequest* request, v1::EnsureGroupResponse* response);
  void UpdateGroup(common::UnaryCall* call, const v1::UpdateGroupRequest* request, v1::UpdateGroupResponse* response);
  void DeleteGroup(common::UnaryCall* call, const v1::DeleteGroupRequest* request, v1::DeleteGroupResponse* response);
  void GetGroup(common::UnaryCall* call, const v1::GetGroupRequest* request, v1::GetGroupResponse* response);
  void ListGroups(common::ServerCall* call, const v1::ListGroupsRequest* request);

  void WatchDefinitions(common::ServerCall* call, const v1::WatchDefinitionsRequest* request);

 private:
  index::ProgressStore& progress_;
  index::DefinitionStore& definitions_;
  common::OpenCalls watches_;
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_OFFSET_HANDLER_H_
