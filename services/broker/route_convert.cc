#include "services/broker/route_convert.h"

namespace fulmar::broker {
namespace {

std::vector<pb::MessageType> TypesOf(index::TopicType type) {
  if (type == index::TopicType::kMixed) return {pb::NORMAL, pb::FIFO, pb::DELAY, pb::TRANSACTION};
  return {static_cast<pb::MessageType>(type)};
}

void FillQueue(const registry::RouteBroker& broker, int32_t id, index::TopicType type, const pb::Resource& topic, pb::MessageQueue* queue) {
  *queue->mutable_topic() = topic;
  queue->set_id(id);
  queue->set_permission(pb::READ_WRITE);
  queue->mutable_broker()->set_name(broker.name);
  queue->mutable_broker()->set_id(0);
  pb::Endpoints* endpoints = queue->mutable_broker()->mutable_endpoints();
  endpoints->set_scheme(static_cast<pb::AddressScheme>(broker.endpoint.scheme));
  endpoints->add_addresses()->set_host(broker.endpoint.host);
  endpoints->mutable_addresses(0)->set_port(broker.endpoint.port);
  for (const pb::MessageType accepted : TypesOf(type)) queue->add_accept_message_types(accepted);
}

}  // namespace

std::vector<registry::Endpoint> FromProto(const pb::Endpoints& endpoints) {
  std::vector<registry::Endpoint> result;
  if (endpoints.scheme() < pb::IPv4 || endpoints.scheme() > pb::DOMAIN_NAME) return result;
  for (const pb::Address& address : endpoints.addresses()) {
    if (address.host().empty()) continue;
    result.push_back({.scheme = static_cast<registry::AddressScheme>(endpoints.scheme()), .host = address.host(), .port = address.port()});
  }
  return result;
}

void FillRoute(const registry::Route& route, const pb::Resource& topic, pb::QueryRouteResponse* response) {
  for (const registry::RouteBroker& broker : route.brokers)
    for (int32_t id = 0; id < broker.queues; ++id) FillQueue(broker, id, route.topic.type, topic, response->add_message_queues());
}

void FillAssignment(const registry::Assignment& assignment, const pb::Resource& topic, pb::QueryAssignmentResponse* response) {
  for (const registry::AssignedQueue& queue : assignment.queues)
    FillQueue(queue.broker, queue.queue, assignment.topic.type, topic, response->add_assignments()->mutable_message_queue());
}

}  // namespace fulmar::broker
