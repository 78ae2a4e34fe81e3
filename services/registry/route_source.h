#ifndef FULMAR_REGISTRY_ROUTE_SOURCE_H_
#define FULMAR_REGISTRY_ROUTE_SOURCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "services/index/definitions.h"

namespace fulmar::registry {

enum class AddressScheme : uint8_t { kIpv4 = 1, kIpv6 = 2, kDomainName = 3 };  // v2 numbers

struct Endpoint {
  AddressScheme scheme = AddressScheme::kIpv4;
  std::string host;
  int32_t port = 0;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};
// "host:port", "[::1]:port"; the scheme follows from the host. InvalidArgument says what was expected.
absl::StatusOr<Endpoint> ParseEndpoint(std::string_view text);
std::string ToString(const Endpoint& endpoint);

// One broker shard that holds the topic, as a client may use it: always the leader (broker id 0).
struct RouteBroker {
  std::string name;   // the shard
  Endpoint endpoint;  // exactly one address (wire/pitfalls B6)
  int32_t queues = 0; // ids 0 .. queues-1, all READ_WRITE
};

// Stable in order and content between answers while nothing changed (the order is a hash ring for clients).
struct Route {
  index::TopicDefinition topic;
  std::vector<RouteBroker> brokers;  // never empty
};

struct RouteQuery {
  std::string topic;                // whole name
  std::vector<Endpoint> requested;  // the access point as the client spelled it; repeated in answers in gateway mode
};

struct AssignmentQuery {
  std::string topic, group;
  std::vector<Endpoint> requested;
};
struct AssignedQueue {
  RouteBroker broker;
  int32_t queue = -1;  // -1: any queue of that broker
};
struct Assignment {
  index::TopicDefinition topic;
  std::vector<AssignedQueue> queues;
};

// Answers where topics are. Threads: any; callbacks once, on any thread, maybe inside the call.
// Errors: TopicNotFound, IllegalTopic, ConsumerGroupNotFound, HaNotAvailable (no shard of the topic is there now).
class RouteSource {
 public:
  virtual ~RouteSource() = default;
  virtual void QueryRoute(RouteQuery query, absl::AnyInvocable<void(absl::StatusOr<Route>) &&> done) = 0;
  virtual void QueryAssignment(AssignmentQuery query, absl::AnyInvocable<void(absl::StatusOr<Assignment>) &&> done) = 0;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ROUTE_SOURCE_H_
