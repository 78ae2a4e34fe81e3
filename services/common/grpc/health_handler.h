#ifndef FULMAR_COMMON_GRPC_HEALTH_HANDLER_H_
#define FULMAR_COMMON_GRPC_HEALTH_HANDLER_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "grpc/health/v1/health.pb.h"
#include "services/common/grpc/rpc_service.h"

namespace fulmar::common {

// The service grpc.health.v1. An own one, because the library's keeps its watches open when the server stops, which then waits for them until
// its grace is over.
// Threads: any.
class HealthHandler final : public RpcService {
 public:
  HealthHandler();
  // "" is the server as a whole. What was never set is unknown.
  void Set(const std::string& service, bool serving);
  // NOT_SERVING for everything, which watches are told before they end. Later ones, too, end at once.
  void Stop();

  void Check(UnaryCall* call, const grpc::health::v1::HealthCheckRequest* request, grpc::health::v1::HealthCheckResponse* response);
  void Watch(ServerCall* call, const grpc::health::v1::HealthCheckRequest* request);

 private:
  class Watcher;
  using ServingStatus = grpc::health::v1::HealthCheckResponse::ServingStatus;
  void PumpAll();

  absl::Mutex mutex_;
  absl::btree_map<std::string, ServingStatus> services_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_HEALTH_HANDLER_H_
