#include "services/common/host_port.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fulmar::common {

absl::StatusOr<HostPort> ParseHostPort(std::string_view text) {
  const auto error = [text](std::string_view reason) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not HOST:PORT: ", reason));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return error("there is no colon; write for example 127.0.0.1:8081");
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);

  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return error("an IPv6 address needs brackets, for example [::1]:8081");
  }
  if (host.empty()) return error("the host is missing; 0.0.0.0 or [::] means every interface");
  if (std::any_of(host.begin(), host.end(), [](char c) { return absl::ascii_isspace(c) || c == '/' || c == '[' || c == ']'; }))
    return error("the host has a character that no host has");

  int port = 0;
  const bool digits = !port_text.empty() && std::all_of(port_text.begin(), port_text.end(), absl::ascii_isdigit);
  if (!digits || !absl::SimpleAtoi(port_text, &port) || port > 65535) return error("the port is not from 0 to 65535");
  return HostPort{std::string(host), port};
}

std::string FormatHostPort(const HostPort& host_port) {
  const bool brackets = host_port.host.find(':') != std::string::npos;
  return brackets ? absl::StrFormat("[%s]:%d", host_port.host, host_port.port)
                  : absl::StrFormat("%s:%d", host_port.host, host_port.port);
}

}  // namespace fulmar::common
