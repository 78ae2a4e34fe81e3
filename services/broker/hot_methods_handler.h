#ifndef FULMAR_BROKER_HOT_METHODS_HANDLER_H_
#define FULMAR_BROKER_HOT_METHODS_HANDLER_H_

#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/byte_buffer.h>

namespace fulmar::broker {

// SendMessage, ReceiveMessage and AckMessage as gRPC is told of them: registered, so that a request comes with its call in one event of the
// queue, and as bytes. The rest of the MessagingService is an RpcService.
class HotMethods final : public grpc::Service {
 public:
  HotMethods() {
    using grpc::internal::RpcMethod;
    Add("/apache.rocketmq.v2.MessagingService/SendMessage", RpcMethod::NORMAL_RPC);
    Add("/apache.rocketmq.v2.MessagingService/AckMessage", RpcMethod::NORMAL_RPC);
    Add("/apache.rocketmq.v2.MessagingService/ReceiveMessage", RpcMethod::SERVER_STREAMING);
    for (int i = 0; i < 3; ++i) MarkMethodRaw(i);
  }

  // Ask for one call each.
  void RequestSendMessage(grpc::ServerContext* context, grpc::ByteBuffer* request, grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>* response,
                          grpc::CompletionQueue* call_queue, grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncUnary(0, context, request, response, call_queue, queue, tag);
  }
  void RequestAckMessage(grpc::ServerContext* context, grpc::ByteBuffer* request, grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>* response,
                         grpc::CompletionQueue* call_queue, grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncUnary(1, context, request, response, call_queue, queue, tag);
  }
  void RequestReceiveMessage(grpc::ServerContext* context, grpc::ByteBuffer* request, grpc::ServerAsyncWriter<grpc::ByteBuffer>* writer,
                             grpc::CompletionQueue* call_queue, grpc::ServerCompletionQueue* queue, void* tag) {
    RequestAsyncServerStreaming(2, context, request, writer, call_queue, queue, tag);
  }

 private:
  void Add(const char* path, grpc::internal::RpcMethod::RpcType type) { AddMethod(new grpc::internal::RpcServiceMethod(path, type, nullptr)); }
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_HOT_METHODS_HANDLER_H_
