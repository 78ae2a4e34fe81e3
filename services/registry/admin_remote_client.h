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
#include "services/common/clock.h"
#include "services/registry/admin_handler.h"
#include "services/registry/route_table.h"

namespace grpc {
class Channel;
}

namespace fulmar::registry {

// The admin view of a registry: asks the leader of every shard and merges. A shard that does not answer fails a description
// (half a lag is a lie) but only marks its row in the cluster status. Borrows clock and table. Threads: any.
class RemoteAdminView : public AdminView {
 public:
  using MakeChannel = std::function<std::shared_ptr<grpc::Channel>(const std::string& endpoint)>;
  RemoteAdminView(const common::Clock& clock, RouteTable& table, MakeChannel make_channel, std::function<std::vector<admin::v1::ServiceStatus>()> own_services,
                  absl::Duration timeout = absl::Seconds(3))
      : clock_(clock), table_(table), make_channel_(std::move(make_channel)), own_services_(std::move(own_services)), timeout_(timeout) {}

  void DescribeTopic(std::string topic, index::Done<admin::v1::DescribeTopicResponse> done) override;
  void DescribeGroup(std::string group, index::Done<admin::v1::DescribeGroupResponse> done) override;
  void ResetGroupOffset(admin::v1::ResetGroupOffsetRequest request, index::DoneStatus done) override;
  void ClusterStatus(index::Done<admin::v1::GetClusterStatusResponse> done) override;

 private:
  std::shared_ptr<grpc::Channel> ChannelTo(const std::string& endpoint);

  // Calls `method` of every leader's admin service, `merge`s each answer (one at a time), then `finish`es with the first error or OK.
  template <class Request, class Response, class Method>
  void AskLeaders(std::vector<BrokerView> leaders, Request request, Method method,
                  std::function<void(const BrokerView&, const absl::StatusOr<Response>&)> merge,
                  absl::AnyInvocable<void() &&> finish);

  const common::Clock& clock_;
  RouteTable& table_;
  const MakeChannel make_channel_;
  const std::function<std::vector<admin::v1::ServiceStatus>()> own_services_;
  const absl::Duration timeout_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<grpc::Channel>> channels_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ADMIN_REMOTE_CLIENT_H_
