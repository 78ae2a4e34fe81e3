#ifndef FULMAR_COMMON_GRPC_RPC_CALL_H_
#define FULMAR_COMMON_GRPC_RPC_CALL_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <functional>
#include <memory>
#include <utility>

#include "services/common/grpc/cq_executor.h"
#include "services/common/grpc/rpc_bytes.h"

namespace fulmar::common {

class ServerReactor;

// One call of a method that an RpcService serves, from its request to gRPC's last word about it. It is what a reactor is made for; handlers
// otherwise meet it only as `call.context()`.
//
//   asked for ─► (the one request is read) ─► handler ─► operations and their reactions ─► finished and over ─► OnDone
//
// Owns:    itself, until it is over; a reactor keeps it as well. Borrows: the executor.
// Threads: operations from any thread: those that come from elsewhere than the queue's thread are posted to it, so an operation never reacts
//          inside its own call. What is asked for after the end was asked for is dropped.
class ServerCall final : public std::enable_shared_from_this<ServerCall> {
 public:
  // What lives as long as the call: a request, or a unary method's request, response and how to answer.
  class Kept {
   public:
    virtual ~Kept() = default;
  };

  explicit ServerCall(CqExecutor& executor) : executor_(executor) {}
  ServerCall(const ServerCall&) = delete;
  ServerCall& operator=(const ServerCall&) = delete;

  // Of any thread; the trailing metadata is to be set before the end is asked for.
  grpc::ServerContext& context() { return context_; }

  // One of each kind at a time; writes, and the end, go out in order.
  void SendInitialMetadata();
  void Read();
  void Write(grpc::ByteBuffer bytes);
  void Finish(grpc::Status status);
  // The end of a unary call. `answer` runs on the queue's thread, just before its bytes leave.
  void FinishWith(std::function<grpc::ByteBuffer()> answer);

  void Keep(std::unique_ptr<Kept> kept) { kept_ = std::move(kept); }
  CqExecutor& executor() { return executor_; }

 private:
  friend class RpcDispatcher;
  friend class ServerReactor;

  // Of the dispatcher. `begun` runs once, with false if the server stops before a call came; `over` after everything else.
  void Ask(grpc::AsyncGenericService& service, std::function<void(bool ok)> begun, std::function<void()> over);
  const std::string& method() const { return context_.method(); }
  // Reads the request of a method that has one.
  void ReadRequest(std::function<void(grpc::ByteBuffer* request)> got);

  // Runs on the queue's thread, at once if this is it.
  template <class Operation>
  void OnLoop(Operation operation) {
    if (executor_.IsCurrent()) return operation();
    executor_.Post([self = shared_from_this(), operation = std::move(operation)]() mutable { operation(); });
  }
  void OnBegun(bool ok);
  void OnMetadataSent(bool ok);
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnFinished(bool ok);
  void OnOver(bool ok);
  void MaybeRelease();

  CqExecutor& executor_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  std::function<void(bool)> begun_;
  std::function<void()> over_;
  std::function<void(grpc::ByteBuffer*)> got_request_;
  std::unique_ptr<Kept> kept_;
  ServerReactor* reactor_ = nullptr;
  grpc::ByteBuffer read_;

  OpTag<ServerCall, &ServerCall::OnBegun> begun_tag_{*this};
  OpTag<ServerCall, &ServerCall::OnMetadataSent> metadata_tag_{*this};
  OpTag<ServerCall, &ServerCall::OnRead> read_tag_{*this};
  OpTag<ServerCall, &ServerCall::OnWritten> write_tag_{*this};
  OpTag<ServerCall, &ServerCall::OnFinished> finish_tag_{*this};
  OpTag<ServerCall, &ServerCall::OnOver> over_tag_{*this};

  // Of the queue's thread.
  int under_way_ = 0;      // operations whose tag has not come back
  bool finishing_ = false;  // the end was asked for
  bool is_over_ = false;    // gRPC has told the end of the call
  std::shared_ptr<ServerCall> self_;
};

// A unary call that is owed an answer. The handler gets it with request and response, which stay until Finish().
class UnaryCall : public ServerCall::Kept {
 public:
  grpc::ServerContext& context() { return call_.context(); }
  // Once, from any thread: sends the response, or the status alone if it is an error. The call is gone afterwards.
  void Finish(grpc::Status status) {
    if (!status.ok()) return call_.Finish(std::move(status));
    call_.FinishWith([this] { return Response(); });
  }

 protected:
  explicit UnaryCall(ServerCall& call) : call_(call) {}

 private:
  virtual grpc::ByteBuffer Response() const = 0;
  ServerCall& call_;
};

// What happens to a streaming call. Reactions come on the queue's thread, one at a time, never inside an operation.
class ServerReactor {
 public:
  explicit ServerReactor(ServerCall& call) : call_(call.shared_from_this()) { call.reactor_ = this; }
  virtual ~ServerReactor() = default;
  ServerReactor(const ServerReactor&) = delete;
  ServerReactor& operator=(const ServerReactor&) = delete;

  // ok == false: nothing more will come (the client is done or gone), or what came is no such message.
  virtual void OnReadDone(bool /*ok*/) {}
  // ok == false: nothing more will go out.
  virtual void OnWriteDone(bool /*ok*/) {}
  // The call has ended by itself: the client cancelled or vanished, its deadline passed, the server stops. Finish() is still owed. Comes at
  // most once, and not after the end was asked for on the queue's thread.
  virtual void OnCancel() {}
  // The last reaction, after Finish() and once everything has come back. The reactor may delete itself.
  virtual void OnDone() = 0;

  // Any thread, like the other operations.
  void StartSendInitialMetadata() { call_->SendInitialMetadata(); }
  void Finish(grpc::Status status) { call_->Finish(std::move(status)); }
  // Ends the call as if the client had: OnCancel() follows.
  void Cancel() { call_->context().TryCancel(); }
  grpc::ServerContext& context() const { return call_->context(); }

 protected:
  ServerCall& call() const { return *call_; }

 private:
  friend class ServerCall;
  virtual bool Take(grpc::ByteBuffer&) { return false; }  // parses what was read
  const std::shared_ptr<ServerCall> call_;
};

// A method that answers one request with a stream.
template <class Response>
class ServerWriter : public ServerReactor {
 public:
  using ServerReactor::ServerReactor;
  // One at a time: the next after OnWriteDone(). `response` is not used after the return.
  void StartWrite(const Response& response) { call().Write(ToBytes(response)); }
};

// A method with streams in both directions.
template <class Request, class Response>
class ServerStream : public ServerWriter<Response> {
 public:
  using ServerWriter<Response>::ServerWriter;
  // One at a time. `request` is written before OnReadDone(true).
  void StartRead(Request* request) {
    request_ = request;
    this->call().Read();
  }

 private:
  bool Take(grpc::ByteBuffer& bytes) final { return FromBytes(bytes, *request_); }
  Request* request_ = nullptr;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_RPC_CALL_H_
