#ifndef FULMAR_BROKER_PULL_REPLY_HANDLER_H_
#define FULMAR_BROKER_PULL_REPLY_HANDLER_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "apache/rocketmq/v2/service.pb.h"
#include "services/common/grpc/rpc_service.h"

namespace fulmar::broker {

// The stream of one PullMessage: nothing until Reply(), then the parts, then the end. Lives until gRPC is done with it and nobody else
// holds it. Threads: any.
class PullReply final : public common::ServerWriter<apache::rocketmq::v2::PullMessageResponse>, public std::enable_shared_from_this<PullReply> {
 public:
  using Part = apache::rocketmq::v2::PullMessageResponse;
  using ServerWriter::ServerWriter;
  static std::shared_ptr<PullReply> Make(common::ServerCall& call);

  // Once. Of a call that was cancelled in between nothing is written.
  void Reply(std::vector<Part> parts);
  // Instead of Reply(): no answer of the protocol can be made.
  void Fail(grpc::Status status);

  // `gone` runs when the caller is gone before its answer; at once when it is already.
  void WhenCancelled(absl::AnyInvocable<void() &&> gone);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { self_.reset(); }

 private:
  // Whoever comes first may begin or end the stream.
  bool Claim();

  std::shared_ptr<PullReply> self_;
  std::vector<Part> parts_;
  size_t written_ = 0;
  absl::Mutex mutex_;
  bool claimed_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  absl::AnyInvocable<void() &&> gone_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_PULL_REPLY_HANDLER_H_
