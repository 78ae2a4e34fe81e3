#ifndef FULMAR_REGISTRY_ADMIN_HANDLER_H_
#define FULMAR_REGISTRY_ADMIN_HANDLER_H_

#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "fulmar/admin/v1/admin.pb.h"
#include "services/common/grpc/rpc_service.h"
#include "services/index/ports.h"

namespace fulmar::registry {

// What an endpoint knows beyond definitions; each process gives what it has. Callbacks once, on any thread.
class AdminView {
 public:
  virtual ~AdminView() = default;
  // Merged over every shard that holds the object. NotFound, Unavailable.
  virtual void DescribeTopic(std::string topic, index::Done<admin::v1::DescribeTopicResponse> done) = 0;
  virtual void DescribeGroup(std::string group, index::Done<admin::v1::DescribeGroupResponse> done) = 0;
  virtual void ResetGroupOffset(admin::v1::ResetGroupOffsetRequest request, index::DoneStatus done) = 0;
  virtual void ClusterStatus(index::Done<admin::v1::GetClusterStatusResponse> done) = 0;
};

// fulmar.admin.v1 on every endpoint. Borrows both; they outlive it.
class AdminHandler final : public common::RpcService {
 public:
  // `set_log_level` takes a level's name and returns the previous one; InvalidArgument names the levels there are.
  using SetLogLevelFn = absl::AnyInvocable<absl::StatusOr<std::string>(std::string_view)>;
  AdminHandler(index::DefinitionStore& definitions, AdminView& view, SetLogLevelFn set_log_level);

  void CreateTopic(common::UnaryCall* reply, const admin::v1::CreateTopicRequest* request, admin::v1::CreateTopicResponse* response);
  void UpdateTopic(common::UnaryCall* reply, const admin::v1::UpdateTopicRequest* request, admin::v1::UpdateTopicResponse* response);
  void DeleteTopic(common::UnaryCall* reply, const admin::v1::DeleteTopicRequest* request, admin::v1::DeleteTopicResponse* response);
  void ListTopics(common::UnaryCall* reply, const admin::v1::ListTopicsRequest* request, admin::v1::ListTopicsResponse* response);
  void DescribeTopic(common::UnaryCall* reply, const admin::v1::DescribeTopicRequest* request, admin::v1::DescribeTopicResponse* response);
  void CreateGroup(common::UnaryCall* reply, const admin::v1::CreateGroupRequest* request, admin::v1::CreateGroupResponse* response);
  void UpdateGroup(common::UnaryCall* reply, const admin::v1::UpdateGroupRequest* request, admin::v1::UpdateGroupResponse* response);
  void DeleteGroup(common::UnaryCall* reply, const admin::v1::DeleteGroupRequest* request, admin::v1::DeleteGroupResponse* response);
  void ListGroups(common::UnaryCall* reply, const admin::v1::ListGroupsRequest* request, admin::v1::ListGroupsResponse* response);
  void DescribeGroup(common::UnaryCall* reply, const admin::v1::DescribeGroupRequest* request, admin::v1::DescribeGroupResponse* response);
  void ResetGroupOffset(common::UnaryCall* reply, const admin::v1::ResetGroupOffsetRequest* request, admin::v1::ResetGroupOffsetResponse* response);
  void GetClusterStatus(common::UnaryCall* reply, const admin::v1::GetClusterStatusRequest* request, admin::v1::GetClusterStatusResponse* response);
  void SetLogLevel(common::UnaryCall* reply, const admin::v1::SetLogLevelRequest* request, admin::v1::SetLogLevelResponse* response);

 private:
  index::DefinitionStore& definitions_;
  AdminView& view_;
  SetLogLevelFn set_log_level_;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ADMIN_HANDLER_H_
