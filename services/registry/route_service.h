#ifndef FULMAR_REGISTRY_ROUTE_SERVICE_H_
#define FULMAR_REGISTRY_ROUTE_SERVICE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "services/index/ports.h"
#include "services/registry/route_source.h"
#include "services/registry/route_table.h"

namespace fulmar::registry {

// Whose address a route names: the broker's own, or the one that the client asked with (then one address in front of everything is
// enough: port mapping, NAT, a load balancer; every registry must be able to serve or forward what comes).
enum class RouteMode : uint8_t { kDirect, kGateway };

struct RouteServiceOptions {
  RouteMode mode = RouteMode::kDirect;
  bool auto_create_topics = true;
  bool auto_create_groups = true;
  int32_t auto_create_queues = 4;
};

// Answers routes and assignments from the table; asks the authority of definitions only for what no broker has announced.
// Borrows: table, definitions; both outlive it and every answer under way.
// Threads: any.
class RouteService : public RouteSource {
 public:
  RouteService(RouteServiceOptions options, RouteTable& table, index::DefinitionStore& definitions)
      : options_(options), table_(table), definitions_(definitions) {}

  void QueryRoute(RouteQuery query, absl::AnyInvocable<void(absl::StatusOr<Route>) &&> done) override;
  // Every consumer of a group gets every broker and they compete by receive; an ordered group gets one entry per queue.
  void QueryAssignment(AssignmentQuery query, absl::AnyInvocable<void(absl::StatusOr<Assignment>) &&> done) override;

 private:
  using TopicDone = absl::AnyInvocable<void(absl::StatusOr<index::TopicDefinition>) &&>;
  void FindTopic(const std::string& name, TopicDone done);
  absl::StatusOr<Route> RouteOf(const index::TopicDefinition& topic, const std::vector<Endpoint>& requested) const;

  const RouteServiceOptions options_;
  RouteTable& table_;
  index::DefinitionStore& definitions_;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ROUTE_SERVICE_H_
