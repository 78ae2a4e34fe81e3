#ifndef FULMAR_COMMON_V2_RPC_METRICS_H_
#define FULMAR_COMMON_V2_RPC_METRICS_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "services/common/metrics.h"

namespace fulmar::v2edge {

// How often each RPC is called, how it ends and how long it takes (a receive: its wait included).
// Borrows: the metrics. Threads: any.
class RpcMetrics {
 public:
  // One RPC. Keep the reference: the common case (OK) then takes no lock.
  class Rpc {
   public:
    // `v2_code` 0: no answer of the protocol was made (malformed, cancelled).
    void Record(int v2_code, absl::Duration took);

   private:
    friend class RpcMetrics;
    Rpc(common::Metrics& metrics, std::string_view name);
    common::Counter& CounterOf(int v2_code);

    common::Metrics& metrics_;
    const std::string name_;
    common::Histogram& duration_;
    common::Counter& ok_;
    absl::Mutex mutex_;
    absl::flat_hash_map<int, common::Counter*> by_code_ ABSL_GUARDED_BY(mutex_);
  };

  explicit RpcMetrics(common::Metrics& metrics) : metrics_(metrics) {}
  // `name`: of the RPC without its service ("SendMessage"). The same name gives the same object, which lives as long as this one.
  Rpc& Of(std::string_view name);

 private:
  common::Metrics& metrics_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::unique_ptr<Rpc>> rpcs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::v2edge

#endif  // FULMAR_COMMON_V2_RPC_METRICS_H_
