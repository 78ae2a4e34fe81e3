#include <arpa/inet.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
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
  const auto bad = [&] {
    return absl::InvalidArgumentError(absl::StrCat("endpoint '", text, "': expected HOST:PORT with a port from 1 to 65535"));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  std::string_view host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad();  // an IPv6 address without brackets: where does the port start?
  }
  Endpoint endpoint;
  endpoint.host = std::string(host);
  if (host.empty() || !absl::SimpleAtoi(text.substr(colon + 1), &endpoint.port)) return bad();
  if (endpoint.port < 1 || endpoint.port > 65535) return bad();
  endpoint.scheme = SchemeOf(endpoint.host);
  return endpoint;
}

std::string ToString(const Endpoint& endpoint) {
  return endpoint.scheme == AddressScheme::kIpv6 ? absl::StrCat("[", endpoint.host, "]:", endpoint.port)
                                                 : absl::StrCat(endpoint.host, ":", endpoint.port);
}

}  // namespace fulmar::registry
