#ifndef FULMAR_TOOLS_BENCH_CALLS_H_
#define FULMAR_TOOLS_BENCH_CALLS_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace fulmar::bench {

// What waits for an event of the completion queue.
class Event {
 public:
  virtual void Happened(bool ok) = 0;

 protected:
  ~Event() = default;
};

// Several connections to one server and the one thread that handles every answer.
// On a machine that client and server share, what the client burns is missing at the server: requests are bytes made beforehand,
// and there is one completion queue polled by one thread, the cheapest form of the library.
class Engine {
 public:
  Engine(std::string endpoint, int connections);
  ~Engine();  // the calls have ended before
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // From now on events are handled, on a thread of their own.
  void Run();
  // Waits for the thread; every call must have ended, or will.
  void Finish();

  grpc::GenericStub& stub(int connection) { return *stubs_[static_cast<size_t>(connection) % stubs_.size()]; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channels_.front(); }
  grpc::CompletionQueue& queue() { return queue_; }
  // Runs `task` soon on the engine's thread. Any thread.
  void Post(absl::AnyInvocable<void() &&> task);
  // Metadata that the protocol asks of every call.
  void Prepare(grpc::ClientContext& context) const;
  // False when the server cannot be reached within `timeout`.
  bool WaitConnected(absl::Duration timeout);

 private:
  const std::string client_id_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  grpc::CompletionQueue queue_;
  std::thread thread_;
};

// One unary call at a time, again and again.
class UnaryCall : private Event {
 public:
  virtual ~UnaryCall() = default;

 protected:
  // `method`: "SendMessage". Done() follows on the engine's thread.
  void Start(Engine& engine, int connection, const char* method, const grpc::ByteBuffer& request, absl::Duration timeout);
  virtual void Done(const grpc::Status& status, grpc::ByteBuffer& answer) = 0;

 private:
  void Happened(bool ok) final;

  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
  grpc::ByteBuffer answer_;
  grpc::Status status_;
};

// One call with a stream of answers at a time, again and again.
class StreamCall : private Event {
 public:
  virtual ~StreamCall() = default;
  // The call ends soon with CANCELLED. Any thread, but not before Start() has returned.
  void Cancel();

 protected:
  void Start(Engine& engine, int connection, const char* method, const grpc::ByteBuffer& request);
  virtual void Answer(grpc::ByteBuffer& answer) = 0;
  virtual void Done(const grpc::Status& status) = 0;

 private:
  enum class State { kSending, kReading, kFinishing };
  void Happened(bool ok) final;

  State state_ = State::kSending;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  grpc::ByteBuffer answer_;
  grpc::Status status_;
};

grpc::ByteBuffer ToBuffer(const std::string& bytes);

// False when the bytes are not a `Message`. Takes the buffer's content.
template <class Message>
bool Parse(grpc::ByteBuffer& buffer, Message& message) {
  return grpc::SerializationTraits<Message>::Deserialize(&buffer, &message).ok();
}

std::shared_ptr<grpc::Channel> NewChannel(const std::string& endpoint);

}  // namespace fulmar::bench

#endif  // FULMAR_TOOLS_BENCH_CALLS_H_
