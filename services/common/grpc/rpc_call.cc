#include "services/common/grpc/rpc_call.h"

#include <string>

namespace fulmar::common {

void ServerCall::Ask(grpc::AsyncGenericService& service, std::function<void(bool)> begun, std::function<void()> over) {
  self_ = shared_from_this();
  begun_ = std::move(begun);
  over_ = std::move(over);
  context_.AsyncNotifyWhenDone(&over_tag_);
  service.RequestCall(&context_, &stream_, executor_.queue(), executor_.queue(), &begun_tag_);
}

void ServerCall::OnBegun(bool ok) {
  const std::shared_ptr<ServerCall> self = ok ? self_ : std::move(self_);  // of a call that never began no end is told
  std::exchange(begun_, nullptr)(ok);
  if (!ok) over_();
}

void ServerCall::ReadRequest(std::function<void(grpc::ByteBuffer*)> got) {
  got_request_ = std::move(got);
  Read();
}

void ServerCall::SendInitialMetadata() {
  OnLoop([this] {
    if (finishing_) return;
    ++under_way_;
    stream_.SendInitialMetadata(&metadata_tag_);
  });
}

void ServerCall::Read() {
  OnLoop([this] {
    if (finishing_) return;
    ++under_way_;
    stream_.Read(&read_, &read_tag_);
  });
}

void ServerCall::Write(grpc::ByteBuffer bytes) {
  OnLoop([this, bytes = std::move(bytes)] {
    if (finishing_) return;
    ++under_way_;
    stream_.Write(bytes, &write_tag_);
  });
}

void ServerCall::Finish(grpc::Status status) {
  OnLoop([this, status = std::move(status)] {
    if (std::exchange(finishing_, true)) return;
    ++under_way_;
    stream_.Finish(status, &finish_tag_);
  });
}

void ServerCall::FinishWith(std::function<grpc::ByteBuffer()> answer) {
  OnLoop([this, answer = std::move(answer)] {
    if (std::exchange(finishing_, true)) return;
    ++under_way_;
    stream_.WriteAndFinish(answer(), grpc::WriteOptions(), grpc::Status::OK, &finish_tag_);  // both in one packet
  });
}

void ServerCall::OnMetadataSent(bool) {
  --under_way_;
  MaybeRelease();
}

void ServerCall::OnRead(bool ok) {
  --under_way_;
  if (got_request_) {
    std::exchange(got_request_, nullptr)(ok ? &read_ : nullptr);
  } else if (reactor_ != nullptr && !finishing_) {
    reactor_->OnReadDone(ok && reactor_->Take(read_));
  }
  MaybeRelease();
}

void ServerCall::OnWritten(bool ok) {
  --under_way_;
  if (reactor_ != nullptr && !finishing_) reactor_->OnWriteDone(ok);
  MaybeRelease();
}

void ServerCall::OnFinished(bool) {
  --under_way_;
  MaybeRelease();
}

void ServerCall::OnOver(bool) {
  is_over_ = true;
  if (reactor_ != nullptr && !finishing_ && context_.IsCancelled()) reactor_->OnCancel();
  MaybeRelease();
}

void ServerCall::MaybeRelease() {
  if (!is_over_ || !finishing_ || under_way_ != 0) return;
  const std::shared_ptr<ServerCall> self = std::move(self_);
  if (self == nullptr) return;
  kept_.reset();
  if (reactor_ != nullptr) std::exchange(reactor_, nullptr)->OnDone();
  over_();
}

}  // namespace fulmar::common
