#include "tools/fulmarctl/routes.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fulmar::ctl {
namespace {

v2::Endpoints EndpointsOf(const std::string& endpoint) {
  v2::Endpoints endpoints;
  const size_t colon = endpoint.rfind(':');
  v2::Address* address = endpoints.add_addresses();
  std::string host = endpoint.substr(0, colon);
  endpoints.set_scheme(v2::DOMAIN_NAME);
  if (host.size() > 1 && host.front() == '[') {
    host = host.substr(1, host.size() - 2);
    endpoints.set_scheme(v2::IPv6);
  } else if (host.find_first_not_of("0123456789.") == std::string::npos) {
    endpoints.set_scheme(v2::IPv4);
  }
  address->set_host(host);
  if (colon != std::string::npos) address->set_port(std::atoi(endpoint.c_str() + colon + 1));
  return endpoints;
}

}  // namespace

std::string AddressText(const v2::Broker& broker) {
  const v2::Endpoints& endpoints = broker.endpoints();
  const v2::Address& address = endpoints.addresses(0);
  return endpoints.scheme() == v2::IPv6 ? absl::StrCat("[", address.host(), "]:", address.port())
                                        : absl::StrCat(address.host(), ":", address.port());
}

absl::StatusOr<std::vector<v2::MessageQueue>> BrokersOf(Session& session, const v2::Resource& topic) {
  v2::QueryRouteRequest request;
  *request.mutable_topic() = topic;
  *request.mutable_endpoints() = EndpointsOf(session.options().endpoint);
  v2::QueryRouteResponse response;
  const auto context = session.NewContext();
  const grpc::Status status = session.messaging().QueryRoute(context.get(), request, &response);
  if (!status.ok()) return session.ToStatus(status);
  if (absl::Status refused = Session::ToStatus(response.status()); !refused.ok()) return refused;
  std::vector<v2::MessageQueue> brokers;
  for (v2::MessageQueue& queue : *response.mutable_message_queues()) {
    const auto same = [&](const v2::MessageQueue& seen) { return seen.broker().name() == queue.broker().name(); };
    if (queue.broker().endpoints().addresses_size() > 0 && std::none_of(brokers.begin(), brokers.end(), same)) {
      brokers.push_back(std::move(queue));
    }
  }
  if (brokers.empty()) return absl::UnavailableError(absl::StrCat("the route of topic '", topic.name(), "' names no broker"));
  return brokers;
}

absl::StatusOr<std::vector<v2::Message>> ReceiveFrom(Session& session, v2::ReceiveMessageRequest request, const v2::MessageQueue& queue,
                                                     absl::Duration wait) {
  *request.mutable_message_queue() = queue;
  request.mutable_long_polling_timeout()->set_seconds(absl::ToInt64Seconds(wait));
  request.mutable_long_polling_timeout()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(wait % absl::Seconds(1))));
  const std::string address = AddressText(queue.broker());
  const auto context = session.NewContext(wait);
  const auto stream = session.messaging(address).ReceiveMessage(context.get(), request);
  std::vector<v2::Message> messages;
  absl::Status refused;
  v2::ReceiveMessageResponse response;
  while (stream->Read(&response)) {
    if (response.has_message()) messages.push_back(std::move(*response.mutable_message()));
    if (response.has_status() && response.status().code() != v2::MESSAGE_NOT_FOUND) refused = Session::ToStatus(response.status());
  }
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return session.ToStatus(status, address);
  if (!refused.ok()) return refused;
  return messages;
}

}  // namespace fulmar::ctl
