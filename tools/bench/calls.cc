#include "tools/bench/calls.h"

#include <grpcpp/alarm.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace fulmar::bench {
namespace {

std::string PathOf(const char* method) { return absl::StrCat("/apache.rocketmq.v2.MessagingService/", method); }

class PostedTask final : public Event {
 public:
  PostedTask(grpc::CompletionQueue& queue, absl::AnyInvocable<void() &&> task) : task_(std::move(task)) {
    alarm_.Set(&queue, gpr_time_0(GPR_CLOCK_MONOTONIC), static_cast<Event*>(this));
  }
  void Happened(bool /*ok*/) override {
    std::move(task_)();
    delete this;
  }

 private:
  absl::AnyInvocable<void() &&> task_;
  grpc::Alarm alarm_;
};

std::chrono::system_clock::time_point In(absl::Duration timeout) { return absl::ToChronoTime(absl::Now() + timeout); }

}  // namespace

std::shared_ptr<grpc::Channel> NewChannel(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  // Channels with equal arguments share a connection otherwise.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes.data(), bytes.size());
  return grpc::ByteBuffer(&slice, 1);
}

Engine::Engine(std::string endpoint, int connections)
    : client_id_(absl::StrCat("localhost@", getpid(), "@fulmar-bench@", absl::Hex(absl::ToUnixMicros(absl::Now())))) {
  for (int i = 0; i < connections; ++i) {
    channels_.push_back(NewChannel(endpoint));
    stubs_.push_back(std::make_unique<grpc::GenericStub>(channels_.back()));
  }
}

Engine::~Engine() {
  Finish();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

void Engine::Prepare(grpc::ClientContext& context) const {
  context.AddMetadata("x-mq-client-id", client_id_);
  context.AddMetadata("x-mq-language", "CPP");
  context.AddMetadata("x-mq-client-version", "fulmar-bench");
  context.AddMetadata("x-mq-protocol-version", "v2");
}

bool Engine::WaitConnected(absl::Duration timeout) {
  const auto deadline = In(timeout);
  for (const auto& channel : channels_) {
    if (!channel->WaitForConnected(deadline)) return false;
  }
  return true;
}

void Engine::Run() {
  thread_ = std::thread([this] {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) static_cast<Event*>(tag)->Happened(ok);
  });
}

void Engine::Post(absl::AnyInvocable<void() &&> task) { new PostedTask(queue_, std::move(task)); }

void Engine::Finish() {
  if (!thread_.joinable()) {
    queue_.Shutdown();
    return;
  }
  queue_.Shutdown();
  thread_.join();
}

void UnaryCall::Start(Engine& engine, int connection, const char* method, const grpc::ByteBuffer& request, absl::Duration timeout) {
  context_.emplace();
  context_->set_deadline(In(timeout));
  engine.Prepare(*context_);
  answer_.Clear();
  reader_ = engine.stub(connection).PrepareUnaryCall(&*context_, PathOf(method), request, &engine.queue());
  reader_->StartCall();
  reader_->Finish(&answer_, &status_, static_cast<Event*>(this));
}

void UnaryCall::Happened(bool /*ok: always, for Finish*/) {
  reader_.reset();  // lies in memory of the call, which goes with the context
  Done(status_, answer_);
}

void StreamCall::Start(Engine& engine, int connection, const char* method, const grpc::ByteBuffer& request) {
  stream_.reset();  // lies in memory of the call, which goes with the context
  context_.emplace();
  engine.Prepare(*context_);
  // The headers wait for the request, so that both leave in one write.
  context_->set_initial_metadata_corked(true);
  state_ = State::kSending;
  stream_ = engine.stub(connection).PrepareCall(&*context_, PathOf(method), &engine.queue());
  stream_->StartCall(nullptr);  // corked: nobody is told
  stream_->WriteLast(request, grpc::WriteOptions(), static_cast<Event*>(this));
}

void StreamCall::Cancel() { context_->TryCancel(); }

void StreamCall::Happened(bool ok) {
  switch (state_) {
    case State::kSending:
      state_ = State::kReading;
      if (ok) return stream_->Read(&answer_, static_cast<Event*>(this));
      break;
    case State::kReading:
      if (ok) {
        Answer(answer_);
        return stream_->Read(&answer_, static_cast<Event*>(this));
      }
      break;
    case State::kFinishing:
      return Done(status_);
  }
  state_ = State::kFinishing;
  stream_->Finish(&status_, static_cast<Event*>(this));
}

}  // namespace fulmar::bench
