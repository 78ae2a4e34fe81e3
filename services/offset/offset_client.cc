#include "services/offset/offset_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "fulmar/offset/v1/offset.grpc.pb.h"
#include "services/offset/offset_convert.h"

namespace fulmar::offset {

using index::DefinitionEvent;
using index::GroupDefinition;
using index::QueueProgress;
using index::TopicDefinition;

namespace {

using Async = v1::OffsetService::StubInterface::async_interface;

// gRPC takes a time span as a deadline from now.
gpr_timespec Span(absl::Duration duration) {
  return gpr_time_from_millis(absl::ToInt64Milliseconds(duration), GPR_TIMESPAN);
}

template <class T>
absl::StatusOr<T> NotOurs(const absl::StatusOr<T>& decoded) {
  if (decoded.ok()) return decoded;
  return absl::DataLossError(absl::StrCat("answer of the offset service: ", decoded.status().message()));
}

}  // namespace

// The stub, and the calls that are under way.
class OffsetClient::Calls : public std::enable_shared_from_this<OffsetClient::Calls> {
 public:
  Calls(std::shared_ptr<grpc::Channel> channel, absl::Duration timeout)
      : stub_(v1::OffsetService::NewStub(channel)), timeout_(timeout) {}

  // One request, one answer. `finish` gets OK and the answer, or the error.
  template <class Request, class Response>
  void Unary(void (Async::*method)(grpc::ClientContext*, const Request*, Response*, std::function<void(grpc::Status)>),
             Request request, absl::AnyInvocable<void(absl::StatusOr<Response>) &&> finish) {
    struct Call {
      grpc::ClientContext context;
      Request request;
      Response response;
      absl::AnyInvocable<void(absl::StatusOr<Response>) &&> finish;
    };
    auto call = std::make_shared<Call>();
    call->request = std::move(request);
    call->finish = std::move(finish);
    call->context.set_deadline(Span(timeout_));
    Begin(&call->context);
    (stub_->async()->*method)(&call->context, &call->request, &call->response,
                              [call, calls = shared_from_this()](const grpc::Status& status) {
                                if (status.ok()) {
                                  std::move(call->finish)(std::move(call->response));
                                } else {
                                  std::move(call->finish)(FromGrpc(status, call->context));
                                }
                                calls->End(&call->context);
                              });
  }

  // One request, an answer in parts; `add` gets each, its first error ends the call.
  template <class Part>
  class PartsReader;
  template <class Request, class Part>
  void Parts(void (Async::*method)(grpc::ClientContext*, const Request*, grpc::ClientReadReactor<Part>*), Request request,
             std::function<absl::Status(const Part&)> add, absl::AnyInvocable<void(absl::Status) &&> finish);

  Async& async() { return *stub_->async(); }

  void Begin(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    under_way_.insert(context);
    if (closed_) context->TryCancel();
  }
  void End(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    under_way_.erase(context);
  }
  void Close() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    for (grpc::ClientContext* context : under_way_) context->TryCancel();
    mutex_.Await(absl::Condition(+[](absl::flat_hash_set<grpc::ClientContext*>* set) { return set->empty(); }, &under_way_));
  }

 private:
  const std::unique_ptr<v1::OffsetService::Stub> stub_;
  const absl::Duration timeout_;
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<grpc::ClientContext*> under_way_ ABSL_GUARDED_BY(mutex_);
};

// Deletes itself when the call is done.
template <class Part>
class OffsetClient::Calls::PartsReader final : public grpc::ClientReadReactor<Part> {
 public:
  PartsReader(std::shared_ptr<Calls> calls, std::function<absl::Status(const Part&)> add,
              absl::AnyInvocable<void(absl::Status) &&> finish)
      : calls_(std::move(calls)), add_(std::move(add)), finish_(std::move(finish)) {}

  template <class Request, class Method>
  void Start(Method method, Request request, absl::Duration timeout) {
    auto kept = std::make_shared<Request>(std::move(request));
    request_ = kept;
    context_.set_deadline(Span(timeout));
    calls_->Begin(&context_);
    (calls_->async().*method)(&context_, kept.get(), this);
    this->StartRead(&part_);
    this->StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone follows
    if (status_.ok()) status_ = add_(part_);
    this->StartRead(&part_);
  }
  void OnDone(const grpc::Status& status) override {
    std::move(finish_)(status.ok() ? status_ : FromGrpc(status, context_));
    calls_->End(&context_);
    delete this;
  }

 private:
  const std::shared_ptr<Calls> calls_;
  const std::function<absl::Status(const Part&)> add_;
  absl::AnyInvocable<void(absl::Status) &&> finish_;
  grpc::ClientContext context_;
  std::shared_ptr<void> request_;
  Part part_;
  absl::Status status_;
};

template <class Request, class Part>
void OffsetClient::Calls::Parts(void (Async::*method)(grpc::ClientContext*, const Request*, grpc::ClientReadReactor<Part>*),
                                Request request, std::function<absl::Status(const Part&)> add,
                                absl::AnyInvocable<void(absl::Status) &&> finish) {
  auto* reader = new PartsReader<Part>(shared_from_this(), std::move(add), std::move(finish));
  reader->Start(method, std::move(request), timeout_);
}

OffsetClient::OffsetClient(std::shared_ptr<grpc::Channel> channel, common::Executor& timers, OffsetClientOptions options)
    : options_(options), timers_(timers), calls_(std::make_shared<Calls>(std::move(channel), options.call_timeout)) {}

OffsetClient::~OffsetClient() { calls_->Close(); }

// --- Progress.

void OffsetClient::Claim(std::string shard, Term term, index::Done<std::vector<QueueProgress>> done) {
  v1::ClaimRequest request;
  request.set_shard(std::move(shard));
  request.set_term(term.value);
  auto all = std::make_shared<std::vector<QueueProgress>>();
  calls_->Parts<v1::ClaimRequest, v1::ClaimResponse>(
      &Async::Claim, std::move(request),
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
      &Async::WriteProgress, std::move(request),
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
      &Async::EnsureTopic, WithTopic<v1::EnsureTopicRequest>(topic), TopicInto<v1::EnsureTopicResponse>(std::move(done)));
}
void OffsetClient::UpdateTopic(TopicDefinition topic, index::Done<TopicDefinition> done) {
  calls_->Unary<v1::UpdateTopicRequest, v1::UpdateTopicResponse>(
      &Async::UpdateTopic, WithTopic<v1::UpdateTopicRequest>(topic), TopicInto<v1::UpdateTopicResponse>(std::move(done)));
}
void OffsetClient::DeleteTopic(std::string name, index::DoneStatus done) {
  calls_->Unary<v1::DeleteTopicRequest, v1::DeleteTopicResponse>(
      &Async::DeleteTopic, Named<v1::DeleteTopicRequest>(std::move(name)), StatusInto<v1::DeleteTopicResponse>(std::move(done)));
}
void OffsetClient::GetTopic(std::string name, index::Done<TopicDefinition> done) {
  calls_->Unary<v1::GetTopicRequest, v1::GetTopicResponse>(
      &Async::GetTopic, Named<v1::GetTopicRequest>(std::move(name)), TopicInto<v1::GetTopicResponse>(std::move(done)));
}
void OffsetClient::ListTopics(index::Done<std::vector<TopicDefinition>> done) {
  auto all = std::make_shared<std::vector<TopicDefinition>>();
  calls_->Parts<v1::ListTopicsRequest, v1::ListTopicsResponse>(
      &Async::ListTopics, {},
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
      &Async::EnsureGroup, WithGroup<v1::EnsureGroupRequest>(group), GroupInto<v1::EnsureGroupResponse>(std::move(done)));
}
void OffsetClient::UpdateGroup(GroupDefinition group, index::Done<GroupDefinition> done) {
  calls_->Unary<v1::UpdateGroupRequest, v1::UpdateGroupResponse>(
      &Async::UpdateGroup, WithGroup<v1::UpdateGroupRequest>(group), GroupInto<v1::UpdateGroupResponse>(std::move(done)));
}
void OffsetClient::DeleteGroup(std::string name, index::DoneStatus done) {
  calls_->Unary<v1::DeleteGroupRequest, v1::DeleteGroupResponse>(
      &Async::DeleteGroup, Named<v1::DeleteGroupRequest>(std::move(name)), StatusInto<v1::DeleteGroupResponse>(std::move(done)));
}
void OffsetClient::GetGroup(std::string name, index::Done<GroupDefinition> done) {
  calls_->Unary<v1::GetGroupRequest, v1::GetGroupResponse>(
      &Async::GetGroup, Named<v1::GetGroupRequest>(std::move(name)), GroupInto<v1::GetGroupResponse>(std::move(done)));
}
void OffsetClient::ListGroups(index::Done<std::vector<GroupDefinition>> done) {
  auto all = std::make_shared<std::vector<GroupDefinition>>();
  calls_->Parts<v1::ListGroupsRequest, v1::ListGroupsResponse>(
      &Async::ListGroups, {},
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
    if (context_ != nullptr) context_->TryCancel();
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
      context_ = nullptr;
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
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;  // of the stream that is open
  absl::Duration backoff_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_);
  absl::AnyInvocable<void(DefinitionEvent)> on_event_ ABSL_GUARDED_BY(event_mutex_);
};

// Deletes itself when the call is done.
class OffsetClient::RemoteWatch::Stream final : public grpc::ClientReadReactor<v1::WatchDefinitionsResponse> {
 public:
  Stream(std::shared_ptr<RemoteWatch> watch, uint64_t since_version) : watch_(std::move(watch)) {
    request_.set_since_version(since_version);
  }
  grpc::ClientContext& context() { return context_; }
  void Start() {
    watch_->calls_->Begin(&context_);
    watch_->calls_->async().WatchDefinitions(&context_, &request_, this);
    StartRead(&event_);
    StartCall();
  }
  void OnReadInitialMetadataDone(bool ok) override {
    if (ok) watch_->OnConnected();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone follows
    // One that this version does not know is passed over: its author will not depend on us.
    if (absl::StatusOr<DefinitionEvent> event = FromProto(event_); event.ok()) watch_->OnEvent(*std::move(event));
    StartRead(&event_);
  }
  void OnDone(const grpc::Status&) override {
    watch_->OnEnd();
    watch_->calls_->End(&context_);
    delete this;
  }

 private:
  const std::shared_ptr<RemoteWatch> watch_;
  grpc::ClientContext context_;
  v1::WatchDefinitionsRequest request_;
  v1::WatchDefinitionsResponse event_;
};

void OffsetClient::RemoteWatch::Open() {
  Stream* stream;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    stream = new Stream(shared_from_this(), version_);
    context_ = &stream->context();
  }
  stream->Start();
}

std::unique_ptr<index::DefinitionStore::Watch> OffsetClient::WatchDefinitions(
    uint64_t since_version, absl::AnyInvocable<void(DefinitionEvent)> on_event) {
  auto watch = std::make_shared<RemoteWatch>(calls_, timers_, options_, since_version, std::move(on_event));
  watch->Open();
  return std::make_unique<RemoteWatch::Handle>(std::move(watch));
}

}  // namespace fulmar::offset
