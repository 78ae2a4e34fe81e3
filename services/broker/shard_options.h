#ifndef FULMAR_BROKER_SHARD_OPTIONS_H_
#define FULMAR_BROKER_SHARD_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "services/index/definitions.h"
#include "services/log/replicated_log.h"

namespace fulmar::broker {

// Everything that can be set about a shard. The rows of the broker's options fill it in.
struct ShardOptions {
  std::string name = "shard-0";  // the `broker.name` of routes; at most kMaxShardNameBytes
  log::LogOptions log;

  // Automatic creation.
  bool auto_create_topics = true;
  bool auto_create_groups = true;
  int32_t auto_create_queues = 4;

  // Receiving.
  int32_t max_batch = 32;
  uint64_t max_batch_bytes = 16 << 20;                   // a batch ends behind the message that reaches it
  absl::Duration min_invisible = absl::Seconds(10);      // of a receive
  absl::Duration max_invisible = absl::Hours(12);        // of a receive and a change
  absl::Duration min_retry_delay = absl::Seconds(1);     // a change below it counts as it
  absl::Duration max_wait = absl::Seconds(60);
  // Before a receive is told of an error: clients would poll again at once. The edge waits as long as the call's deadline allows, so
  // the shard need not; for those who call it directly.
  absl::Duration error_delay = absl::ZeroDuration();
  int64_t max_parked_receives = 20000;
  int64_t max_in_flight_per_group = 100000;              // out, waiting for a retry or being read; then only retries are delivered
  absl::Duration priority_age_step = absl::Minutes(1);   // waiting for so long is worth one level of a priority topic; 0: never
  int32_t scan_budget = 2000;                            // index entries looked at before other tasks get their turn

  // Quotas a second: the defaults of topics and groups, and of every client id for its sends and for its deliveries. 0: no bound.
  index::RateQuota topic_quota, group_quota, client_quota;

  // Liveness and automatic renewal.
  absl::Duration auto_renew_invisible = absl::Seconds(60);
  absl::Duration auto_renew_limit = absl::Hours(3);      // since the delivery; then it is delivered again
  absl::Duration client_silence = absl::Seconds(25);     // without a stream
  absl::Duration slow_client_silence = absl::Seconds(90);  // clients that beat slowly, or with streams but without calls
  absl::Duration give_back_delay = absl::Seconds(1);     // what a gone client held is visible again after this

  // Progress. 0: an acknowledgement is answered when it is durable.
  absl::Duration progress_flush_interval = absl::Milliseconds(100);
  absl::Duration progress_write_timeout = absl::Seconds(2);  // then the offset service counts as away
  absl::Duration progress_max_backoff = absl::Seconds(2);

  // Retention of whole segments.
  absl::Duration retention_time = absl::Hours(72);
  uint64_t retention_bytes = 0;                          // 0: no bound but time
  absl::Duration retention_check_interval = absl::Seconds(30);

  // The index is made durable after so many bytes of log, or so much time while something is not.
  uint64_t index_flush_bytes = 128 << 20;
  absl::Duration index_flush_interval = absl::Seconds(30);

  // What became of each message (trace.h): the newest records, so many bytes of them. 0: none.
  uint64_t trace_bytes = 0;

  // How long commands wait for a shard that is starting or without a leader.
  absl::Duration start_grace = absl::Seconds(5);

  // A message whose bytes cannot be read is tried again after this.
  absl::Duration unreadable_retry = absl::Minutes(1);
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SHARD_OPTIONS_H_
