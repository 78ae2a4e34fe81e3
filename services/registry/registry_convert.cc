#include "services/registry/registry_convert.h"

#include "absl/strings/str_cat.h"
#include "services/common/status.h"

namespace fulmar::registry {

v1::Announcement ToProto(const Announcement& announcement) {
  v1::Announcement proto;
  proto.set_shard(announcement.shard);
  proto.set_replica(announcement.replica);
  proto.set_term(announcement.term);
  proto.set_leader(announcement.leader);
  proto.set_serving(announcement.serving);
  proto.set_endpoint(ToString(announcement.endpoint));
  proto.set_version(announcement.version);
  proto.mutable_lease()->set_seconds(absl::ToInt64Seconds(announcement.lease));
  proto.set_full(announcement.full);
  for (const index::TopicDefinition& topic : announcement.topics) proto.add_topics()->set_definition(index::Encode(topic));
  for (const std::string& topic : announcement.deleted_topics) proto.add_deleted_topics(topic);
  return proto;
}

absl::StatusOr<Announcement> FromProto(const v1::Announcement& proto) {
  Announcement announcement;
  if (proto.shard().empty()) return absl::InvalidArgumentError("announcement without a shard name");
  announcement.shard = proto.shard();
  announcement.replica = proto.replica();
  announcement.term = proto.term();
  announcement.leader = proto.leader();
  announcement.serving = proto.serving();
  FULMAR_ASSIGN_OR_RETURN(announcement.endpoint, ParseEndpoint(proto.endpoint()));
  announcement.version = proto.version();
  announcement.lease = absl::Seconds(proto.lease().seconds());
  if (announcement.lease < absl::Seconds(1) || announcement.lease > absl::Minutes(10)) {
    return absl::InvalidArgumentError(
        absl::StrCat("announcement of shard '", proto.shard(), "': lease of ", proto.lease().seconds(), " s, expected 1 to 600"));
  }
  announcement.full = proto.full();
  for (const v1::AnnouncedTopic& topic : proto.topics()) {
    FULMAR_ASSIGN_OR_RETURN(index::TopicDefinition definition, index::DecodeTopic(topic.definition()));
    announcement.topics.push_back(std::move(definition));
  }
  for (const std::string& topic : proto.deleted_topics()) announcement.deleted_topics.push_back(topic);
  return announcement;
}

}  // namespace fulmar::registry
