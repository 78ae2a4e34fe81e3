#ifndef FULMAR_COMMON_GRPC_OPEN_CALLS_H_
#define FULMAR_COMMON_GRPC_OPEN_CALLS_H_

#include <grpcpp/server_context.h>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"

namespace fulmar::common {

// The calls of a service that end only when their clients want. A server that stops cancels them; it would wait for them until its grace is over.
// Threads: any. gRPC runs no reaction inside TryCancel(), so the calls may be cancelled with the lock held, which keeps them alive meanwhile.
class OpenCalls {
 public:
  // Before the first reaction can come, that is in the reactor's constructor.
  void Add(grpc::ServerContext& call) {
    absl::MutexLock lock(&mutex_);
    calls_.insert(&call);
    if (ending_) call.TryCancel();
  }
  // From the reactor's OnDone(): after it the call is gone.
  void Remove(grpc::ServerContext& call) {
    absl::MutexLock lock(&mutex_);
    calls_.erase(&call);
  }
  // Those that are open, and whatever comes from now on.
  void CancelAll() {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    for (grpc::ServerContext* call : calls_) call->TryCancel();
  }

 private:
  absl::Mutex mutex_;
  absl::flat_hash_set<grpc::ServerContext*> calls_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_GRPC_OPEN_CALLS_H_
