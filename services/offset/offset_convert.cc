#include "services/offset/offset_convert.h"

#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::offset {
namespace {

using index::DefinitionEvent;

constexpr char kV2CodeKey[] = "fulmar-v2-code";

// The error of the table that has this number; no such: a plain one.
absl::Status MakeError(absl::StatusCode code, int v2_code, const std::string& message) {
  switch (v2_code) {
#define FULMAR_MAKE_ERROR(name, absl_code, v2_name, v2_number, retry) \
  case v2_number: return errors::name(message);
    FULMAR_ERRORS(FULMAR_MAKE_ERROR)
#undef FULMAR_MAKE_ERROR
    default: return absl::Status(code, message);
  }
}

}  // namespace

v1::WatchDefinitionsResponse ToProto(const DefinitionEvent& event) {
  v1::WatchDefinitionsResponse proto;
  switch (event.kind) {
    case DefinitionEvent::kTopic: proto.set_topic(index::Encode(event.topic)); break;
    case DefinitionEvent::kGroup: proto.set_group(index::Encode(event.group)); break;
    case DefinitionEvent::kTopicDeleted:
      proto.mutable_topic_deleted()->set_name(event.topic.name);
      proto.mutable_topic_deleted()->set_topic_id(event.topic.topic_id);
      proto.mutable_topic_deleted()->set_version(event.topic.version);
      break;
    case DefinitionEvent::kGroupDeleted:
      proto.mutable_group_deleted()->set_name(event.group.name);
      proto.mutable_group_deleted()->set_version(event.group.version);
      break;
  }
  return proto;
}

absl::StatusOr<DefinitionEvent> FromProto(const v1::WatchDefinitionsResponse& proto) {
  DefinitionEvent event;
  switch (proto.event_case()) {
    case v1::WatchDefinitionsResponse::kTopic: {
      FULMAR_ASSIGN_OR_RETURN(event.topic, index::DecodeTopic(proto.topic()));
      event.kind = DefinitionEvent::kTopic;
      return event;
    }
    case v1::WatchDefinitionsResponse::kGroup: {
      FULMAR_ASSIGN_OR_RETURN(event.group, index::DecodeGroup(proto.group()));
      event.kind = DefinitionEvent::kGroup;
      return event;
    }
    case v1::WatchDefinitionsResponse::kTopicDeleted:
      event.kind = DefinitionEvent::kTopicDeleted;
      event.topic.name = proto.topic_deleted().name();
      event.topic.topic_id = proto.topic_deleted().topic_id();
      event.topic.version = proto.topic_deleted().version();
      return event;
    case v1::WatchDefinitionsResponse::kGroupDeleted:
      event.kind = DefinitionEvent::kGroupDeleted;
      event.group.name = proto.group_deleted().name();
      event.group.version = proto.group_deleted().version();
      return event;
    case v1::WatchDefinitionsResponse::EVENT_NOT_SET: break;
  }
  return absl::DataLossError("an event of definitions that is neither topic nor group");
}

grpc::Status ToGrpc(const absl::Status& status, grpc::ServerContextBase& call) {
  if (status.ok()) return grpc::Status::OK;
  // Only a code that says more than the status itself.
  const int v2_code = V2CodeOf(status);
  if (v2_code != V2CodeOf(absl::Status(status.code(), ""))) call.AddTrailingMetadata(kV2CodeKey, absl::StrCat(v2_code));
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext& call) {
  if (status.ok()) return absl::OkStatus();
  const auto& trailer = call.GetServerTrailingMetadata();
  const auto found = trailer.find(kV2CodeKey);
  int v2_code = 0;
  if (found != trailer.end() &&
      !absl::SimpleAtoi(std::string_view(found->second.data(), found->second.size()), &v2_code)) {
    v2_code = 0;
  }
  return MakeError(static_cast<absl::StatusCode>(status.error_code()), v2_code,
                   absl::StrCat("offset service: ", status.error_message()));
}

}  // namespace fulmar::offset
