#ifndef FULMAR_COMMON_GRPC_GRPC_SERVER_H_
#define FULMAR_COMMON_GRPC_GRPC_SERVER_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/common/grpc/cq_executor.h"
#include "services/common/grpc/grpc_options.h"
#include "services/common/grpc/health_handler.h"
#include "services/common/grpc/listener.h"
#include "services/common/grpc/rpc_client.h"
#include "services/common/grpc/rpc_service.h"
#include "services/common/metrics.h"

namespace fulmar::common {

// A gRPC server on one port: plaintext and TLS side by side, health (grpc.health.v1), reflection, and one completion queue with its thread,
// which serves every method and carries the calls that this process makes itself. Nothing else in the process polls gRPC.
// Owns:    listener, server, data-plane thread. Borrows: services and metrics; they outlive it.
// Threads: everything from the thread that made it, except SetServing() from any.
class GrpcServer {
 public:
  // Binds the port, so that its number is known and a conflict is found first; nothing is accepted yet. Errors as Listener::Bind;
  // InvalidArgument for TLS without a certificate.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Create(GrpcServerOptions options, Metrics& metrics);
  ~GrpcServer();  // Shutdown(0)
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // Before Start(): its methods run on the data-plane thread.
  void AddService(const RpcService& service);
  // Before Start(): methods, of a service that was added above, whose calls are taken off the data plane's queue as bytes. Synchronous and
  // callback methods have no place here: their threads would take events from the data plane's.
  void AddRawMethods(grpc::Service& methods);

  // Health says NOT_SERVING for everything until told otherwise.
  absl::Status Start();
  // "" is the server as a whole. Services without a word of their own are unknown to health.
  void SetServing(std::string_view service, bool serving);
  // For all added services and the server as a whole.
  void SetAllServing(bool serving);

  // Where all calls are taken and answered. Its thread runs from Start() to Shutdown().
  CqExecutor& data_plane() { return *data_plane_; }
  // For the calls that this process makes itself: they go over the data plane's queue, too, and end with Shutdown().
  RpcClients& clients() { return *clients_; }
  int port() const { return listener_->port(); }

  // Takes no new connections and calls, gives those under way `grace`, then cancels them, and the calls of the clients, and waits for their
  // answers: whoever owes one must be able to give it until this returns. Twice is fine. Not on the data-plane thread.
  void Shutdown(absl::Duration grace);

 private:
  GrpcServer(GrpcServerOptions options, std::unique_ptr<Listener> listener);

  const GrpcServerOptions options_;
  const std::unique_ptr<Listener> listener_;
  grpc::ServerBuilder builder_;
  std::vector<std::string> names_;  // of the services added here
  std::vector<std::string> listed_;  // the same and the library's, for reflection
  std::unique_ptr<RpcService> reflection_v1_, reflection_v1alpha_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> plaintext_, tls_;
  std::unique_ptr<CqExecutor> data_plane_;
  std::unique_ptr<RpcDispatcher> dispatcher_;
  std::unique_ptr<RpcClients> clients_;
  HealthHandler health_;
  std::unique_ptr<grpc::Server> server_;
  bool stopped_ = false;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_GRPC_SERVER_H_
