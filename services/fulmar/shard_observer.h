#ifndef FULMAR_FULMAR_SHARD_OBSERVER_H_
#define FULMAR_FULMAR_SHARD_OBSERVER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "services/broker/shard.h"
#include "services/broker/shard_metrics.h"
#include "services/common/metrics.h"
#include "services/log/replicated_log.h"

namespace fulmar {

// Time and size of the log's syncs, as metrics. Threads: as LogObserver says.
class LogMetrics final : public log::LogObserver {
 public:
  // `log_name` ("broker", "offset") tells apart the logs of one process.
  LogMetrics(common::Metrics& metrics, const std::string& log_name);
  void OnSync(absl::Duration took, uint64_t bytes, uint64_t records) override;
  // Sizes and positions; from the thread that polls the status.
  void Show(const log::LogStats& stats);

 private:
  common::Histogram& sync_duration_;
  common::Histogram& sync_bytes_;
  common::Histogram& sync_records_;
  common::Counter& appended_bytes_;
  common::Counter& appended_records_;
  common::Gauge& disk_bytes_;
  common::Gauge& segments_;
  common::Gauge& pending_bytes_;
  common::Gauge& term_;
  common::Gauge& committed_;
  common::Gauge& leader_;
  common::Gauge& space_exhausted_;
  common::Gauge& fault_;
};

// What a shard counts, as metrics. Topics and groups get series of their own up to a cap.
// Threads: the observer's calls on the shard executor; Show() on one other thread.
class ShardMetrics final : public broker::ShardObserver {
 public:
  ShardMetrics(common::Metrics& metrics, size_t max_series);

  void OnStored(std::string_view topic, uint64_t messages, uint64_t bytes) override;
  void OnDelivered(std::string_view topic, std::string_view group, uint64_t messages, uint64_t bytes, uint64_t redelivered) override;
  void OnAcknowledged(std::string_view topic, std::string_view group, uint64_t messages) override;
  void OnDeadLettered(std::string_view topic, std::string_view group) override;
  void OnLost(std::string_view topic, std::string_view group, uint64_t messages) override;
  void OnExpired(std::string_view topic, std::string_view group, uint64_t messages) override;
  void OnDeduplicated(std::string_view topic, uint64_t messages) override { Of(topic).deduplicated->Add(messages); }
  void OnThrottled(Throttled what) override { (what == Throttled::kSend ? throttled_sends_ : throttled_receives_).Add(); }
  void OnUnreadable() override { unreadable_.Add(); }
  void OnSendRefused(uint64_t messages) override { sends_refused_.Add(messages); }
  void OnProgressWritten(ProgressResult result, absl::Duration took, uint64_t queues) override;

  void Show(const broker::ShardStatus& status, const std::vector<broker::GroupLag>& lags);

 private:
  struct TopicSeries {
    common::Counter* messages_in;
    common::Counter* bytes_in;
    common::Counter* deduplicated;
  };
  struct GroupSeries {
    common::Counter* messages_out;
    common::Counter* bytes_out;
    common::Counter* redelivered;
    common::Counter* acknowledged;
    common::Counter* dead_letters;
    common::Counter* lost;
    common::Counter* expired;
  };
  TopicSeries& Of(std::string_view topic);
  GroupSeries& Of(std::string_view topic, std::string_view group);

  common::Metrics& metrics_;
  common::SeriesCap topic_cap_, group_cap_, lag_cap_;
  absl::flat_hash_map<std::string, TopicSeries> topics_;
  absl::flat_hash_map<std::string, GroupSeries> groups_;  // key: topic '\n' group
  std::string key_;                                       // scratch, keeps its capacity
  common::Counter& unreadable_;
  common::Counter& sends_refused_;
  common::Counter& throttled_sends_;
  common::Counter& throttled_receives_;
  common::Histogram& progress_duration_;
  common::Counter& progress_stored_;
  common::Counter& progress_logged_;
  common::Counter& progress_failed_;
  common::Gauge& serving_;
  common::Gauge& parked_;
  common::Gauge& in_flight_;
  common::Gauge& clients_;
  common::Gauge& topics_gauge_;
  common::Gauge& groups_gauge_;
  common::Gauge& queues_gauge_;
  common::Gauge& index_disk_;
  common::Gauge& index_memtable_;
  common::Gauge& index_overlay_;
  common::Gauge& index_healthy_;
  std::vector<common::MetricLabels> shown_lags_;
};

}  // namespace fulmar

#endif  // FULMAR_FULMAR_SHARD_OBSERVER_H_
