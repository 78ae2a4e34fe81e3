#include "services/offset/offset_handler.h"

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "services/offset/offset_convert.h"

namespace fulmar::offset {
namespace {

using index::GroupDefinition;
using index::QueueProgress;
using index::TopicDefinition;

// Far below what any receiver takes as one message.
constexpr size_t kPartBytes = 256 << 10;
// A watcher that reads nothing is dropped: it comes back and is told again.
constexpr size_t kMaxWaitingEvents = 1 << 20;

// Bad bytes are the caller's fault here, not damage of ours.
absl::Status BadRequest(const absl::Status& status) { return absl::InvalidArgumentError(status.message()); }

// Answers a call with the parts of one result. Lives until the call is done, which is after Send().
template <class Response>
class PartsReply final : public common::ServerWriter<Response> {
 public:
  using common::ServerWriter<Response>::ServerWriter;

  // Once. `add` puts one encoded object into a part.
  template <class Objects, class Add>
  void Send(absl::StatusOr<Objects> objects, Add add) {
    if (!objects.ok()) return this->Finish(ToGrpc(objects.status(), this->context()));
    size_t bytes = 0;  // of the last part
    for (const auto& object : *objects) {
      if (parts_.empty() || bytes >= kPartBytes) {
        parts_.emplace_back();
        bytes = 0;
      }
      std::string encoded = index::Encode(object);
      bytes += encoded.size();
      add(parts_.back(), std::move(encoded));
    }
    Next();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return this->Finish(grpc::Status::CANCELLED);
    parts_.pop_front();
    Next();
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (parts_.empty()) return this->Finish(grpc::Status::OK);
    this->StartWrite(parts_.front());
  }

  std::deque<Response> parts_;
};

// One watcher. Ends when its call is cancelled, which is also how a broken connection and the server's end look.
class WatchReply final : public common::ServerWriter<v1::WatchDefinitionsResponse> {
 public:
  WatchReply(common::ServerCall& call, index::DefinitionStore& definitions, uint64_t since_version, common::OpenCalls& open)
      : ServerWriter(call), open_(open) {
    open_.Add(context());
    StartSendInitialMetadata();  // tells the watcher that it is connected, also when there is nothing yet
    watch_ = definitions.WatchDefinitions(since_version, [this](const index::DefinitionEvent& event) { Push(event); });
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return;  // OnCancel follows
    {
      absl::MutexLock lock(&mutex_);
      waiting_.pop_front();
      if (waiting_.empty()) return;
    }
    WriteFront();
  }
  void OnCancel() override {
    watch_.reset();  // no Push from here on
    Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override {
    open_.Remove(context());
    delete this;
  }

 private:
  void Push(const index::DefinitionEvent& event) {
    {
      absl::MutexLock lock(&mutex_);
      if (waiting_.size() >= kMaxWaitingEvents) return Cancel();
      waiting_.push_back(ToProto(event));
      if (waiting_.size() > 1) return;  // a write is under way
    }
    WriteFront();
  }
  void WriteFront() {
    const v1::WatchDefinitionsResponse* front;
    {
      absl::MutexLock lock(&mutex_);
      front = &waiting_.front();
    }
    StartWrite(*front);
  }

  common::OpenCalls& open_;
  std::unique_ptr<index::DefinitionStore::Watch> watch_;
  absl::Mutex mutex_;
  std::deque<v1::WatchDefinitionsResponse> waiting_ ABSL_GUARDED_BY(mutex_);  // the front is being written
};

// Callbacks that end a call.
auto FinishWith(common::UnaryCall* call) {
  return [call](const absl::Status& status) { call->Finish(ToGrpc(status, call->context())); };
}
template <class Response>
auto FinishWithTopic(common::UnaryCall* call, Response* response) {
  return [call, response](const absl::StatusOr<TopicDefinition>& topic) {
    if (topic.ok()) response->set_topic(index::Encode(*topic));
    call->Finish(ToGrpc(topic.status(), call->context()));
  };
}
template <class Response>
auto FinishWithGroup(common::UnaryCall* call, Response* response) {
  return [call, response](const absl::StatusOr<GroupDefinition>& group) {
    if (group.ok()) response->set_group(index::Encode(*group));
    call->Finish(ToGrpc(group.status(), call->context()));
  };
}

}  // namespace

OffsetHandler::OffsetHandler(index::ProgressStore& progress, index::DefinitionStore& definitions)
    : RpcService("fulmar.offset.v1.OffsetService"), progress_(progress), definitions_(definitions) {
  AddServerStream("Claim", &OffsetHandler::Claim);
  AddUnary("WriteProgress", &OffsetHandler::WriteProgress);
  AddUnary("EnsureTopic", &OffsetHandler::EnsureTopic);
  AddUnary("UpdateTopic", &OffsetHandler::UpdateTopic);
  AddUnary("DeleteTopic", &OffsetHandler::DeleteTopic);
  AddUnary("GetTopic", &OffsetHandler::GetTopic);
  AddServerStream("ListTopics", &OffsetHandler::ListTopics);
  AddUnary("EnsureGroup", &OffsetHandler::EnsureGroup);
  AddUnary("UpdateGroup", &OffsetHandler::UpdateGroup);
  AddUnary("DeleteGroup", &OffsetHandler::DeleteGroup);
  AddUnary("GetGroup", &OffsetHandler::GetGroup);
  AddServerStream("ListGroups", &OffsetHandler::ListGroups);
  AddServerStream("WatchDefinitions", &OffsetHandler::WatchDefinitions);
}

// --- Progress.

void OffsetHandler::Claim(common::ServerCall* call, const v1::ClaimRequest* request) {
  auto* reply = new PartsReply<v1::ClaimResponse>(*call);
  progress_.Claim(request->shard(), Term{request->term()}, [reply](absl::StatusOr<std::vector<QueueProgress>> progress) {
    reply->Send(std::move(progress), [](v1::ClaimResponse& part, std::string bytes) { part.add_progress(std::move(bytes)); });
  });
}

void OffsetHandler::WriteProgress(common::UnaryCall* call, const v1::WriteProgressRequest* request, v1::WriteProgressResponse*) {
  const auto finish = FinishWith(call);
  std::vector<QueueProgress> entries;
  entries.reserve(static_cast<size_t>(request->progress_size()));
  for (const std::string& bytes : request->progress()) {
    absl::StatusOr<QueueProgress> entry = index::DecodeProgress(bytes);
    if (!entry.ok()) {
      return finish(BadRequest(entry.status()));
    }
    entries.push_back(*std::move(entry));
  }
  progress_.Write(request->shard(), Term{request->term()}, std::move(entries), finish);
}

// --- Topics.

void OffsetHandler::EnsureTopic(common::UnaryCall* call, const v1::EnsureTopicRequest* request, v1::EnsureTopicResponse* response) {
  absl::StatusOr<TopicDefinition> topic = index::DecodeTopic(request->topic());
  if (topic.ok()) {
    definitions_.EnsureTopic(*std::move(topic), FinishWithTopic(call, response));
  } else {
    FinishWith(call)(BadRequest(topic.status()));
  }
}

void OffsetHandler::UpdateTopic(common::UnaryCall* call, const v1::UpdateTopicRequest* request, v1::UpdateTopicResponse* response) {
  absl::StatusOr<TopicDefinition> topic = index::DecodeTopic(request->topic());
  if (topic.ok()) {
    definitions_.UpdateTopic(*std::move(topic), FinishWithTopic(call, response));
  } else {
    FinishWith(call)(BadRequest(topic.status()));
  }
}

void OffsetHandler::DeleteTopic(common::UnaryCall* call, const v1::DeleteTopicRequest* request, v1::DeleteTopicResponse*) {
  definitions_.DeleteTopic(request->name(), FinishWith(call));
}

void OffsetHandler::GetTopic(common::UnaryCall* call, const v1::GetTopicRequest* request, v1::GetTopicResponse* response) {
  definitions_.GetTopic(request->name(), FinishWithTopic(call, response));
}

void OffsetHandler::ListTopics(common::ServerCall* call, const v1::ListTopicsRequest*) {
  auto* reply = new PartsReply<v1::ListTopicsResponse>(*call);
  definitions_.ListTopics([reply](absl::StatusOr<std::vector<TopicDefinition>> topics) {
    reply->Send(std::move(topics), [](v1::ListTopicsResponse& part, std::string bytes) { part.add_topics(std::move(bytes)); });
  });
}

// --- Groups.

void OffsetHandler::EnsureGroup(common::UnaryCall* call, const v1::EnsureGroupRequest* request, v1::EnsureGroupResponse* response) {
  absl::StatusOr<GroupDefinition> group = index::DecodeGroup(request->group());
  if (group.ok()) {
    definitions_.EnsureGroup(*std::move(group), FinishWithGroup(call, response));
  } else {
    FinishWith(call)(BadRequest(group.status()));
  }
}

void OffsetHandler::UpdateGroup(common::UnaryCall* call, const v1::UpdateGroupRequest* request, v1::UpdateGroupResponse* response) {
  absl::StatusOr<GroupDefinition> group = index::DecodeGroup(request->group());
  if (group.ok()) {
    definitions_.UpdateGroup(*std::move(group), FinishWithGroup(call, response));
  } else {
    FinishWith(call)(BadRequest(group.status()));
  }
}

void OffsetHandler::DeleteGroup(common::UnaryCall* call, const v1::DeleteGroupRequest* request, v1::DeleteGroupResponse*) {
  definitions_.DeleteGroup(request->name(), FinishWith(call));
}

void OffsetHandler::GetGroup(common::UnaryCall* call, const v1::GetGroupRequest* request, v1::GetGroupResponse* response) {
  definitions_.GetGroup(request->name(), FinishWithGroup(call, response));
}

void OffsetHandler::ListGroups(common::ServerCall* call, const v1::ListGroupsRequest*) {
  auto* reply = new PartsReply<v1::ListGroupsResponse>(*call);
  definitions_.ListGroups([reply](absl::StatusOr<std::vector<GroupDefinition>> groups) {
    reply->Send(std::move(groups), [](v1::ListGroupsResponse& part, std::string bytes) { part.add_groups(std::move(bytes)); });
  });
}

void OffsetHandler::WatchDefinitions(common::ServerCall* call, const v1::WatchDefinitionsRequest* request) {
  new WatchReply(*call, definitions_, request->since_version(), watches_);
}

}  // namespace fulmar::offset
