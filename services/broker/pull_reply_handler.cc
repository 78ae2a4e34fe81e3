#include "services/broker/pull_reply_handler.h"

#include <utility>

namespace fulmar::broker {

std::shared_ptr<PullReply> PullReply::Make(common::ServerCall& call) {
  auto reply = std::make_shared<PullReply>(call);
  reply->self_ = reply;
  return reply;
}

bool PullReply::Claim() {
  absl::MutexLock lock(&mutex_);
  return !std::exchange(claimed_, true);
}

void PullReply::Reply(std::vector<Part> parts) {
  if (!Claim()) return;
  parts_ = std::move(parts);
  StartWrite(parts_[0]);
}

void PullReply::Fail(grpc::Status status) {
  if (Claim()) Finish(std::move(status));
}

void PullReply::OnWriteDone(bool ok) {
  if (ok && ++written_ < parts_.size()) return StartWrite(parts_[written_]);
  Finish(ok ? grpc::Status::OK : grpc::Status::CANCELLED);
}

void PullReply::WhenCancelled(absl::AnyInvocable<void() &&> gone) {
  {
    absl::MutexLock lock(&mutex_);
    if (!cancelled_) {
      gone_ = std::move(gone);
      return;
    }
  }
  std::move(gone)();
}

void PullReply::OnCancel() {
  absl::AnyInvocable<void() &&> gone;
  {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    gone = std::exchange(gone_, nullptr);
  }
  Fail(grpc::Status::CANCELLED);
  if (gone) std::move(gone)();
}

}  // namespace fulmar::broker
