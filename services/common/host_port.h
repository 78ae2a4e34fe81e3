#ifndef FULMAR_COMMON_HOST_PORT_H_
#define FULMAR_COMMON_HOST_PORT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace fulmar::common {

// "127.0.0.1:8081", "broker-0.example:8081", "[::1]:8081"; the host is without its brackets.
struct HostPort {
  std::string host;
  int port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

// InvalidArgument, with the remedy, if `text` is not HOST:PORT with a port from 0 to 65535.
absl::StatusOr<HostPort> ParseHostPort(std::string_view text);
// The text again, with brackets around an IPv6 address.
std::string FormatHostPort(const HostPort& host_port);

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_HOST_PORT_H_
