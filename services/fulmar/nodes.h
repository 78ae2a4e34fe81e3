#ifndef FULMAR_FULMAR_NODES_H_
#define FULMAR_FULMAR_NODES_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "services/broker/shard.h"
#include "services/broker/shard_options.h"
#include "services/common/grpc/cq_executor.h"
#include "services/common/metrics.h"
#include "services/common/pool_executor.h"
#include "services/common/posix_files.h"
#include "services/common/system_clock.h"
#include "services/common/system_random.h"
#include "services/common/thread_executor.h"
#include "services/fulmar/process_options.h"
#include "services/fulmar/shard_observer.h"
#include "services/index/ports.h"
#include "services/index/rocks_kv.h"
#include "services/offset/offset_core.h"

namespace fulmar {

// What every part of the process borrows of the system. Lives as long as main().
struct Machine {
  common::PosixFiles files;
  common::SystemClock clock;
  common::SystemRandom random;
  common::Metrics metrics;
};

// Where the parts keep what they keep, below server.data.
struct DataDirs {
  explicit DataDirs(const std::string& data)
      : broker_log(data + "/broker/log"), broker_index(data + "/broker/index"), offset_log(data + "/offset/log"),
        offset_index(data + "/offset/index"), tls(data + "/tls") {}
  std::string broker_log, broker_index, offset_log, offset_index, tls;
};

broker::ShardOptions ShardOptionsOf(const ProcessOptions& options);
index::RocksKvOptions BrokerIndexOptions(const ProcessOptions& options);
index::RocksKvOptions OffsetIndexOptions(const ProcessOptions& options);
offset::OffsetCoreOptions OffsetCoreOptionsOf(const ProcessOptions& options);

// The threads of one log with its state machine, by role.
struct LogThreads {
  LogThreads(const std::string& prefix, int readers)
      : background(prefix + "-back"), reader(prefix + "-read", readers), writer(prefix + "-writer"), shard(prefix + "-shard") {}
  // After the state machine has stopped: whatever is still posted runs, in the order in which threads post to each other.
  void Stop() {
    reader.Stop();
    writer.Stop();
    shard.Stop();
    background.Stop();
  }
  common::ThreadExecutor background;
  common::PoolExecutor reader;
  common::ThreadExecutor writer;
  common::ThreadExecutor shard;
};

// The offset service with its threads and its index.
class OffsetNode {
 public:
  // Blocking recovery. Errors name the file and the remedy.
  static absl::StatusOr<std::unique_ptr<OffsetNode>> Open(const ProcessOptions& options, Machine& machine);
  ~OffsetNode();  // Stop(), and ends the threads: after the last server that may call has shut down
  void Start() { core_->Start(); }
  // Drains, syncs, makes the index durable. Blocking; twice is fine. Requests that come later are answered that it has stopped.
  void Stop();
  offset::OffsetCore& core() { return *core_; }
  LogMetrics& log_metrics() { return log_metrics_; }

 private:
  explicit OffsetNode(Machine& machine) : threads_("offset", 1), log_metrics_(machine.metrics, "offset") {}
  LogThreads threads_;
  LogMetrics log_metrics_;
  std::unique_ptr<index::RocksKv> kv_;
  std::unique_ptr<offset::OffsetCore> core_;
  bool stopped_ = false;
};

// One shard with its threads and its index. Borrows the stores.
class BrokerNode {
 public:
  static absl::StatusOr<std::unique_ptr<BrokerNode>> Open(const ProcessOptions& options, Machine& machine,
                                                          index::ProgressStore& progress, index::DefinitionStore& definitions);
  ~BrokerNode();  // Stop(), and ends the threads: after the last server that may call has shut down
  void Start() { shard_->Start(); }
  // Answers the parked, flushes progress, drains, syncs, makes the index durable. Blocking; twice is fine.
  // The stores must still answer. Commands that come later are answered that it has stopped: clients may call until their server is shut down.
  void Stop();
  // Lets `data_plane`, which hands in the commands and sends the answers, run the shard's tasks too while it has the time.
  // Borrows it until this node is gone. Once.
  void ShareShard(common::CqExecutor& data_plane);
  broker::Shard& shard() { return *shard_; }
  ShardMetrics& metrics() { return shard_metrics_; }
  LogMetrics& log_metrics() { return log_metrics_; }

 private:
  BrokerNode(Machine& machine, size_t max_series)
      : threads_("broker", 2), log_metrics_(machine.metrics, "broker"), shard_metrics_(machine.metrics, max_series) {}
  LogThreads threads_;
  common::CqExecutor* data_plane_ = nullptr;
  LogMetrics log_metrics_;
  ShardMetrics shard_metrics_;
  std::unique_ptr<index::RocksKv> kv_;
  std::unique_ptr<broker::Shard> shard_;
  bool stopped_ = false;
};

}  // namespace fulmar

#endif  // FULMAR_FULMAR_NODES_H_
