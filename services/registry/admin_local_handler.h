#ifndef FULMAR_REGISTRY_ADMIN_LOCAL_HANDLER_H_
#define FULMAR_REGISTRY_ADMIN_LOCAL_HANDLER_H_

#include <functional>
#include <string>
#include <vector>

#include "services/broker/shard.h"
#include "services/registry/admin_handler.h"

namespace fulmar::registry {

// The admin view of a process that holds one shard itself. Borrows the shard.
class LocalAdminView : public AdminView {
 public:
  struct Self {
    std::string endpoint;  // advertised
    std::string version;
  };
  // `other_services`: the further services of the same process, for the cluster status.
  LocalAdminView(std::string shard_name, broker::Shard& shard, Self self,
                 std::function<std::vector<admin::v1::ServiceStatus>()> other_services)
      : shard_name_(std::move(shard_name)), shard_(shard), self_(std::move(self)), other_services_(std::move(other_services)) {}

  void DescribeTopic(std::string topic, index::Done<admin::v1::DescribeTopicResponse> done) override;
  void DescribeGroup(std::string group, index::Done<admin::v1::DescribeGroupResponse> done) override;
  void ResetGroupOffset(admin::v1::ResetGroupOffsetRequest request, index::DoneStatus done) override;
  void ClusterStatus(index::Done<admin::v1::GetClusterStatusResponse> done) override;

 private:
  const std::string shard_name_;
  broker::Shard& shard_;
  const Self self_;
  const std::function<std::vector<admin::v1::ServiceStatus>()> other_services_;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ADMIN_LOCAL_HANDLER_H_
