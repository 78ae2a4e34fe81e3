#include "services/registry/admin_handler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/registry/admin_convert.h"

namespace fulmar::registry {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  // The numbers of absl codes are those of gRPC.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

void Fail(common::UnaryCall* reply, const absl::Status& status) { reply->Finish(ToGrpc(status)); }

// A callback that copies the answer into `response` by `fill` and ends the call.
template <class Response, class Fill>
auto Answer(common::UnaryCall* reply, Response* response, Fill fill) {
  return [reply, response, fill](auto result) mutable {
    if (result.ok()) fill(*std::move(result), response);
    reply->Finish(ToGrpc(result.status()));
  };
}

auto AnswerStatus(common::UnaryCall* reply) {
  return [reply](absl::Status status) { reply->Finish(ToGrpc(status)); };
}

bool SameSettings(const index::TopicDefinition& a, const index::TopicDefinition& b) {
  return a.type == b.type && a.queues == b.queues && a.durability == b.durability && (a.shards.empty() || a.shards == b.shards) &&
         a.message_ttl == b.message_ttl && a.dedup_window == b.dedup_window && a.quota == b.quota;
}

bool SameSettings(const index::GroupDefinition& a, const index::GroupDefinition& b) {
  return a.order == b.order && a.from == b.from && a.retry == b.retry && a.suspended == b.suspended && a.mode == b.mode &&
         a.quota == b.quota;
}

}  // namespace

AdminHandler::AdminHandler(index::DefinitionStore& definitions, AdminView& view, SetLogLevelFn set_log_level)
    : RpcService("fulmar.admin.v1.AdminService"), definitions_(definitions), view_(view), set_log_level_(std::move(set_log_level)) {
  AddUnary("CreateTopic", &AdminHandler::CreateTopic);
  AddUnary("UpdateTopic", &AdminHandler::UpdateTopic);
  AddUnary("DeleteTopic", &AdminHandler::DeleteTopic);
  AddUnary("ListTopics", &AdminHandler::ListTopics);
  AddUnary("DescribeTopic", &AdminHandler::DescribeTopic);
  AddUnary("CreateGroup", &AdminHandler::CreateGroup);
  AddUnary("UpdateGroup", &AdminHandler::UpdateGroup);
  AddUnary("DeleteGroup", &AdminHandler::DeleteGroup);
  AddUnary("ListGroups", &AdminHandler::ListGroups);
  AddUnary("DescribeGroup", &AdminHandler::DescribeGroup);
  AddUnary("ResetGroupOffset", &AdminHandler::ResetGroupOffset);
  AddUnary("GetClusterStatus", &AdminHandler::GetClusterStatus);
  AddUnary("SetLogLevel", &AdminHandler::SetLogLevel);
}

void AdminHandler::CreateTopic(common::UnaryCall* reply, const admin::v1::CreateTopicRequest* request, admin::v1::CreateTopicResponse* response) {
  absl::StatusOr<index::TopicDefinition> wanted = TopicFrom(request->topic(), {});
  if (!wanted.ok()) return Fail(reply, wanted.status());
  if (absl::Status name = index::CheckTopicName(wanted->name); !name.ok()) return Fail(reply, name);
  definitions_.GetTopic(wanted->name, [this, reply, response, wanted = *wanted](absl::StatusOr<index::TopicDefinition> found) {
    const bool existed = found.ok();
    definitions_.EnsureTopic(wanted, [=](absl::StatusOr<index::TopicDefinition> topic) {
      if (!topic.ok()) return reply->Finish(ToGrpc(topic.status()));
      if (!SameSettings(wanted, *topic)) {
        return reply->Finish(ToGrpc(absl::AlreadyExistsError(
            absl::StrCat("topic '", topic->name, "' exists with other settings; see them with describe, change them with update"))));
      }
      *response->mutable_topic() = ToProto(*topic);
      response->set_created(!existed);
      reply->Finish(grpc::Status::OK);
    });
  });
}

void AdminHandler::UpdateTopic(common::UnaryCall* reply, const admin::v1::UpdateTopicRequest* request, admin::v1::UpdateTopicResponse* response) {
  definitions_.GetTopic(request->topic().name(), [this, reply, request, response](absl::StatusOr<index::TopicDefinition> found) {
    if (!found.ok()) return reply->Finish(ToGrpc(found.status()));
    absl::StatusOr<index::TopicDefinition> wanted = TopicFrom(request->topic(), *found);
    if (!wanted.ok()) return reply->Finish(ToGrpc(wanted.status()));
    if (wanted->type != found->type) {
      return reply->Finish(ToGrpc(absl::InvalidArgumentError(
          absl::StrCat("topic '", found->name, "': the type of a topic cannot change; make another topic"))));
    }
    definitions_.UpdateTopic(*std::move(wanted), Answer(reply, response, [](index::TopicDefinition topic, auto* out) {
      *out->mutable_topic() = ToProto(topic);
    }));
  });
}

void AdminHandler::DeleteTopic(common::UnaryCall* reply, const admin::v1::DeleteTopicRequest* request, admin::v1::DeleteTopicResponse* /*response*/) {
  definitions_.DeleteTopic(request->name(), AnswerStatus(reply));
}

void AdminHandler::ListTopics(common::UnaryCall* reply, const admin::v1::ListTopicsRequest* /*request*/, admin::v1::ListTopicsResponse* response) {
  definitions_.ListTopics(Answer(reply, response, [](std::vector<index::TopicDefinition> topics, auto* out) {
    std::sort(topics.begin(), topics.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    for (const index::TopicDefinition& topic : topics) *out->add_topics() = ToProto(topic);
  }));
}

void AdminHandler::DescribeTopic(common::UnaryCall* reply, const admin::v1::DescribeTopicRequest* request, admin::v1::DescribeTopicResponse* response) {
  definitions_.GetTopic(request->name(), [this, reply, request, response](absl::StatusOr<index::TopicDefinition> found) {
    if (!found.ok()) return reply->Finish(ToGrpc(found.status()));
    view_.DescribeTopic(request->name(), Answer(reply, response, [](auto state, auto* out) { *out = std::move(state); }));
  });
}

void AdminHandler::CreateGroup(common::UnaryCall* reply, const admin::v1::CreateGroupRequest* request, admin::v1::CreateGroupResponse* response) {
  absl::StatusOr<index::GroupDefinition> wanted = GroupFrom(request->group(), {});
  if (!wanted.ok()) return Fail(reply, wanted.status());
  if (absl::Status name = index::CheckGroupName(wanted->name); !name.ok()) return Fail(reply, name);
  definitions_.GetGroup(wanted->name, [this, reply, response, wanted = *wanted](absl::StatusOr<index::GroupDefinition> found) {
    const bool existed = found.ok();
    definitions_.EnsureGroup(wanted, [=](absl::StatusOr<index::GroupDefinition> group) {
      if (!group.ok()) return reply->Finish(ToGrpc(group.status()));
      if (!SameSettings(wanted, *group)) {
        return reply->Finish(ToGrpc(absl::AlreadyExistsError(
            absl::StrCat("group '", group->name, "' exists with other settings; see them with describe, change them with update"))));
      }
      *response->mutable_group() = ToProto(*group);
      response->set_created(!existed);
      reply->Finish(grpc::Status::OK);
    });
  });
}

void AdminHandler::UpdateGroup(common::UnaryCall* reply, const admin::v1::UpdateGroupRequest* request, admin::v1::UpdateGroupResponse* response) {
  definitions_.GetGroup(request->group().name(), [this, reply, request, response](absl::StatusOr<index::GroupDefinition> found) {
    if (!found.ok()) return reply->Finish(ToGrpc(found.status()));
    absl::StatusOr<index::GroupDefinition> wanted = GroupFrom(request->group(), *found);
    if (!wanted.ok()) return reply->Finish(ToGrpc(wanted.status()));
    definitions_.UpdateGroup(*std::move(wanted), Answer(reply, response, [](index::GroupDefinition group, auto* out) {
      *out->mutable_group() = ToProto(group);
    }));
  });
}

void AdminHandler::DeleteGroup(common::UnaryCall* reply, const admin::v1::DeleteGroupRequest* request, admin::v1::DeleteGroupResponse* /*response*/) {
  definitions_.DeleteGroup(request->name(), AnswerStatus(reply));
}

void AdminHandler::ListGroups(common::UnaryCall* reply, const admin::v1::ListGroupsRequest* /*request*/, admin::v1::ListGroupsResponse* response) {
  definitions_.ListGroups(Answer(reply, response, [](std::vector<index::GroupDefinition> groups, auto* out) {
    std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    for (const index::GroupDefinition& group : groups) *out->add_groups() = ToProto(group);
  }));
}

void AdminHandler::DescribeGroup(common::UnaryCall* reply, const admin::v1::DescribeGroupRequest* request, admin::v1::DescribeGroupResponse* response) {
  definitions_.GetGroup(request->name(), [this, reply, request, response](absl::StatusOr<index::GroupDefinition> found) {
    if (!found.ok()) return reply->Finish(ToGrpc(found.status()));
    view_.DescribeGroup(request->name(), Answer(reply, response, [](auto state, auto* out) { *out = std::move(state); }));
  });
}

void AdminHandler::ResetGroupOffset(common::UnaryCall* reply, const admin::v1::ResetGroupOffsetRequest* request, admin::v1::ResetGroupOffsetResponse* /*response*/) {
  if (absl::StatusOr<broker::ResetOffset> reset = ResetFrom(*request); !reset.ok()) return Fail(reply, reset.status());
  view_.ResetGroupOffset(*request, AnswerStatus(reply));
}

void AdminHandler::GetClusterStatus(common::UnaryCall* reply, const admin::v1::GetClusterStatusRequest* /*request*/, admin::v1::GetClusterStatusResponse* response) {
  view_.ClusterStatus(Answer(reply, response, [](auto status, auto* out) { *out = std::move(status); }));
}

void AdminHandler::SetLogLevel(common::UnaryCall* reply, const admin::v1::SetLogLevelRequest* request, admin::v1::SetLogLevelResponse* response) {
  absl::StatusOr<std::string> previous = set_log_level_(request->level());
  if (previous.ok()) response->set_previous(*previous);
  reply->Finish(ToGrpc(previous.status()));
}

}  // namespace fulmar::registry
