#ifndef FULMAR_TOOLS_FULMARCTL_ROUTES_H_
#define FULMAR_TOOLS_FULMARCTL_ROUTES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tools/fulmarctl/session.h"

namespace fulmar::ctl {

// One queue of each broker that holds the topic. Errors: NotFound, Unavailable (the route names no broker), those of the call.
absl::StatusOr<std::vector<v2::MessageQueue>> BrokersOf(Session& session, const v2::Resource& topic);
// "host:port" of a broker in a route.
std::string AddressText(const v2::Broker& broker);

// One poll of the broker of `queue`, at most `wait` long; `request` says everything but these two. None: nothing came in time.
absl::StatusOr<std::vector<v2::Message>> ReceiveFrom(Session& session, v2::ReceiveMessageRequest request, const v2::MessageQueue& queue,
                                                     absl::Duration wait);

}  // namespace fulmar::ctl

#endif  // FULMAR_TOOLS_FULMARCTL_ROUTES_H_
