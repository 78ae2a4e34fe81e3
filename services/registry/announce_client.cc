#include "services/registry/announce_client.h"

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "fulmar/registry/v1/registry.pb.h"
#include "services/common/grpc/rpc_client.h"
#include "services/registry/registry_convert.h"

namespace fulmar::registry {

// One stream to the registry.
class RemoteAnnounceSink::Stream final : public common::ClientStream<v1::Announcement, v1::AnnounceReply> {
 public:
  explicit Stream(common::RpcClient& registry) : ClientStream(registry, "Announce") {}

  // False when the stream has ended or still works on more than a few earlier announcements (a registry that hangs).
  bool Announce(const v1::Announcement& announcement, bool last) {
    if (ended() || unwritten() >= kMaxWaiting) return false;
    if (last) WriteLast(announcement);
    else Write(announcement);
    return true;
  }
  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }
  std::string problem() const {
    absl::MutexLock lock(&mutex_);
    return problem_;
  }

 private:
  static constexpr int kMaxWaiting = 4;

  void OnMessage(v1::AnnounceReply& reply) override {
    absl::MutexLock lock(&mutex_);
    problem_ = reply.problem();
  }
  void OnEnd(const grpc::Status& status) override {
    absl::MutexLock lock(&mutex_);
    ended_ = true;
    if (!status.ok()) problem_ = status.error_message();
  }

  mutable absl::Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::string problem_ ABSL_GUARDED_BY(mutex_);
};

RemoteAnnounceSink::RemoteAnnounceSink(common::RpcClient& registry, absl::AnyInvocable<void(const std::string&)> on_problem)
    : registry_(registry), on_problem_(std::move(on_problem)) {}

RemoteAnnounceSink::~RemoteAnnounceSink() {
  if (stream_ != nullptr) stream_->Cancel();
}

bool RemoteAnnounceSink::TakeFresh() {
  if (stream_ != nullptr && !stream_->ended()) {
    Report(stream_->problem());
    return false;
  }
  if (stream_ != nullptr) Report(stream_->problem());
  stream_ = std::make_shared<Stream>(registry_);
  stream_->Start();
  return true;
}

void RemoteAnnounceSink::Send(const Announcement& announcement) {
  if (stream_ == nullptr) return;
  if (!stream_->Announce(ToProto(announcement), /*last=*/false)) stream_->Cancel();  // the next period opens a new one
}

void RemoteAnnounceSink::Leave(const std::string& shard, uint64_t replica) {
  if (stream_ == nullptr) return;
  v1::Announcement announcement;
  announcement.set_shard(shard);
  announcement.set_replica(replica);
  announcement.set_leaving(true);
  announcement.set_endpoint("127.0.0.1:1");
  announcement.mutable_lease()->set_seconds(1);
  stream_->Announce(announcement, /*last=*/true);
}

void RemoteAnnounceSink::Report(const std::string& problem) {
  if (problem == last_problem_) return;
  last_problem_ = problem;
  on_problem_(problem);
}

}  // namespace fulmar::registry
