#ifndef FULMAR_FULMAR_ROLES_H_
#define FULMAR_FULMAR_ROLES_H_

#include "absl/status/status.h"
#include "services/fulmar/config.h"

namespace fulmar {

enum class Role { kStandalone, kRegistry, kBroker, kOffset };

// Starts the role, runs until SIGTERM or SIGINT (SIGHUP reads the configuration again), shuts down: refuse new calls, answer the
// parked, flush, sync. On the main thread, with those signals blocked. The error is what start-up could not use, or what made it stop.
absl::Status RunRole(Role role, Config& config);

}  // namespace fulmar

#endif  // FULMAR_FULMAR_ROLES_H_
