#include "services/fulmar/nodes.h"

#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "services/broker/shard_state.h"
#include "services/common/log.h"
#include "services/common/status.h"
#include "services/index/keys.h"

namespace fulmar {
namespace {

using LoadIndex = absl::FunctionRef<absl::Status(index::KvStore&)>;

// `load` reads what a start needs of it.
absl::Status OpenIndex(const index::RocksKvOptions& options, Machine& machine, common::Executor& background, LoadIndex load,
                       std::unique_ptr<index::RocksKv>& kv) {
  FULMAR_RETURN_IF_ERROR(machine.files.MakeDirs(options.dir));
  absl::StatusOr<std::unique_ptr<index::RocksKv>> opened = index::RocksKv::Open(options, background);
  absl::Status usable = opened.status();
  if (opened.ok()) usable = load(**opened);
  if (absl::IsDataLoss(usable) || absl::IsFailedPrecondition(usable)) {
    // Nothing is lost with it: it is a view of the log.
    FULMAR_LOG(kWarn, "index_damaged_and_rebuilt", {{"dir", options.dir}, {"damage", usable}});
    if (opened.ok()) opened->reset();  // its lock goes
    FULMAR_RETURN_IF_ERROR(index::RocksKv::Remove(options.dir));
    opened = index::RocksKv::Open(options, background);
  }
  if (!opened.ok()) return Annotate(opened.status(), absl::StrCat("index in ", options.dir));
  kv = *std::move(opened);
  return absl::OkStatus();
}

// Makes the index durable so that the next start has little to apply again. A failure costs only that.
void FlushIndex(index::RocksKv& kv, const char* which) {
  if (absl::Status flushed = kv.Flush(); !flushed.ok()) {
    FULMAR_LOG(kWarn, "index_not_flushed", {{"index", which}, {"why", flushed}});
  }
}

template <class Stoppable>
void StopAndWait(Stoppable& stoppable) {
  absl::Notification stopped;
  stoppable.Stop([&stopped] { stopped.Notify(); });
  stopped.WaitForNotification();
}

}  // namespace

broker::ShardOptions ShardOptionsOf(const ProcessOptions& options) {
  const BrokerOptions& in = options.broker;
  broker::ShardOptions out;
  out.name = in.shard;
  out.log.dir = DataDirs(options.server.data).broker_log;
  out.log.shard_name = in.shard;
  out.log.segment_bytes = in.log_segment_bytes;
  out.log.cache_bytes = in.log_cache_bytes;
  out.log.max_pending_bytes = in.log_max_pending_bytes;
  out.log.async_flush_interval = in.log_async_flush_interval;
  out.auto_create_topics = options.definitions.auto_create_topics;
  out.auto_create_groups = options.definitions.auto_create_groups;
  out.auto_create_queues = options.definitions.auto_create_queues;
  out.max_batch = in.receive_max_batch;
  out.min_invisible = in.receive_min_invisible_duration;
  out.max_invisible = in.receive_max_invisible_duration;
  out.auto_renew_invisible = in.receive_auto_renew_duration;
  out.auto_renew_limit = in.receive_auto_renew_limit;
  out.min_retry_delay = in.receive_min_retry_delay;
  out.max_parked_receives = in.receive_max_parked;
  out.max_in_flight_per_group = in.receive_max_in_flight_per_group;
  out.priority_age_step = in.receive_priority_age_step;
  const auto quota = [](int64_t messages, int64_t bytes) {
    return index::RateQuota{.messages = static_cast<uint64_t>(messages), .bytes = static_cast<uint64_t>(bytes)};
  };
  out.topic_quota = quota(in.quota_topic_messages, in.quota_topic_bytes);
  out.group_quota = quota(in.quota_group_messages, in.quota_group_bytes);
  out.client_quota = quota(in.quota_client_messages, in.quota_client_bytes);
  out.client_silence = in.client_silence;
  out.slow_client_silence = in.client_slow_silence;
  out.progress_flush_interval = in.progress_flush_interval;
  out.retention_time = in.retention_time;
  out.retention_bytes = static_cast<uint64_t>(in.retention_bytes);
  out.retention_check_interval = in.retention_check_interval;
  out.trace_bytes = static_cast<uint64_t>(in.trace_bytes);
  return out;
}

index::RocksKvOptions BrokerIndexOptions(const ProcessOptions& options) {
  index::RocksKvOptions out;
  out.dir = DataDirs(options.server.data).broker_index;
  out.memtable_bytes = static_cast<uint64_t>(options.broker.index_memtable_bytes);
  out.block_cache_bytes = static_cast<uint64_t>(options.broker.index_block_cache_bytes);
  return out;
}

index::RocksKvOptions OffsetIndexOptions(const ProcessOptions& options) {
  index::RocksKvOptions out;
  out.dir = DataDirs(options.server.data).offset_index;
  out.memtable_bytes = static_cast<uint64_t>(options.offset.index_memtable_bytes);
  out.block_cache_bytes = static_cast<uint64_t>(options.offset.index_block_cache_bytes);
  return out;
}

offset::OffsetCoreOptions OffsetCoreOptionsOf(const ProcessOptions& options) {
  offset::OffsetCoreOptions out;
  out.log.dir = DataDirs(options.server.data).offset_log;
  out.log.shard_name = "offset";
  out.log.segment_bytes = options.offset.log_segment_bytes;
  out.log.cache_bytes = 4 << 20;  // nobody reads it back but a restart
  return out;
}

absl::StatusOr<std::unique_ptr<OffsetNode>> OffsetNode::Open(const ProcessOptions& options, Machine& machine) {
  std::unique_ptr<OffsetNode> node(new OffsetNode(machine));
  LogThreads& threads = node->threads_;
  FULMAR_RETURN_IF_ERROR(OpenIndex(OffsetIndexOptions(options), machine, threads.background, [](index::KvStore& kv) { return index::CheckIndexFormat(kv); }, node->kv_));
  const offset::OffsetCoreOptions core_options = OffsetCoreOptionsOf(options);
  FULMAR_RETURN_IF_ERROR(machine.files.MakeDirs(core_options.log.dir));
  absl::StatusOr<std::unique_ptr<offset::OffsetCore>> core = offset::OffsetCore::Open(
      core_options, {machine.files, machine.clock, machine.random, threads.shard, threads.writer, threads.reader, *node->kv_, &node->log_metrics_});
  if (!core.ok()) return Annotate(core.status(), "offset service");
  node->core_ = *std::move(core);
  return node;
}

void OffsetNode::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (core_ != nullptr) StopAndWait(*core_);
  if (kv_ != nullptr) FlushIndex(*kv_, "offset");
}

OffsetNode::~OffsetNode() {
  Stop();
  threads_.Stop();
}

absl::StatusOr<std::unique_ptr<BrokerNode>> BrokerNode::Open(const ProcessOptions& options, Machine& machine,
                                                             index::ProgressStore& progress, index::DefinitionStore& definitions) {
  std::unique_ptr<BrokerNode> node(new BrokerNode(machine, static_cast<size_t>(options.metrics.max_series)));
  LogThreads& threads = node->threads_;
  FULMAR_RETURN_IF_ERROR(OpenIndex(BrokerIndexOptions(options), machine, threads.background,
                                   [](index::KvStore& kv) { return broker::ShardState(kv).Load(); }, node->kv_));
  const broker::ShardOptions shard_options = ShardOptionsOf(options);
  FULMAR_RETURN_IF_ERROR(machine.files.MakeDirs(shard_options.log.dir));
  absl::StatusOr<std::unique_ptr<broker::Shard>> shard = broker::Shard::Open(
      shard_options, {machine.files, machine.clock, machine.random, threads.shard, threads.writer, threads.reader, *node->kv_, progress,
                      definitions, &node->shard_metrics_, &node->log_metrics_});
  if (!shard.ok()) return Annotate(shard.status(), absl::StrCat("shard '", shard_options.name, "'"));
  node->shard_ = *std::move(shard);
  return node;
}

void BrokerNode::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (shard_ != nullptr) StopAndWait(*shard_);
  if (kv_ != nullptr) FlushIndex(*kv_, "broker");
}

void BrokerNode::ShareShard(common::CqExecutor& data_plane) {
  data_plane_ = &data_plane;
  data_plane.HelpWith(threads_.shard);
}

BrokerNode::~BrokerNode() {
  Stop();
  if (data_plane_ != nullptr) data_plane_->StopHelping();
  threads_.Stop();
}

}  // namespace fulmar
