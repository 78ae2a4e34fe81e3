#ifndef FULMAR_BROKER_AUTO_RENEW_H_
#define FULMAR_BROKER_AUTO_RENEW_H_

#include <algorithm>
#include <cstdint>
#include <optional>

#include "services/broker/group_queue.h"
#include "services/broker/shard_options.h"

namespace fulmar::broker {

// Clients that ask for auto_renew never renew by themselves: the server keeps their message invisible as long as they live, at most
// for a limit, and takes it back soon after they are gone (RetryTimes::ClientsGone). Nothing runs per message while it is out: the
// decision is taken when its invisible time would end.
class AutoRenew {
 public:
  explicit AutoRenew(const ShardOptions& options)
      : period_ms_(absl::ToInt64Milliseconds(options.auto_renew_invisible)),
        limit_ms_(absl::ToInt64Milliseconds(options.auto_renew_limit)) {}

  // The invisible time of `flight` is over. The next time to ask, or nothing: it goes back.
  std::optional<int64_t> Renew(const Flight& flight, bool client_alive, int64_t now_ms) const {
    if (!flight.auto_renew || !client_alive || flight.state != Flight::State::kOut) return std::nullopt;
    const int64_t limit_ms = flight.since_ms + limit_ms_;
    if (now_ms >= limit_ms) return std::nullopt;
    return std::min(now_ms + period_ms_, limit_ms);
  }

 private:
  const int64_t period_ms_, limit_ms_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_AUTO_RENEW_H_
