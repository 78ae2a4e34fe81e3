#ifndef FULMAR_REGISTRY_ADMIN_REMOTE_CLIENT_H_
#define FULMAR_REGISTRY_ADMIN_REMOTE_CLIENT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "services/registry/admin_handler.h"
#include "services/registry/route_table.h"

namespace grpc {
class Channel;
}
namespace fulmar::common {
class RpcClient;
class RpcClients;
}  // namespace fulmar::common

namespace fulmar::registry {

// The admin view of a registry: asks the leader of every shard and merges. A shard that does not answer fails a description
// (half a lag is a lie) but only marks its row in the cluster status. Borrows table and the data plane behind `clients`. Threads: any.
class RemoteAdminView : public AdminView {
 public:
  using MakeChannel = std::function<std::shared_ptr<grpc::Channel>(const std::string& endpoint)>;
  RemoteAdminView(common::RpcClients& clients, RouteTable& table, MakeChannel make_channel,
                  std::function<std::vector<admin::v1::ServiceStatus>()> own_services, absl::Duration timeout = absl::Seconds(3));
  ~RemoteAdminView() override;  // not on the data plane's thread

  void DescribeTopic(std::string topic, index::Done<admin::v1::DescribeTopicResponse> done) override;
  void DescribeGroup(std::string group, index::Done<admin::v1::DescribeGroupResponse> done) override;
  void ResetGroupOffset(admin::v1::ResetGroupOffsetRequest request, index::DoneStatus done) override;
  void ClusterStatus(index::Done<admin::v1::GetClusterStatusResponse> done) override;

 private:
  common::RpcClient& ClientOf(const std::string& endpoint);

  // Calls `method` of every leader's admin service, `merge`s each answer (one at a time), then `finish`es with the first error or OK.
  template <class Request, class Response>
  void AskLeaders(std::vector<BrokerView> leaders, const Request& request, const char* method,
                  std::function<void(const BrokerView&, const absl::StatusOr<Response>&)> merge,
                  absl::AnyInvocable<void() &&> finish);

  common::RpcClients& clients_;
  RouteTable& table_;
  const MakeChannel make_channel_;
  const std::function<std::vector<admin::v1::ServiceStatus>()> own_services_;
  const absl::Duration timeout_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::unique_ptr<common::RpcClient>> by_endpoint_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ADMIN_REMOTE_CLIENT_H_
