#include "services/registry/route_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::registry {

void RouteService::FindTopic(const std::string& name, TopicDone done) {
  if (std::optional<index::TopicDefinition> known = table_.FindTopic(name)) return std::move(done)(*std::move(known));
  // Dead-letter topics are made by the broker that needs them, never by somebody's look, and break the rules for clients' names.
  const bool dead_letters = name.starts_with(index::kDeadLetterPrefix);
  if (absl::Status legal = dead_letters ? absl::OkStatus() : index::CheckTopicName(name); !legal.ok()) {
    return std::move(done)(std::move(legal));
  }
  const bool create = options_.auto_create_topics && !dead_letters;
  auto learn = [this, name, done = std::move(done)](absl::StatusOr<index::TopicDefinition> topic) mutable {
    if (topic.ok()) {
      table_.Learn(*topic);
    } else if (absl::IsNotFound(topic.status())) {
      topic = errors::TopicNotFound(absl::StrCat("topic '", name, "' does not exist"));
    }
    std::move(done)(std::move(topic));
  };
  if (!create) return definitions_.GetTopic(name, std::move(learn));
  index::TopicDefinition wanted;
  wanted.name = name;
  wanted.queues = options_.auto_create_queues;
  definitions_.EnsureTopic(std::move(wanted), std::move(learn));
}

absl::StatusOr<Route> RouteService::RouteOf(const index::TopicDefinition& topic, const std::vector<Endpoint>& requested) const {
  Route route{.topic = topic, .brokers = {}};
  for (const BrokerView& leader : table_.Leaders(topic.shards)) {
    // One address each: several confuse clients (Node joins them to one bad target).
    const bool repeat = options_.mode == RouteMode::kGateway && !requested.empty() && requested.front().port > 0;
    route.brokers.push_back({leader.shard, repeat ? requested.front() : leader.endpoint, topic.queues});
  }
  if (route.brokers.empty()) {
    return errors::HaNotAvailable(absl::StrCat("topic '", topic.name, "': no shard of it is there now (defined on: ",
                                               topic.shards.empty() ? "any" : absl::StrJoin(topic.shards, ", "), ")"));
  }
  return route;
}

void RouteService::QueryRoute(RouteQuery query, absl::AnyInvocable<void(absl::StatusOr<Route>) &&> done) {
  FindTopic(query.topic, [this, requested = std::move(query.requested),
                          done = std::move(done)](absl::StatusOr<index::TopicDefinition> topic) mutable {
    if (!topic.ok()) return std::move(done)(topic.status());
    std::move(done)(RouteOf(*topic, requested));
  });
}

void RouteService::QueryAssignment(AssignmentQuery query, absl::AnyInvocable<void(absl::StatusOr<Assignment>) &&> done) {
  if (absl::Status name = index::CheckGroupName(query.group); !name.ok()) return std::move(done)(std::move(name));
  auto with_topic = [this, query, done = std::move(done)](absl::StatusOr<index::TopicDefinition> topic) mutable {
    if (!topic.ok()) return std::move(done)(topic.status());
    auto with_group = [this, topic = *topic, query, done = std::move(done)](absl::StatusOr<index::GroupDefinition> group) mutable {
      if (!group.ok() && absl::IsNotFound(group.status())) {
        return std::move(done)(errors::ConsumerGroupNotFound(absl::StrCat("consumer group '", query.group, "' does not exist")));
      }
      absl::StatusOr<Route> route = RouteOf(topic, query.requested);
      if (!route.ok()) return std::move(done)(route.status());
      Assignment assignment{.topic = topic, .queues = {}};
      // While the authority is away the answer for a concurrent group is always right: receiving from "any queue" obeys the
      // order rules of the server all the same.
      const bool ordered = group.ok() && index::InOrder(*group, topic);
      for (const RouteBroker& broker : route->brokers) {
        if (!ordered) {
          assignment.queues.push_back({broker, -1});
          continue;
        }
        for (int32_t queue = 0; queue < broker.queues; ++queue) assignment.queues.push_back({broker, queue});
      }
      std::move(done)(std::move(assignment));
    };
    if (!options_.auto_create_groups) return definitions_.GetGroup(query.group, std::move(with_group));
    index::GroupDefinition wanted;
    wanted.name = query.group;
    definitions_.EnsureGroup(std::move(wanted), std::move(with_group));
  };
  FindTopic(query.topic, std::move(with_topic));
}

}  // namespace fulmar::registry
