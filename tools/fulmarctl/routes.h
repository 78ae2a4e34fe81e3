#ifndef FULMAR_TOOLS_FULMARCTL_ROUTES_H_
#define FULMAR_TOOLS_FULMARCTL_ROUTES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/fulmarctl/session.h"

namespace fulmar::ctl {

// One queue of each broker that holds the topic. Errors: NotFound, Unavailable (the route names no broker), those of the call.
absl::StatusOr<std::vector<v2::MessageQueue>> BrokersOf(Session& session, const v2::Resource& topic);
// "host:port" of a broker in a route.
std::string AddressText(const v2::Broker& broker);

}  // namespace fulmar::ctl

#endif  // FULMAR_TOOLS_FULMARCTL_ROUTES_H_
