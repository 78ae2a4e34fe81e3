#include "services/registry/admin_local_handler.h"

#include <utility>

#include "services/registry/admin_convert.h"

namespace fulmar::registry {

void LocalAdminView::DescribeTopic(std::string topic, index::Done<admin::v1::DescribeTopicResponse> done) {
  shard_.DescribeTopic(std::move(topic), [name = shard_name_, done = std::move(done)](absl::StatusOr<broker::TopicState> state) mutable {
    if (!state.ok()) return std::move(done)(state.status());
    std::move(done)(ToProto(name, *state));
  });
}

void LocalAdminView::DescribeGroup(std::string group, index::Done<admin::v1::DescribeGroupResponse> done) {
  shard_.DescribeGroup(std::move(group), [name = shard_name_, done = std::move(done)](absl::StatusOr<broker::GroupState> state) mutable {
    if (!state.ok()) return std::move(done)(state.status());
    std::move(done)(ToProto(name, *state));
  });
}

void LocalAdminView::ResetGroupOffset(admin::v1::ResetGroupOffsetRequest request, index::DoneStatus done) {
  absl::StatusOr<broker::ResetOffset> reset = ResetFrom(request);
  if (!reset.ok()) return std::move(done)(reset.status());
  shard_.ResetGroupOffset(request.group(), request.topic(), *reset, std::move(done));
}

void LocalAdminView::ClusterStatus(index::Done<admin::v1::GetClusterStatusResponse> done) {
  shard_.Status([this, done = std::move(done)](absl::StatusOr<broker::ShardStatus> status) mutable {
    if (!status.ok()) return std::move(done)(status.status());
    admin::v1::GetClusterStatusResponse response;
    admin::v1::ShardStatus* shard = response.add_shards();
    *shard = ToProto(*status);
    shard->set_endpoint(self_.endpoint);
    shard->set_version(self_.version);
    for (admin::v1::ServiceStatus& service : other_services_()) *response.add_services() = std::move(service);
    std::move(done)(std::move(response));
  });
}

}  // namespace fulmar::registry
