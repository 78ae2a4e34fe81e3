#ifndef FULMAR_REGISTRY_REGISTRY_HANDLER_H_
#define FULMAR_REGISTRY_REGISTRY_HANDLER_H_

#include "fulmar/registry/v1/registry.grpc.pb.h"
#include "services/common/grpc/open_calls.h"
#include "services/registry/route_table.h"

namespace fulmar::registry {

// Takes the announcements of brokers into the table. Borrows the table.
class RegistryHandler final : public v1::RegistryService::CallbackService {
 public:
  explicit RegistryHandler(RouteTable& table) : table_(table) {}

  // Ends the brokers' streams, which would keep a server from shutting down. They come again when there is a registry again.
  void Stop() { open_.CancelAll(); }

  grpc::ServerBidiReactor<v1::Announcement, v1::AnnounceReply>* Announce(grpc::CallbackServerContext* call) override;

 private:
  RouteTable& table_;
  common::OpenCalls open_;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_REGISTRY_HANDLER_H_
