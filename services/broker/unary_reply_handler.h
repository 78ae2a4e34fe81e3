#ifndef FULMAR_BROKER_UNARY_REPLY_HANDLER_H_
#define FULMAR_BROKER_UNARY_REPLY_HANDLER_H_

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "services/common/clock.h"
#include "services/common/errors.h"
#include "services/common/executor.h"
#include "services/common/grpc/rpc_service.h"
#include "services/v2/rpc_metrics.h"
#include "services/v2/status_convert.h"

namespace fulmar::broker {

// The answer that one call owes. Copies stand for the same call; End() is to be called once, from any thread.
template <class Response>
class UnaryReply {
 public:
  UnaryReply(common::UnaryCall* call, Response* response, v2edge::RpcMetrics::Rpc& rpc, common::Clock& clock, common::Executor& loop)
      : call_(call), response_(response), rpc_(&rpc), clock_(&clock), loop_(&loop), started_(clock.Steady()) {}

  // To be filled before End().
  Response* operator->() const { return response_; }
  Response& operator*() const { return *response_; }

  // Puts `status` into the response and sends it. What comes from the shard is sent by the loop: the shard does not write to sockets.
  void End(const absl::Status& status) const {
    v2edge::SetStatus(status, response_->mutable_status());
    rpc_->Record(V2CodeOf(status), clock_->Steady() - started_);
    call_->Finish(grpc::Status::OK);
  }
  void EndOnLoop(absl::Status status) const {
    loop_->Post([self = *this, status = std::move(status)] { self.End(status); });
  }

 private:
  common::UnaryCall* call_;
  Response* response_;
  v2edge::RpcMetrics::Rpc* rpc_;
  common::Clock* clock_;
  common::Executor* loop_;
  absl::Duration started_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_UNARY_REPLY_HANDLER_H_
