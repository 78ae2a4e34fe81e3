#ifndef FULMAR_BROKER_ROUTE_CONVERT_H_
#define FULMAR_BROKER_ROUTE_CONVERT_H_

#include <vector>

#include "apache/rocketmq/v2/service.pb.h"
#include "services/registry/route_source.h"

namespace fulmar::broker {

namespace pb = ::apache::rocketmq::v2;

// What a client gave as its access point; addresses without a host are left out.
std::vector<registry::Endpoint> FromProto(const pb::Endpoints& endpoints);

// `topic` is repeated as it was asked for. Queues are READ_WRITE, on broker id 0, each with exactly one address.
void FillRoute(const registry::Route& route, const pb::Resource& topic, pb::QueryRouteResponse* response);
void FillAssignment(const registry::Assignment& assignment, const pb::Resource& topic, pb::QueryAssignmentResponse* response);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_ROUTE_CONVERT_H_
