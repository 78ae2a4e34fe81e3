#ifndef FULMAR_REGISTRY_REGISTRY_HANDLER_H_
#define FULMAR_REGISTRY_REGISTRY_HANDLER_H_

#include "services/common/grpc/open_calls.h"
#include "services/common/grpc/rpc_service.h"
#include "services/registry/route_table.h"

namespace fulmar::registry {

// Takes the announcements of brokers into the table. Borrows the table.
class RegistryHandler final : public common::RpcService {
 public:
  explicit RegistryHandler(RouteTable& table) : RpcService("fulmar.registry.v1.RegistryService"), table_(table) {
    AddBidi("Announce", &RegistryHandler::Announce);
  }

  // Ends the brokers' streams, which would keep a server from shutting down. They come again when there is a registry again.
  void Stop() { open_.CancelAll(); }

  void Announce(common::ServerCall* call);

 private:
  RouteTable& table_;
  common::OpenCalls open_;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_REGISTRY_HANDLER_H_
