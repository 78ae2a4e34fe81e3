#include "services/broker/shard_routes.h"

#include <utility>

namespace fulmar::broker {

registry::RouteBroker ShardRoutes::Self(int32_t queues, const std::vector<registry::Endpoint>& requested) const {
  const bool repeat = options_.repeat_requested && !requested.empty();
  return {.name = options_.shard_name, .endpoint = repeat ? requested.front() : options_.advertised, .queues = queues};
}

void ShardRoutes::QueryRoute(registry::RouteQuery query, absl::AnyInvocable<void(absl::StatusOr<registry::Route>) &&> done) {
  shard_.ResolveTopic(query.topic, [this, query, done = std::move(done)](absl::StatusOr<index::TopicDefinition> topic) mutable {
    if (!topic.ok()) return std::move(done)(topic.status());
    registry::Route route;
    route.brokers.push_back(Self(topic->queues, query.requested));
    route.topic = *std::move(topic);
    std::move(done)(std::move(route));
  });
}

void ShardRoutes::QueryAssignment(registry::AssignmentQuery query, absl::AnyInvocable<void(absl::StatusOr<registry::Assignment>) &&> done) {
  shard_.ResolveTopic(query.topic, [this, query, done = std::move(done)](absl::StatusOr<index::TopicDefinition> topic) mutable {
    if (!topic.ok()) return std::move(done)(topic.status());
    shard_.ResolveGroup(query.group, [this, query, topic = *std::move(topic), done = std::move(done)](absl::StatusOr<index::GroupDefinition> group) mutable {
      if (!group.ok()) return std::move(done)(group.status());
      registry::Assignment assignment;
      const registry::RouteBroker self = Self(topic.queues, query.requested);
      if (index::InOrder(*group, topic)) {
        for (int32_t queue = 0; queue < topic.queues; ++queue) assignment.queues.push_back({.broker = self, .queue = queue});
      } else {
        assignment.queues.push_back({.broker = self, .queue = -1});
      }
      assignment.topic = std::move(topic);
      std::move(done)(std::move(assignment));
    });
  });
}

}  // namespace fulmar::broker
