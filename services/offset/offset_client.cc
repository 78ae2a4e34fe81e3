#include "services/offset/offset_client.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "fulmar/offset/v1/offset.pb.h"
#include "services/common/grpc/rpc_client.h"
#include "services/offset/offset_convert.h"

namespace fulmar::offset {

using index::DefinitionEvent;
using index::GroupDefinition;
using index::QueueProgress;
using index::TopicDefinition;

namespace {

template <class T>
absl::StatusOr<T> NotOurs(const absl::StatusOr<T>& decoded) {
  if (decoded.ok()) return decoded;
  return absl::DataLossError(absl::StrCat("answer of the offset service: ", decoded.status().message()));
}

}  // namespace

// The service at the other end. Shared with its watches.
class OffsetClient::Calls {
 public:
  Calls(common::RpcClients& clients, const std::shared_ptr<grpc::Channel>& channel, absl::Duration timeout)
      : client_(clients, channel, "fulmar.offset.v1.OffsetService"), timeout_(timeout) {}

  // One request, one answer. `finish` gets OK and the answer, or the error.
  template <class Request, class Response>
  void Unary(const char* method, const Request& request, absl::AnyInvocable<void(absl::StatusOr<Response>) &&> finish) {
    client_.Unary<Response>(method, request, timeout_,
                            [finish = std::move(finish)](const grpc::Status& status, const grpc::ClientContext& context, Response& response) mutable {
                              if (status.ok()) std::move(finish)(std::move(response));
                              else std::move(finish)(FromGrpc(status, context));
                            });
  }

  // One request, an answer in parts; `add` gets each, its first error is the result.
  template <class Request, class Part>
  void Parts(const char* method, const Request& request, std::function<absl::Status(const Part&)> add, absl::AnyInvocable<void(absl::Status) &&> finish) {
    auto reader = std::make_shared<PartsReader<Request, Part>>(client_, method, std::move(add), std::move(finish));
    reader->context().set_deadline(gpr_time_from_millis(absl::ToInt64Milliseconds(timeout_), GPR_TIMESPAN));  // from now
    reader->WriteLast(request);
    reader->Start();
  }

  common::RpcClient& client() { return client_; }
  void Close() { client_.Close(); }

 private:
  template <class Request, class Part>
  class PartsReader final : public common::ClientStream<Request, Part> {
   public:
    PartsReader(common::RpcClient& client, const char* method, std::function<absl::Status(const Part&)> add,
                absl::AnyInvocable<void(absl::Status) &&> finish)
        : common::ClientStream<Request, Part>(client, method), add_(std::move(add)), finish_(std::move(finish)) {}

   private:
    void OnMessage(Part& part) override {
      if (status_.ok()) status_ = add_(part);
    }
    void OnEnd(const grpc::Status& status) override { std::move(finish_)(status.ok() ? status_ : FromGrpc(status, this->context())); }

    const std::function<absl::Status(const Part&)> add_;
    absl::AnyInvocable<void(absl::Status) &&> finish_;
    absl::Status status_;
  };

  common::RpcClient client_;
  const absl::Duration timeout_;
};

OffsetClient::OffsetClient(common::RpcClients& clients, std::shared_ptr<grpc::Channel> channel, common::Executor& timers, OffsetClientOptions options)
    : options_(options), timers_(timers), calls_(std::make_shared<Calls>(clients, channel, options.call_timeout)) {}

OffsetClient::~OffsetClient() { calls_->Close(); }

// --- Progress.

void OffsetClient::Claim(std::string shard, Term term, index::Done<std::vector<QueueProgress>> done) {
  v1::ClaimRequest request;
  request.set_shard(std::move(shard));
  request.set_term(term.value);
  auto all = std::make_shared<std::vector<QueueProgress>>();
  calls_->Parts<v1::ClaimRequest, v1::ClaimResponse>(
      "Claim", std::move(request),
      [all](const v1::ClaimResponse& part) {
        for (const std::string& bytes : part.progress()) {
          absl::StatusOr<QueueProgress> progress = NotOurs(index::DecodeProgress(bytes));
          if (!progress.ok()) return progress.status();
          all->push_back(*std::move(progress));
        }
        return absl::OkStatus();
      },
      [all, done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return std::move(done)(std::move(status));
        std::move(done)(std::move(*all));
      });
}

void OffsetClient::Write(std::string shard, Term term, std::vector<QueueProgress> entries, index::DoneStatus done) {
  v1::WriteProgressRequest request;
  request.set_shard(std::move(shard));
  request.set_term(term.value);
  for (const QueueProgress& entry : entries) request.add_progress(index::Encode(entry));
  calls_->Unary<v1::WriteProgressRequest, v1::WriteProgressResponse>(
      "WriteProgress", std::move(request),
      [done = std::move(done)](absl::StatusOr<v1::WriteProgressResponse> response) mutable {
        std::move(done)(response.status());
      });
}

// --- Definitions.

namespace {

// Callbacks for the answers.
template <class Response>
auto TopicInto(index::Done<TopicDefinition> done) {
  return [done = std::move(done)](absl::StatusOr<Response> response) mutable {
    if (!response.ok()) return std::move(done)(response.status());
    std::move(done)(NotOurs(index::DecodeTopic(response->topic())));
  };
}
template <class Response>
auto GroupInto(index::Done<GroupDefinition> done) {
  return [done = std::move(done)](absl::StatusOr<Response> response) mutable {
    if (!response.ok()) return std::move(done)(response.status());
    std::move(done)(NotOurs(index::DecodeGroup(response->group())));
  };
}
template <class Response>
auto StatusInto(index::DoneStatus done) {
  return [done = std::move(done)](absl::StatusOr<Response> response) mutable { std::move(done)(response.status()); };
}

template <class Request>
Request Named(std::string name) {
  Request request;
  request.set_name(std::move(name));
  return request;
}
template <class Request>
Request WithTopic(const TopicDefinition& topic) {
  Request request;
  request.set_topic(index::Encode(topic));
  return request;
}
template <class Request>
Request WithGroup(const GroupDefinition& group) {
  Request request;
  request.set_group(index::Encode(group));
  return request;
}

}  // namespace

void OffsetClient::EnsureTopic(TopicDefinition topic, index::Done<TopicDefinition> done) {
  calls_->Unary<v1::EnsureTopicRequest, v1::EnsureTopicResponse>(
      "EnsureTopic", WithTopic<v1::EnsureTopicRequest>(topic), TopicInto<v1::EnsureTopicResponse>(std::move(done)));
}
void OffsetClient::UpdateTopic(TopicDefinition topic, index::Done<TopicDefinition> done) {
  calls_->Unary<v1::UpdateTopicRequest, v1::UpdateTopicResponse>(
      "UpdateTopic", WithTopic<v1::UpdateTopicRequest>(topic), TopicInto<v1::UpdateTopicResponse>(std::move(done)));
}
void OffsetClient::DeleteTopic(std::string name, index::DoneStatus done) {
  calls_->Unary<v1::DeleteTopicRequest, v1::DeleteTopicResponse>(
      "DeleteTopic", Named<v1::DeleteTopicRequest>(std::move(name)), StatusInto<v1::DeleteTopicResponse>(std::move(done)));
}
void OffsetClient::GetTopic(std::string name, index::Done<TopicDefinition> done) {
  calls_->Unary<v1::GetTopicRequest, v1::GetTopicResponse>(
      "GetTopic", Named<v1::GetTopicRequest>(std::move(name)), TopicInto<v1::GetTopicResponse>(std::move(done)));
}
void OffsetClient::ListTopics(index::Done<std::vector<TopicDefinition>> done) {
  auto all = std::make_shared<std::vector<TopicDefinition>>();
  calls_->Parts<v1::ListTopicsRequest, v1::ListTopicsResponse>(
      "ListTopics", {},
      [all](const v1::ListTopicsResponse& part) {
        for (const std::string& bytes : part.topics()) {
          absl::StatusOr<TopicDefinition> topic = NotOurs(index::DecodeTopic(bytes));
          if (!topic.ok()) return topic.status();
          all->push_back(*std::move(topic));
        }
        return absl::OkStatus();
      },
      [all, done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return std::move(done)(std::move(status));
        std::move(done)(std::move(*all));
      });
}

void OffsetClient::EnsureGroup(GroupDefinition group, index::Done<GroupDefinition> done) {
  calls_->Unary<v1::EnsureGroupRequest, v1::EnsureGroupResponse>(
      "EnsureGroup", WithGroup<v1::EnsureGroupRequest>(group), GroupInto<v1::EnsureGroupResponse>(std::move(done)));
}
void OffsetClient::UpdateGroup(GroupDefinition group, index::Done<GroupDefinition> done) {
  calls_->Unary<v1::UpdateGroupRequest, v1::UpdateGroupResponse>(
      "UpdateGroup", WithGroup<v1::UpdateGroupRequest>(group), GroupInto<v1::UpdateGroupResponse>(std::move(done)));
}
void OffsetClient::DeleteGroup(std::string name, index::DoneStatus done) {
  calls_->Unary<v1::DeleteGroupRequest, v1::DeleteGroupResponse>(
      "DeleteGroup", Named<v1::DeleteGroupRequest>(std::move(name)), StatusInto<v1::DeleteGroupResponse>(std::move(done)));
}
void OffsetClient::GetGroup(std::string name, index::Done<GroupDefinition> done) {
  calls_->Unary<v1::GetGroupRequest, v1::GetGroupResponse>(
      "GetGroup", Named<v1::GetGroupRequest>(std::move(name)), GroupInto<v1::GetGroupResponse>(std::move(done)));
}
void OffsetClient::ListGroups(index::Done<std::vector<GroupDefinition>> done) {
  auto all = std::make_shared<std::vector<GroupDefinition>>();
  calls_->Parts<v1::ListGroupsRequest, v1::ListGroupsResponse>(
      "ListGroups", {},
      [all](const v1::ListGroupsResponse& part) {
        for (const std::string& bytes : part.groups()) {
          absl::StatusOr<GroupDefinition> group = NotOurs(index::DecodeGroup(bytes));
          if (!group.ok()) return group.status();
          all->push_back(*std::move(group));
        }
        return absl::OkStatus();
      },
      [all, done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return std::move(done)(std::move(status));
        std::move(done)(std::move(*all));
      });
}

// --- Watches.

// One stream after the other: each begins with everything since the newest version that was seen.
class OffsetClient::RemoteWatch : public std::enable_shared_from_this<OffsetClient::RemoteWatch> {
 public:
  RemoteWatch(std::shared_ptr<Calls> calls, common::Executor& timers, OffsetClientOptions options, uint64_t since_version,
              absl::AnyInvocable<void(DefinitionEvent)> on_event)
      : calls_(std::move(calls)),
        timers_(timers),
        options_(options),
        backoff_(options.min_backoff),
        version_(since_version),
        on_event_(std::move(on_event)) {}

  void Open();
  // Waits for an event under way; none comes afterwards.
  void Close() {
    absl::MutexLock events(&event_mutex_);
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    if (stream_ != nullptr) stream_->Cancel();
  }

  class Handle : public DefinitionStore::Watch {
   public:
    explicit Handle(std::shared_ptr<RemoteWatch> watch) : watch_(std::move(watch)) {}
    ~Handle() override { watch_->Close(); }

   private:
    const std::shared_ptr<RemoteWatch> watch_;
  };

 private:
  class Stream;

  void OnConnected() {
    absl::MutexLock lock(&mutex_);
    backoff_ = options_.min_backoff;
  }
  void OnEvent(DefinitionEvent event) {
    absl::MutexLock events(&event_mutex_);
    {
      absl::MutexLock lock(&mutex_);
      if (closed_) return;
      version_ = std::max({version_, event.topic.version, event.group.version});
    }
    on_event_(std::move(event));
  }
  void OnEnd() {
    absl::Duration pause;
    {
      absl::MutexLock lock(&mutex_);
      stream_ = nullptr;
      if (closed_) return;
      pause = backoff_;
      backoff_ = std::min(2 * backoff_, options_.max_backoff);
    }
    timers_.After(pause, [weak = weak_from_this()] {
      if (const std::shared_ptr<RemoteWatch> watch = weak.lock()) watch->Open();
    });
  }

  const std::shared_ptr<Calls> calls_;
  common::Executor& timers_;
  const OffsetClientOptions options_;
  absl::Mutex event_mutex_;  // held while on_event_ runs; taken before mutex_
  absl::Mutex mutex_ ABSL_ACQUIRED_AFTER(event_mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<common::ClientStreamCall> stream_ ABSL_GUARDED_BY(mutex_);  // the one that is open
  absl::Duration backoff_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_);
  absl::AnyInvocable<void(DefinitionEvent)> on_event_ ABSL_GUARDED_BY(event_mutex_);
};

class OffsetClient::RemoteWatch::Stream final : public common::ClientStream<v1::WatchDefinitionsRequest, v1::WatchDefinitionsResponse> {
 public:
  explicit Stream(std::shared_ptr<RemoteWatch> watch) : ClientStream(watch->calls_->client(), "WatchDefinitions"), watch_(std::move(watch)) {}

 private:
  void OnHeaders() override { watch_->OnConnected(); }
  void OnMessage(v1::WatchDefinitionsResponse& message) override {
    // One that this version does not know is passed over: its author will not depend on us.
    if (absl::StatusOr<DefinitionEvent> event = FromProto(message); event.ok()) watch_->OnEvent(*std::move(event));
  }
  void OnEnd(const grpc::Status&) override { watch_->OnEnd(); }

  const std::shared_ptr<RemoteWatch> watch_;
};

void OffsetClient::RemoteWatch::Open() {
  auto stream = std::make_shared<Stream>(shared_from_this());
  v1::WatchDefinitionsRequest request;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    request.set_since_version(version_);
    stream_ = stream;
  }
  stream->WriteLast(request);
  stream->Start();
}

std::unique_ptr<index::DefinitionStore::Watch> OffsetClient::WatchDefinitions(
    uint64_t since_version, absl::AnyInvocable<void(DefinitionEvent)> on_event) {
  auto watch = std::make_shared<RemoteWatch>(calls_, timers_, options_, since_version, std::move(on_event));
  watch->Open();
  return std::make_unique<RemoteWatch::Handle>(std::move(watch));
}

}  // namespace fulmar::offset
