#include <arpa/inet.h>

#include "absl/strings/str_cat.h"
#include "services/common/host_port.h"
#include "services/common/status.h"
#include "services/registry/route_source.h"

namespace fulmar::registry {
namespace {

AddressScheme SchemeOf(const std::string& host) {
  in_addr v4;
  in6_addr v6;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return AddressScheme::kIpv4;
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return AddressScheme::kIpv6;
  return AddressScheme::kDomainName;
}

}  // namespace

absl::StatusOr<Endpoint> ParseEndpoint(std::string_view text) {
  FULMAR_ASSIGN_OR_RETURN(common::HostPort parsed, common::ParseHostPort(text));
  if (parsed.port == 0 || parsed.host.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("endpoint '", text, "': expected HOST:PORT with a port from 1 to 65535"));
  }
  return Endpoint{SchemeOf(parsed.host), parsed.host, parsed.port};
}

std::string ToString(const Endpoint& endpoint) { return common::FormatHostPort({endpoint.host, endpoint.port}); }

}  // namespace fulmar::registry
