#ifndef FULMAR_BROKER_SHARD_METRICS_H_
#define FULMAR_BROKER_SHARD_METRICS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace fulmar::broker {

// What a shard counts. Called on the shard executor, must be cheap and must not call the shard. Names of the metrics behind it:
//   OnStored          fulmar_broker_messages_in_total, fulmar_broker_bytes_in_total      {topic}
//   OnDelivered       fulmar_broker_messages_out_total, fulmar_broker_bytes_out_total    {topic, group}
//                     fulmar_broker_redelivered_total                                    {topic, group}
//   OnAcknowledged    fulmar_broker_acknowledged_total                                   {topic, group}
//   OnDeadLettered    fulmar_broker_dead_letters_total                                   {topic, group}
//   OnLost            fulmar_broker_lost_by_retention_total                              {topic, group}
//   OnUnreadable      fulmar_broker_unreadable_messages_total
//   OnSendRefused     fulmar_broker_sends_refused_total
//   OnProgressWritten fulmar_broker_progress_write_duration_seconds, ..._total {result}
// Gauges (parked receives, in flight, lag per group and topic, clients, log, index) come from Shard::Status and Shard::CollectLag.
class ShardObserver {
 public:
  virtual ~ShardObserver() = default;
  virtual void OnStored(std::string_view /*topic*/, uint64_t /*messages*/, uint64_t /*bytes*/) {}
  virtual void OnDelivered(std::string_view /*topic*/, std::string_view /*group*/, uint64_t /*messages*/, uint64_t /*bytes*/,
                           uint64_t /*redelivered*/) {}
  virtual void OnAcknowledged(std::string_view /*topic*/, std::string_view /*group*/, uint64_t /*messages*/) {}
  virtual void OnDeadLettered(std::string_view /*topic*/, std::string_view /*group*/) {}
  virtual void OnLost(std::string_view /*topic*/, std::string_view /*group*/, uint64_t /*messages*/) {}
  virtual void OnExpired(std::string_view /*topic*/, std::string_view /*group*/, uint64_t /*messages*/) {}
  virtual void OnDeduplicated(std::string_view /*topic*/, uint64_t /*messages*/) {}
  enum class Throttled { kSend, kReceive };
  virtual void OnThrottled(Throttled /*what*/) {}  // a call over a quota
  virtual void OnUnreadable() {}
  virtual void OnSendRefused(uint64_t /*messages*/) {}
  enum class ProgressResult { kStored, kLogged, kFailed };
  virtual void OnProgressWritten(ProgressResult, absl::Duration /*took*/, uint64_t /*queues*/) {}
};

// One line of lag: a group in a topic of this shard.
struct GroupLag {
  std::string group, topic;
  int64_t lag = 0;            // not yet acknowledged, in flight included
  int64_t in_flight = 0;
  int64_t waiting_retry = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SHARD_METRICS_H_
