#include "services/fulmar/shard_observer.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"

namespace fulmar {

using common::LatencyBuckets;
using common::MetricLabels;
using common::SizeBuckets;

LogMetrics::LogMetrics(common::Metrics& metrics, const std::string& log_name)
    : sync_duration_(metrics.AddHistogram("fulmar_log_sync_duration_seconds", "Time of one group commit: write and fdatasync.",
                                          LatencyBuckets(), {{"log", log_name}})),
      sync_bytes_(metrics.AddHistogram("fulmar_log_sync_batch_bytes", "Bytes of one group commit.", SizeBuckets(16 << 20), {{"log", log_name}})),
      sync_records_(metrics.AddHistogram("fulmar_log_sync_batch_records", "Records of one group commit.", SizeBuckets(65536), {{"log", log_name}})),
      appended_bytes_(metrics.AddCounter("fulmar_log_appended_bytes_total", "Bytes written to the log.", {{"log", log_name}})),
      appended_records_(metrics.AddCounter("fulmar_log_appended_records_total", "Records written to the log.", {{"log", log_name}})),
      disk_bytes_(metrics.AddGauge("fulmar_log_disk_bytes", "Bytes of segment files, spare ones included.", {{"log", log_name}})),
      segments_(metrics.AddGauge("fulmar_log_segment_files", "Segment files, spare ones included.", {{"log", log_name}})),
      pending_bytes_(metrics.AddGauge("fulmar_log_pending_bytes", "Records waiting to be written.", {{"log", log_name}})),
      term_(metrics.AddGauge("fulmar_log_term", "Raft term.", {{"log", log_name}})),
      committed_(metrics.AddGauge("fulmar_log_committed_index", "Newest committed entry.", {{"log", log_name}})),
      leader_(metrics.AddGauge("fulmar_log_leader", "1 while this replica leads.", {{"log", log_name}})),
      space_exhausted_(metrics.AddGauge("fulmar_log_space_exhausted", "1 while user records are refused because the disk is full.", {{"log", log_name}})),
      fault_(metrics.AddGauge("fulmar_log_fault", "1 after a failed write or sync: nothing is accepted until a restart.", {{"log", log_name}})) {}

void LogMetrics::OnSync(absl::Duration took, uint64_t bytes, uint64_t records) {
  sync_duration_.Observe(took);
  sync_bytes_.Observe(static_cast<double>(bytes));
  sync_records_.Observe(static_cast<double>(records));
  appended_bytes_.Add(bytes);
  appended_records_.Add(records);
}

void LogMetrics::Show(const log::LogStats& stats) {
  disk_bytes_.Set(static_cast<double>(stats.disk_bytes));
  segments_.Set(static_cast<double>(stats.segment_files));
  pending_bytes_.Set(static_cast<double>(stats.pending_bytes));
  term_.Set(static_cast<double>(stats.term.value));
  committed_.Set(static_cast<double>(stats.committed.value));
  leader_.Set(stats.leader ? 1 : 0);
  space_exhausted_.Set(stats.space_exhausted ? 1 : 0);
  fault_.Set(stats.fault.ok() ? 0 : 1);
}

ShardMetrics::ShardMetrics(common::Metrics& metrics, size_t max_series)
    : metrics_(metrics),
      topic_cap_({"topic"}, max_series),
      group_cap_({"topic", "group"}, max_series),
      lag_cap_({"topic", "group"}, max_series),
      unreadable_(metrics.AddCounter("fulmar_broker_unreadable_messages_total", "Deliveries put off because a record could not be read.")),
      sends_refused_(metrics.AddCounter("fulmar_broker_sends_refused_total", "Messages answered TOO_MANY_REQUESTS at a bound.")),
      throttled_sends_(metrics.AddCounter("fulmar_broker_throttled_total", "Calls answered TOO_MANY_REQUESTS because of a quota.", {{"call", "send"}})),
      throttled_receives_(metrics.AddCounter("fulmar_broker_throttled_total", "Calls answered TOO_MANY_REQUESTS because of a quota.", {{"call", "receive"}})),
      progress_duration_(metrics.AddHistogram("fulmar_broker_progress_write_duration_seconds", "Time of one write of progress.", LatencyBuckets())),
      progress_stored_(metrics.AddCounter("fulmar_broker_progress_writes_total", "Writes of progress, by where they went.", {{"result", "stored"}})),
      progress_logged_(metrics.AddCounter("fulmar_broker_progress_writes_total", "Writes of progress, by where they went.", {{"result", "logged"}})),
      progress_failed_(metrics.AddCounter("fulmar_broker_progress_writes_total", "Writes of progress, by where they went.", {{"result", "failed"}})),
      serving_(metrics.AddGauge("fulmar_broker_serving", "1 while the shard leads, has claimed its progress and is healthy.")),
      parked_(metrics.AddGauge("fulmar_broker_parked_receives", "Long polls that wait for a message.")),
      in_flight_(metrics.AddGauge("fulmar_broker_in_flight_messages", "Messages out at clients, all groups.")),
      clients_(metrics.AddGauge("fulmar_broker_clients", "Clients that are alive.")),
      topics_gauge_(metrics.AddGauge("fulmar_broker_topics", "Topics of this shard.")),
      groups_gauge_(metrics.AddGauge("fulmar_broker_groups", "Consumer groups of this shard.")),
      queues_gauge_(metrics.AddGauge("fulmar_broker_queues", "Queues of this shard.")),
      index_disk_(metrics.AddGauge("fulmar_index_disk_bytes", "Bytes of the index (RocksDB) on the disk.")),
      index_memtable_(metrics.AddGauge("fulmar_index_memtable_bytes", "Bytes of the index not yet on the disk.")),
      index_overlay_(metrics.AddGauge("fulmar_index_overlay_bytes", "Bytes of index batches that RocksDB does not take now.")),
      index_healthy_(metrics.AddGauge("fulmar_index_healthy", "0 while RocksDB refuses writes.")) {}

ShardMetrics::TopicSeries& ShardMetrics::Of(std::string_view topic) {
  const auto it = topics_.find(topic);
  if (it != topics_.end()) return it->second;
  const MetricLabels labels = topic_cap_.Labels({std::string(topic)});
  const TopicSeries series{
      &metrics_.AddCounter("fulmar_broker_messages_in_total", "Messages stored.", labels),
      &metrics_.AddCounter("fulmar_broker_bytes_in_total", "Bytes of messages stored.", labels),
      &metrics_.AddCounter("fulmar_broker_deduplicated_total", "Repeats inside a dedup window, answered without being stored.", labels),
  };
  return topics_.emplace(topic, series).first->second;
}

ShardMetrics::GroupSeries& ShardMetrics::Of(std::string_view topic, std::string_view group) {
  key_.assign(topic);
  key_.push_back('\n');
  key_.append(group);
  const auto it = groups_.find(key_);
  if (it != groups_.end()) return it->second;
  const MetricLabels labels = group_cap_.Labels({std::string(topic), std::string(group)});
  const GroupSeries series{
      &metrics_.AddCounter("fulmar_broker_messages_out_total", "Messages delivered, redeliveries included.", labels),
      &metrics_.AddCounter("fulmar_broker_bytes_out_total", "Bytes of messages delivered.", labels),
      &metrics_.AddCounter("fulmar_broker_redelivered_total", "Deliveries beyond the first of a message.", labels),
      &metrics_.AddCounter("fulmar_broker_acknowledged_total", "Messages acknowledged.", labels),
      &metrics_.AddCounter("fulmar_broker_dead_letters_total", "Messages moved to the dead-letter topic of the group.", labels),
      &metrics_.AddCounter("fulmar_broker_lost_by_retention_total", "Messages that retention removed before the group had consumed them.", labels),
      &metrics_.AddCounter("fulmar_broker_expired_total", "Messages passed over because their time to live was over.", labels),
  };
  return groups_.emplace(key_, series).first->second;
}

void ShardMetrics::OnStored(std::string_view topic, uint64_t messages, uint64_t bytes) {
  TopicSeries& series = Of(topic);
  series.messages_in->Add(messages);
  series.bytes_in->Add(bytes);
}

void ShardMetrics::OnDelivered(std::string_view topic, std::string_view group, uint64_t messages, uint64_t bytes, uint64_t redelivered) {
  GroupSeries& series = Of(topic, group);
  series.messages_out->Add(messages);
  series.bytes_out->Add(bytes);
  series.redelivered->Add(redelivered);
}

void ShardMetrics::OnAcknowledged(std::string_view topic, std::string_view group, uint64_t messages) {
  Of(topic, group).acknowledged->Add(messages);
}

void ShardMetrics::OnDeadLettered(std::string_view topic, std::string_view group) { Of(topic, group).dead_letters->Add(); }

void ShardMetrics::OnLost(std::string_view topic, std::string_view group, uint64_t messages) { Of(topic, group).lost->Add(messages); }

void ShardMetrics::OnExpired(std::string_view topic, std::string_view group, uint64_t messages) { Of(topic, group).expired->Add(messages); }

void ShardMetrics::OnProgressWritten(ProgressResult result, absl::Duration took, uint64_t /*queues*/) {
  progress_duration_.Observe(took);
  switch (result) {
    case ProgressResult::kStored: return progress_stored_.Add();
    case ProgressResult::kLogged: return progress_logged_.Add();
    case ProgressResult::kFailed: return progress_failed_.Add();
  }
}

void ShardMetrics::Show(const broker::ShardStatus& status, const std::vector<broker::GroupLag>& lags) {
  serving_.Set(status.serving ? 1 : 0);
  parked_.Set(static_cast<double>(status.parked_receives));
  in_flight_.Set(static_cast<double>(status.in_flight));
  clients_.Set(static_cast<double>(status.clients));
  topics_gauge_.Set(static_cast<double>(status.topics));
  groups_gauge_.Set(static_cast<double>(status.groups));
  queues_gauge_.Set(static_cast<double>(status.queues));
  index_disk_.Set(static_cast<double>(status.index.disk_bytes));
  index_memtable_.Set(static_cast<double>(status.index.memtable_bytes));
  index_overlay_.Set(static_cast<double>(status.index.overlay_bytes));
  index_healthy_.Set(status.index.healthy ? 1 : 0);

  // Several groups may share the series "other": add up first.
  std::map<MetricLabels, broker::GroupLag> sums;
  for (const broker::GroupLag& lag : lags) {
    broker::GroupLag& sum = sums[lag_cap_.Labels({lag.topic, lag.group})];
    sum.lag += lag.lag;
    sum.in_flight += lag.in_flight;
    sum.waiting_retry += lag.waiting_retry;
  }
  for (const MetricLabels& labels : shown_lags_) {
    if (sums.contains(labels)) continue;
    lag_cap_.Forget({labels.at("topic"), labels.at("group")});
    for (const char* name : {"fulmar_broker_group_lag_messages", "fulmar_broker_group_in_flight_messages", "fulmar_broker_group_retry_messages"}) {
      metrics_.Remove(name, labels);
    }
  }
  shown_lags_.clear();
  for (const auto& [labels, sum] : sums) {
    shown_lags_.push_back(labels);
    metrics_.AddGauge("fulmar_broker_group_lag_messages", "Messages that the group has not acknowledged, in flight included.", labels)
        .Set(static_cast<double>(sum.lag));
    metrics_.AddGauge("fulmar_broker_group_in_flight_messages", "Messages of the group that are out at clients.", labels)
        .Set(static_cast<double>(sum.in_flight));
    metrics_.AddGauge("fulmar_broker_group_retry_messages", "Messages of the group that wait for their next delivery.", labels)
        .Set(static_cast<double>(sum.waiting_retry));
  }
}

}  // namespace fulmar
