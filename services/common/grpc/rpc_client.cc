#include "services/common/grpc/rpc_client.h"

#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>

#include "absl/strings/str_cat.h"

namespace fulmar::common {
namespace {

grpc::Status Closed() { return {grpc::StatusCode::CANCELLED, "the client is closed"}; }

// gRPC takes a time span as a deadline from now.
gpr_timespec Span(absl::Duration duration) { return gpr_time_from_millis(absl::ToInt64Milliseconds(duration), GPR_TIMESPAN); }

// Deletes itself when the call is done.
class UnaryClientCall final : public CqTag {
 public:
  UnaryClientCall(std::shared_ptr<ClientCalls> calls, std::shared_ptr<grpc::GenericStub> stub, std::string path, grpc::ByteBuffer request,
                  RpcClient::Done<grpc::ByteBuffer> done)
      : calls_(std::move(calls)), stub_(std::move(stub)), path_(std::move(path)), request_(std::move(request)), done_(std::move(done)) {}

  void Start(absl::Duration timeout) {
    if (timeout != absl::InfiniteDuration()) context_.set_deadline(Span(timeout));
    if (!calls_->Begin(context_)) {
      std::move(done_)(Closed(), context_, response_);
      delete this;
      return;
    }
    CqExecutor& executor = calls_->executor();
    if (executor.IsCurrent()) Call();
    else executor.Post([this] { Call(); });
  }

  void Run(bool) override {
    std::move(done_)(status_, context_, response_);
    calls_->End(context_);
    delete this;
  }

 private:
  void Call() {
    reader_ = stub_->PrepareUnaryCall(&context_, path_, request_, calls_->executor().queue());
    reader_->StartCall();
    reader_->Finish(&response_, &status_, this);
  }

  const std::shared_ptr<ClientCalls> calls_;
  const std::shared_ptr<grpc::GenericStub> stub_;
  const std::string path_;
  const grpc::ByteBuffer request_;
  RpcClient::Done<grpc::ByteBuffer> done_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
  grpc::ByteBuffer response_;
  grpc::Status status_;
};

}  // namespace

bool ClientCalls::Begin(grpc::ClientContext& context) {
  absl::MutexLock lock(&mutex_);
  if (closed_) return false;
  under_way_.insert(&context);
  return true;
}

void ClientCalls::End(grpc::ClientContext& context) {
  absl::MutexLock lock(&mutex_);
  under_way_.erase(&context);
}

void ClientCalls::CancelAll() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  for (grpc::ClientContext* context : under_way_) context->TryCancel();  // runs no reaction inside
}

void ClientCalls::WaitUntilEmpty() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(+[](absl::flat_hash_set<grpc::ClientContext*>* set) { return set->empty(); }, &under_way_));
}

std::shared_ptr<ClientCalls> RpcClients::MakeCalls() {
  auto calls = std::make_shared<ClientCalls>(executor_);
  absl::MutexLock lock(&mutex_);
  if (closed_) calls->CancelAll();
  std::erase_if(calls_, [](const std::weak_ptr<ClientCalls>& gone) { return gone.expired(); });
  calls_.push_back(calls);
  return calls;
}

void RpcClients::CancelAll() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  for (const std::weak_ptr<ClientCalls>& weak : calls_) {
    if (const std::shared_ptr<ClientCalls> calls = weak.lock()) calls->CancelAll();
  }
}

void RpcClients::WaitUntilEmpty() {
  std::vector<std::weak_ptr<ClientCalls>> all;
  {
    absl::MutexLock lock(&mutex_);
    all = calls_;
  }
  for (const std::weak_ptr<ClientCalls>& weak : all) {
    if (const std::shared_ptr<ClientCalls> calls = weak.lock()) calls->WaitUntilEmpty();
  }
}

RpcClient::RpcClient(RpcClients& clients, const std::shared_ptr<grpc::Channel>& channel, std::string service)
    : service_(std::move(service)), stub_(std::make_shared<grpc::GenericStub>(channel)), calls_(clients.MakeCalls()) {}

RpcClient::~RpcClient() { Close(); }

void RpcClient::Close() {
  calls_->CancelAll();
  calls_->WaitUntilEmpty();
}

std::string RpcClient::Path(const std::string& method) const { return absl::StrCat("/", service_, "/", method); }

void RpcClient::StartUnary(const std::string& method, grpc::ByteBuffer request, absl::Duration timeout, Done<grpc::ByteBuffer> done) {
  (new UnaryClientCall(calls_, stub_, Path(method), std::move(request), std::move(done)))->Start(timeout);
}

ClientStreamCall::ClientStreamCall(RpcClient& client, const std::string& method)
    : path_(client.Path(method)), stub_(client.stub_), calls_(client.calls_) {}

template <class Operation>
void ClientStreamCall::OnLoop(Operation operation) {
  if (calls_->executor().IsCurrent()) return operation();
  calls_->executor().Post([self = shared_from_this(), operation = std::move(operation)]() mutable { operation(); });
}

void ClientStreamCall::Start() {
  if (!calls_->Begin(context_)) return OnEnd(Closed());
  self_ = shared_from_this();
  OnLoop([this] {
    stream_ = stub_->PrepareCall(&context_, path_, calls_->executor().queue());
    ++under_way_;
    stream_->StartCall(&start_tag_);
  });
}

void ClientStreamCall::WriteBytes(grpc::ByteBuffer bytes, bool last) {
  ++unwritten_;
  OnLoop([this, bytes = std::move(bytes), last] {
    waiting_.push_back({bytes, last});
    WriteNext();
  });
}

void ClientStreamCall::WritesDone() {
  OnLoop([this] {
    writes_done_ = true;
    WriteNext();
  });
}

void ClientStreamCall::WriteNext() {
  if (!started_ || writing_ || finishing_) return;
  if (!waiting_.empty()) {
    writing_ = true;
    ++under_way_;
    grpc::WriteOptions options;
    if (waiting_.front().last) options.set_last_message();
    stream_->Write(waiting_.front().bytes, options, &write_tag_);
  } else if (std::exchange(writes_done_, false)) {
    writing_ = true;
    ++under_way_;
    stream_->WritesDone(&writes_done_tag_);
  }
}

void ClientStreamCall::OnStarted(bool ok) {
  --under_way_;
  if (!ok) return Finish();
  started_ = true;
  ++under_way_;
  stream_->ReadInitialMetadata(&headers_tag_);
  WriteNext();
}

void ClientStreamCall::OnHeadersRead(bool ok) {
  --under_way_;
  if (!ok) return Finish();
  OnHeaders();
  ++under_way_;
  stream_->Read(&read_, &read_tag_);
}

void ClientStreamCall::OnRead(bool ok) {
  --under_way_;
  if (!ok) return Finish();
  if (!Take(read_)) context_.TryCancel();  // ends it, in the reading that follows
  ++under_way_;
  stream_->Read(&read_, &read_tag_);
}

void ClientStreamCall::OnWritten(bool ok) {
  --under_way_;
  --unwritten_;
  writing_ = false;
  const bool last = waiting_.front().last;
  waiting_.pop_front();
  if (ok && !last) WriteNext();  // after a failed one the reading ends, too
  MaybeEnd();
}

void ClientStreamCall::OnWritesDone(bool) {
  --under_way_;
  MaybeEnd();
}

void ClientStreamCall::Finish() {
  finishing_ = true;
  ++under_way_;
  stream_->Finish(&status_, &finish_tag_);
}

void ClientStreamCall::OnFinished(bool) {
  --under_way_;
  MaybeEnd();
}

void ClientStreamCall::MaybeEnd() {
  if (!finishing_ || under_way_ != 0) return;
  const std::shared_ptr<ClientStreamCall> self = std::move(self_);
  if (self == nullptr) return;
  OnEnd(status_);
  calls_->End(context_);
}

}  // namespace fulmar::common
