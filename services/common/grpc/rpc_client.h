#ifndef FULMAR_COMMON_GRPC_RPC_CLIENT_H_
#define FULMAR_COMMON_GRPC_RPC_CLIENT_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "services/common/grpc/cq_executor.h"
#include "services/common/grpc/rpc_bytes.h"

namespace fulmar::common {

class RpcClient;
class ClientStreamCall;

// The calls of one client that are under way. Shared with them.
class ClientCalls {
 public:
  explicit ClientCalls(CqExecutor& executor) : executor_(executor) {}

  // False: the client is closed, and the call must not begin.
  bool Begin(grpc::ClientContext& context);
  void End(grpc::ClientContext& context);
  // Refuses further calls and cancels those under way.
  void CancelAll();
  // Until the callbacks of all calls have run.
  void WaitUntilEmpty();
  CqExecutor& executor() { return executor_; }

 private:
  CqExecutor& executor_;
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<grpc::ClientContext*> under_way_ ABSL_GUARDED_BY(mutex_);
};

// All clients of a process that make their calls on one executor, so that they are closed before its queue is. Borrows: the executor.
// Threads: any.
class RpcClients {
 public:
  explicit RpcClients(CqExecutor& executor) : executor_(executor) {}
  // As ClientCalls, for all of them. A client that is made later is closed from the beginning.
  void CancelAll();
  void WaitUntilEmpty();

 private:
  friend class RpcClient;
  std::shared_ptr<ClientCalls> MakeCalls();

  CqExecutor& executor_;
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::weak_ptr<ClientCalls>> calls_ ABSL_GUARDED_BY(mutex_);
};

// Calls one service at the other end of a channel over the executor's completion queue: what gRPC's callback stubs do, without their threads.
// Owns:    its calls; the destructor cancels them and waits until their callbacks have run. Borrows: the executor behind `clients`.
// Threads: any, except the destructor: not the executor's. Callbacks run on the executor and must not wait; only those of a client that is
//          closed already run inside the call, with CANCELLED.
class RpcClient {
 public:
  // The end of a call. The context has the trailing metadata.
  template <class Response>
  using Done = absl::AnyInvocable<void(const grpc::Status& status, const grpc::ClientContext& context, Response& response) &&>;

  // `service` is the full name, "fulmar.offset.v1.OffsetService".
  RpcClient(RpcClients& clients, const std::shared_ptr<grpc::Channel>& channel, std::string service);
  ~RpcClient();
  RpcClient(const RpcClient&) = delete;
  RpcClient& operator=(const RpcClient&) = delete;

  // What the destructor does, for clients that are shared. Twice is fine.
  void Close();

  // One request, one response. `done` exactly once.
  template <class Response, class Request>
  void Unary(const std::string& method, const Request& request, absl::Duration timeout, Done<Response> done) {
    StartUnary(method, ToBytes(request), timeout,
               [done = std::move(done)](const grpc::Status& status, const grpc::ClientContext& context, grpc::ByteBuffer& bytes) mutable {
                 Response response;
                 if (status.ok() && !FromBytes(bytes, response)) return std::move(done)(NoResponse(), context, response);
                 std::move(done)(status, context, response);
               });
  }

 private:
  friend class ClientStreamCall;
  static grpc::Status NoResponse() { return {grpc::StatusCode::INTERNAL, "the response cannot be parsed"}; }
  void StartUnary(const std::string& method, grpc::ByteBuffer request, absl::Duration timeout, Done<grpc::ByteBuffer> done);
  std::string Path(const std::string& method) const;

  const std::string service_;
  const std::shared_ptr<grpc::GenericStub> stub_;
  const std::shared_ptr<ClientCalls> calls_;
};

// One streaming call. It reads by itself until the other side has ended.
//   Start() ─► OnHeaders() once the other side has accepted the call ─► OnMessage() each ─► OnEnd() always, once
// Owns:    itself between Start() and OnEnd(). Borrows: nothing; it may outlive its client, which then has cancelled it.
// Threads: operations from any; reactions on the executor.
class ClientStreamCall : public std::enable_shared_from_this<ClientStreamCall> {
 public:
  virtual ~ClientStreamCall() = default;
  ClientStreamCall(const ClientStreamCall&) = delete;
  ClientStreamCall& operator=(const ClientStreamCall&) = delete;

  // To be set before Start().
  grpc::ClientContext& context() { return context_; }
  // Once. On a client that is closed OnEnd() comes inside, with CANCELLED.
  void Start();
  // Nothing more will be written.
  void WritesDone();
  // OnEnd() follows with CANCELLED, unless the call has ended otherwise. After the end nothing happens.
  void Cancel() { context_.TryCancel(); }
  // How many writes have not gone out yet.
  int unwritten() const { return unwritten_.load(); }

 protected:
  ClientStreamCall(RpcClient& client, const std::string& method);
  void WriteBytes(grpc::ByteBuffer bytes, bool last);

 private:
  virtual void OnHeaders() {}
  virtual bool Take(grpc::ByteBuffer& bytes) = 0;
  virtual void OnEnd(const grpc::Status& status) = 0;

  struct Waiting {
    grpc::ByteBuffer bytes;
    bool last = false;
  };
  template <class Operation>
  void OnLoop(Operation operation);
  void OnStarted(bool ok);
  void OnHeadersRead(bool ok);
  void OnRead(bool ok);
  void OnWritten(bool ok);
  void OnWritesDone(bool ok);
  void OnFinished(bool ok);
  void WriteNext();
  void Finish();
  void MaybeEnd();

  const std::string path_;
  const std::shared_ptr<grpc::GenericStub> stub_;
  const std::shared_ptr<ClientCalls> calls_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  grpc::ByteBuffer read_;
  grpc::Status status_;

  OpTag<ClientStreamCall, &ClientStreamCall::OnStarted> start_tag_{*this};
  OpTag<ClientStreamCall, &ClientStreamCall::OnHeadersRead> headers_tag_{*this};
  OpTag<ClientStreamCall, &ClientStreamCall::OnRead> read_tag_{*this};
  OpTag<ClientStreamCall, &ClientStreamCall::OnWritten> write_tag_{*this};
  OpTag<ClientStreamCall, &ClientStreamCall::OnWritesDone> writes_done_tag_{*this};
  OpTag<ClientStreamCall, &ClientStreamCall::OnFinished> finish_tag_{*this};

  std::atomic<int> unwritten_ = 0;
  // Of the executor.
  std::deque<Waiting> waiting_;  // the front may be being written
  bool started_ = false;
  bool writing_ = false;         // a write, or their end, is out
  bool writes_done_ = false;     // to be told, or told
  bool finishing_ = false;
  int under_way_ = 0;
  std::shared_ptr<ClientStreamCall> self_;
};

// To be derived from and made with std::make_shared.
template <class Request, class Response>
class ClientStream : public ClientStreamCall {
 public:
  ClientStream(RpcClient& client, const std::string& method) : ClientStreamCall(client, method) {}
  // In the order of their calls. Nothing holds a caller back: unwritten() tells one that wants to know.
  void Write(const Request& request) { WriteBytes(ToBytes(request), false); }
  // The same with WritesDone(), in one packet.
  void WriteLast(const Request& request) { WriteBytes(ToBytes(request), true); }

 private:
  virtual void OnMessage(Response& response) = 0;
  bool Take(grpc::ByteBuffer& bytes) final {
    Response response;
    if (!FromBytes(bytes, response)) return false;
    OnMessage(response);
    return true;
  }
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_RPC_CLIENT_H_
