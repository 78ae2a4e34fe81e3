#include "services/v2/telemetry_handler.h"

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "services/common/errors.h"
#include "services/common/log.h"
#include "services/common/status.h"
#include "services/v2/call_info_convert.h"

namespace fulmar::v2edge {
namespace {

// More settings or commands than that waiting for a client that does not read: the stream is ended.
constexpr size_t kMaxQueued = 64;
constexpr absl::Duration kLogPeriod = absl::Seconds(10);

grpc::Status ToGrpc(const absl::Status& status) {
  // A settings error must be a failed stream for Java and Go, and a command with a status for Node: they get both.
  const bool clients_fault = V2CodeOf(status) / 10'000 == 4;
  return {clients_fault ? grpc::StatusCode::INVALID_ARGUMENT : grpc::StatusCode::UNAVAILABLE, std::string(status.message())};
}

grpc::Status Stopping() { return {grpc::StatusCode::UNAVAILABLE, "the server is stopping"}; }

}  // namespace

// One stream. Commands and the end come from any thread, reactions on the data plane's, so the little that they share has a mutex.
class TelemetryHandler::Stream final : public common::ServerStream<pb::TelemetryCommand, pb::TelemetryCommand>,
                                       public std::enable_shared_from_this<Stream> {
 public:
  Stream(TelemetryHandler& owner, common::ServerCall& call)
      : ServerStream(call),
        owner_(owner),
        client_id_(CallInfoOf(call.context()).client_id),
        name_space_(CallInfoOf(call.context()).name_space),
        language_(CallInfoOf(call.context()).language) {}

  void Begin() {
    self_ = shared_from_this();
    StartSendInitialMetadata();  // at once: Rust waits for the headers before it does anything else
    if (client_id_.empty()) return Reject(errors::ClientIdRequired("the header x-mq-client-id is missing"));
    opened_ = true;
    owner_.host_.StreamOpened(info());
    owner_.Add(self_);
    ReadNext();
  }

  void Write(pb::TelemetryCommand command) {
    bool too_many = false;
    {
      absl::MutexLock lock(&mutex_);
      if (ending_.has_value()) return;
      too_many = queue_.size() >= kMaxQueued;
      if (!too_many) queue_.push_back(std::move(command));
    }
    if (too_many) End({grpc::StatusCode::RESOURCE_EXHAUSTED, "the client does not read its telemetry stream"});
    else Pump();
  }

  // Writes what waits, then ends the stream. Of several ends the first one counts.
  void End(grpc::Status status) {
    {
      absl::MutexLock lock(&mutex_);
      if (!ending_.has_value()) ending_ = std::move(status);
    }
    Pump();
  }

  const std::string& client_id() const { return client_id_; }

  void OnReadDone(bool ok) override {
    if (!ok) return End(grpc::Status::OK);  // the client is done or gone
    owner_.host_.ClientSeen(info(), group_);
    if (request_.has_settings()) return OnSettings();
    FULMAR_LOG(kDebug, "telemetry_answer", {{"client", client_id_}, {"command", static_cast<int>(request_.command_case())}, {"code", static_cast<int>(request_.status().code())}});
    ReadNext();
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) queue_.clear();
    }
    Pump();
  }

  void OnCancel() override { End(grpc::Status::CANCELLED); }

  void OnDone() override {
    if (opened_) {
      owner_.host_.StreamEnded(info());
      owner_.Remove(self_);
    }
    self_.reset();
  }

 private:
  CallInfo info() const { return {.client_id = client_id_, .name_space = name_space_, .language = language_}; }

  void OnSettings() {
    const absl::Status status =
        CheckSettings(request_.settings(), info(), [this](int32_t type, std::string_view expression) { return owner_.host_.CheckFilter(type, expression); });
    if (!status.ok()) return Reject(status);
    group_ = GroupOf(request_.settings(), info());
    if (group_.empty()) return Answer(nullptr);
    owner_.host_.ClientSeen(info(), group_);
    owner_.host_.ResolveConsumer(group_, TopicsOf(request_.settings(), info()), [self = shared_from_this()](absl::StatusOr<index::GroupDefinition> group) {
      if (group.ok()) self->Answer(&*group);
      else self->Reject(group.status());
    });
  }

  void Answer(const index::GroupDefinition* group) {
    pb::TelemetryCommand answer;
    SetStatus(absl::OkStatus(), answer.mutable_status());
    *answer.mutable_settings() = AnswerSettings(std::move(*request_.mutable_settings()), group, owner_.options_);
    Write(std::move(answer));
    ReadNext();
  }

  void Reject(const absl::Status& status) {
    FULMAR_LOG_EVERY(kLogPeriod, kWarn, "telemetry_refused", {{"client", client_id_}, {"group", group_}, {"reason", status}});
    pb::TelemetryCommand answer;
    SetStatus(status, answer.mutable_status());
    Write(std::move(answer));
    End(ToGrpc(status));
  }

  void ReadNext() {
    {
      absl::MutexLock lock(&mutex_);
      if (ending_.has_value()) return;
    }
    StartRead(&request_);
  }

  // Goes on with the one thing that may be under way: a write, or at last the end.
  void Pump() {
    std::optional<grpc::Status> finish;
    pb::TelemetryCommand next;
    {
      absl::MutexLock lock(&mutex_);
      if (writing_ || finished_) return;
      if (!queue_.empty()) {
        writing_ = true;
        next = std::move(queue_.front());
        queue_.pop_front();
      } else if (ending_.has_value()) {
        finished_ = true;
        finish = ending_;
      } else {
        return;
      }
    }
    if (finish.has_value()) Finish(*finish);
    else StartWrite(next);
  }

  TelemetryHandler& owner_;
  const std::string client_id_, name_space_, language_;
  bool opened_ = false;
  std::string group_;              // of the last settings; used by one read at a time
  pb::TelemetryCommand request_;   // the same
  std::shared_ptr<Stream> self_;   // until gRPC is done with it

  absl::Mutex mutex_;
  std::deque<pb::TelemetryCommand> queue_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<grpc::Status> ending_ ABSL_GUARDED_BY(mutex_);
};

TelemetryHandler::TelemetryHandler(SettingsOptions options, TelemetryHost& host) : options_(options), host_(host) {}

TelemetryHandler::~TelemetryHandler() {
  absl::MutexLock lock(&mutex_);
  FULMAR_CHECK(streams_.empty(), "a telemetry stream outlives its server");
}

void TelemetryHandler::Open(common::ServerCall& call) { std::make_shared<Stream>(*this, call)->Begin(); }

void TelemetryHandler::Add(std::shared_ptr<Stream> stream) {
  bool stopping = false;
  {
    absl::MutexLock lock(&mutex_);
    stopping = stopping_;
    newest_[stream->client_id()] = stream;
    streams_.insert(stream);
  }
  if (stopping) stream->End(Stopping());
}

void TelemetryHandler::Remove(const std::shared_ptr<Stream>& stream) {
  absl::MutexLock lock(&mutex_);
  streams_.erase(stream);
  if (const auto found = newest_.find(stream->client_id()); found != newest_.end() && found->second == stream) newest_.erase(found);
}

bool TelemetryHandler::Send(std::string_view client_id, pb::TelemetryCommand command) {
  std::shared_ptr<Stream> stream;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = newest_.find(client_id);
    if (found == newest_.end()) return false;
    stream = found->second;
  }
  stream->Write(std::move(command));
  return true;
}

void TelemetryHandler::Stop() {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    streams.assign(streams_.begin(), streams_.end());
  }
  for (const std::shared_ptr<Stream>& stream : streams) stream->End(Stopping());
}

size_t TelemetryHandler::streams() const {
  absl::MutexLock lock(&mutex_);
  return streams_.size();
}

}  // namespace fulmar::v2edge
