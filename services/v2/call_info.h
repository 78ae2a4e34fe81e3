#ifndef FULMAR_COMMON_V2_CALL_INFO_H_
#define FULMAR_COMMON_V2_CALL_INFO_H_

#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace fulmar::v2edge {

// Who makes a call of the v2 protocol, from its metadata. Views live as long as the call is being handled in place.
struct CallInfo {
  std::string_view client_id;   // x-mq-client-id, trimmed; empty: missing
  std::string_view name_space;  // x-mq-namespace
  std::string_view language;    // x-mq-language, as sent ("JAVA", "HTTP", "RUST", ...)
  absl::Duration remaining = absl::InfiniteDuration();  // until the caller's deadline

  // Rust beats every 30 s, so it counts as alive for longer without a call.
  bool slow_heartbeat() const { return language == "RUST"; }
};

// The namespace that holds for a resource: its own, else the one of the call's metadata (Node sends it only there).
inline std::string_view EffectiveNamespace(std::string_view of_resource, std::string_view of_call) {
  return of_resource.empty() ? of_call : of_resource;
}

// The name under which the server knows a topic or group: "namespace%name", or "name" without a namespace. A dead-letter or retry prefix stays
// in front ("%DLQ%namespace%group"), and a name that carries the namespace already is left alone. An empty name stays empty.
std::string WholeName(std::string_view name_space, std::string_view name);

// The other way round, for showing a stored name to a caller that uses `name_space`.
std::string NameWithin(std::string_view name_space, std::string_view whole_name);

}  // namespace fulmar::v2edge

#endif  // FULMAR_COMMON_V2_CALL_INFO_H_
