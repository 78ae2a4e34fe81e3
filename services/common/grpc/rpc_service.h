#ifndef FULMAR_COMMON_GRPC_RPC_SERVICE_H_
#define FULMAR_COMMON_GRPC_RPC_SERVICE_H_

#include <grpcpp/generic/async_generic_service.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "services/common/grpc/rpc_call.h"

namespace fulmar::common {

// A service whose methods take generated messages and run on the server's data-plane thread: one after the other, none may wait. What gRPC's
// callback services are, without their threads, which would take the events of the completion queue away from its own thread.
//
//   class Greeter final : public RpcService {
//    public:
//     Greeter() : RpcService("a.b.Greeter") {
//       AddUnary("Greet", &Greeter::Greet);
//       AddServerStream("Watch", &Greeter::Watch);
//       AddBidi("Talk", &Greeter::Talk);
//     }
//     void Greet(UnaryCall* call, const GreetRequest* request, GreetResponse* response);  // both stay until call->Finish()
//     void Watch(ServerCall* call, const WatchRequest* request);  // makes a ServerWriter<WatchResponse>; the request stays until OnDone()
//     void Talk(ServerCall* call);                                // makes a ServerStream<TalkRequest, TalkResponse>
//   };
//
// A request that cannot be parsed never reaches the method: UNIMPLEMENTED, as gRPC's callback services answer it.
// Borrowed by the server that it is added to; outlives its Shutdown().
class RpcService {
 public:
  // Begins one method's call; `request` null for a method that reads for itself. False: the request cannot be parsed.
  struct Method {
    bool reads_request = true;
    std::function<bool(ServerCall& call, grpc::ByteBuffer* request)> begin;
  };

  explicit RpcService(std::string name) : name_(std::move(name)) {}
  virtual ~RpcService() = default;
  RpcService(const RpcService&) = delete;
  RpcService& operator=(const RpcService&) = delete;

  // The full one, "apache.rocketmq.v2.MessagingService".
  const std::string& name() const { return name_; }
  // By the last part of their path.
  const absl::flat_hash_map<std::string, Method>& methods() const { return methods_; }

 protected:
  // In the constructor.
  template <class Self, class Request, class Response>
  void AddUnary(const std::string& method, void (Self::*handler)(UnaryCall*, const Request*, Response*)) {
    methods_[method] = {.begin = [self = static_cast<Self*>(this), handler](ServerCall& call, grpc::ByteBuffer* request) {
      auto typed = std::make_unique<TypedUnaryCall<Request, Response>>(call);
      if (!FromBytes(*request, typed->request)) return false;
      auto* const kept = typed.get();
      call.Keep(std::move(typed));
      (self->*handler)(kept, &kept->request, &kept->response);
      return true;
    }};
  }
  template <class Self, class Request>
  void AddServerStream(const std::string& method, void (Self::*handler)(ServerCall*, const Request*)) {
    methods_[method] = {.begin = [self = static_cast<Self*>(this), handler](ServerCall& call, grpc::ByteBuffer* request) {
      auto typed = std::make_unique<KeptRequest<Request>>();
      if (!FromBytes(*request, typed->request)) return false;
      auto* const kept = typed.get();
      call.Keep(std::move(typed));
      (self->*handler)(&call, &kept->request);
      return true;
    }};
  }
  template <class Self>
  void AddBidi(const std::string& method, void (Self::*handler)(ServerCall*)) {
    methods_[method] = {.reads_request = false, .begin = [self = static_cast<Self*>(this), handler](ServerCall& call, grpc::ByteBuffer*) {
      (self->*handler)(&call);
      return true;
    }};
  }

 private:
  template <class Request>
  struct KeptRequest final : ServerCall::Kept {
    Request request;
  };
  template <class Request, class Response_>
  struct TypedUnaryCall final : UnaryCall {
    explicit TypedUnaryCall(ServerCall& call) : UnaryCall(call) {}
    grpc::ByteBuffer Response() const override { return ToBytes(response); }
    Request request;
    Response_ response;
  };

  const std::string name_;
  absl::flat_hash_map<std::string, Method> methods_;
};

// Takes the calls of all RpcServices, and of methods that nobody serves, off one completion queue.
// Borrows: the executor and the services. Threads: Add() before the server starts; Start() and what follows on the executor.
class RpcDispatcher {
 public:
  explicit RpcDispatcher(CqExecutor& executor) : executor_(executor) {}

  // To be registered with the server's builder.
  grpc::AsyncGenericService& service() { return service_; }
  void Add(const RpcService& service);
  // Asks for the first calls; each call that comes asks for its successor.
  void Start();
  // After the server's shutdown, from any other thread: until every call has been answered by whoever owes it and is gone.
  void WaitUntilEmpty();

 private:
  void AskForOne();
  void OnBegun(ServerCall& call);

  CqExecutor& executor_;
  grpc::AsyncGenericService service_;
  absl::flat_hash_map<std::string, const RpcService::Method*> methods_;  // by path

  absl::Mutex mutex_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;  // asked for or open
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_RPC_SERVICE_H_
