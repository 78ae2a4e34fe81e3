#ifndef FULMAR_REGISTRY_ADMIN_HANDLER_H_
#define FULMAR_REGISTRY_ADMIN_HANDLER_H_

#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "fulmar/admin/v1/admin.grpc.pb.h"
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
class AdminHandler final : public admin::v1::AdminService::CallbackService {
 public:
  // `set_log_level` takes a level's name and returns the previous one; InvalidArgument names the levels there are.
  using SetLogLevelFn = absl::AnyInvocable<absl::StatusOr<std::string>(std::string_view)>;
  AdminHandler(index::DefinitionStore& definitions, AdminView& view, SetLogLevelFn set_log_level)
      : definitions_(definitions), view_(view), set_log_level_(std::move(set_log_level)) {}

  grpc::ServerUnaryReactor* CreateTopic(grpc::CallbackServerContext* call, const admin::v1::CreateTopicRequest* request,
                                        admin::v1::CreateTopicResponse* response) override;
  grpc::ServerUnaryReactor* UpdateTopic(grpc::CallbackServerContext* call, const admin::v1::UpdateTopicRequest* request,
                                        admin::v1::UpdateTopicResponse* response) override;
  grpc::ServerUnaryReactor* DeleteTopic(grpc::CallbackServerContext* call, const admin::v1::DeleteTopicRequest* request,
                                        admin::v1::DeleteTopicResponse* response) override;
  grpc::ServerUnaryReactor* ListTopics(grpc::CallbackServerContext* call, const admin::v1::ListTopicsRequest* request,
                                       admin::v1::ListTopicsResponse* response) override;
  grpc::ServerUnaryReactor* DescribeTopic(grpc::CallbackServerContext* call, const admin::v1::DescribeTopicRequest* request,
                                          admin::v1::DescribeTopicResponse* response) override;
  grpc::ServerUnaryReactor* CreateGroup(grpc::CallbackServerContext* call, const admin::v1::CreateGroupRequest* request,
                                        admin::v1::CreateGroupResponse* response) override;
  grpc::ServerUnaryReactor* UpdateGroup(grpc::CallbackServerContext* call, const admin::v1::UpdateGroupRequest* request,
                                        admin::v1::UpdateGroupResponse* response) override;
  grpc::ServerUnaryReactor* DeleteGroup(grpc::CallbackServerContext* call, const admin::v1::DeleteGroupRequest* request,
                                        admin::v1::DeleteGroupResponse* response) override;
  grpc::ServerUnaryReactor* ListGroups(grpc::CallbackServerContext* call, const admin::v1::ListGroupsRequest* request,
                                       admin::v1::ListGroupsResponse* response) override;
  grpc::ServerUnaryReactor* DescribeGroup(grpc::CallbackServerContext* call, const admin::v1::DescribeGroupRequest* request,
                                          admin::v1::DescribeGroupResponse* response) override;
  grpc::ServerUnaryReactor* ResetGroupOffset(grpc::CallbackServerContext* call,
                                             const admin::v1::ResetGroupOffsetRequest* request,
                                             admin::v1::ResetGroupOffsetResponse* response) override;
  grpc::ServerUnaryReactor* GetClusterStatus(grpc::CallbackServerContext* call,
                                             const admin::v1::GetClusterStatusRequest* request,
                                             admin::v1::GetClusterStatusResponse* response) override;
  grpc::ServerUnaryReactor* SetLogLevel(grpc::CallbackServerContext* call, const admin::v1::SetLogLevelRequest* request,
                                        admin::v1::SetLogLevelResponse* response) override;

 private:
  index::DefinitionStore& definitions_;
  AdminView& view_;
  SetLogLevelFn set_log_level_;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ADMIN_HANDLER_H_
