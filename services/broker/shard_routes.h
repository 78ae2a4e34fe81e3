#ifndef FULMAR_BROKER_SHARD_ROUTES_H_
#define FULMAR_BROKER_SHARD_ROUTES_H_

#include "services/broker/shard.h"
#include "services/registry/route_source.h"

namespace fulmar::broker {

// Routes as one shard alone sees them: every topic that it holds, on itself. For a broker that clients ask directly (some ask the broker, not
// the registry, for assignments).
// Borrows: the shard. Threads: any; answers come on the shard's.
class ShardRoutes final : public registry::RouteSource {
 public:
  struct Options {
    std::string shard_name;
    registry::Endpoint advertised;
    bool repeat_requested = false;  // answer with the address that the client asked with, so that port mapping and NAT do not matter
  };
  ShardRoutes(Options options, Shard& shard) : options_(std::move(options)), shard_(shard) {}

  void QueryRoute(registry::RouteQuery query, absl::AnyInvocable<void(absl::StatusOr<registry::Route>) &&> done) override;
  // One entry for everything (queue -1) for a group without order, else one for each queue.
  void QueryAssignment(registry::AssignmentQuery query, absl::AnyInvocable<void(absl::StatusOr<registry::Assignment>) &&> done) override;

 private:
  registry::RouteBroker Self(int32_t queues, const std::vector<registry::Endpoint>& requested) const;

  const Options options_;
  Shard& shard_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SHARD_ROUTES_H_
