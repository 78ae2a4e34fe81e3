#ifndef FULMAR_REGISTRY_ADMIN_CONVERT_H_
#define FULMAR_REGISTRY_ADMIN_CONVERT_H_

#include <string>

#include "absl/status/statusor.h"
#include "fulmar/admin/v1/admin.pb.h"
#include "services/broker/shard.h"
#include "services/index/definitions.h"

// Between fulmar.admin.v1 messages and the core's structs. Zero values in requests are left at the struct's default.
namespace fulmar::registry {

admin::v1::Topic ToProto(const index::TopicDefinition& topic);
admin::v1::Group ToProto(const index::GroupDefinition& group);
admin::v1::DescribeTopicResponse ToProto(const std::string& shard, const broker::TopicState& state);
admin::v1::DescribeGroupResponse ToProto(const std::string& shard, const broker::GroupState& state);
admin::v1::ShardStatus ToProto(const broker::ShardStatus& status);

// Settings of `proto` put over `base`. InvalidArgument names the field and what it takes.
absl::StatusOr<index::TopicDefinition> TopicFrom(const admin::v1::Topic& proto, index::TopicDefinition base);
absl::StatusOr<index::GroupDefinition> GroupFrom(const admin::v1::Group& proto, index::GroupDefinition base);
absl::StatusOr<broker::ResetOffset> ResetFrom(const admin::v1::ResetGroupOffsetRequest& request);

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ADMIN_CONVERT_H_
