#include "services/registry/announce_client.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "fulmar/registry/v1/registry.grpc.pb.h"
#include "services/registry/registry_convert.h"

namespace fulmar::registry {

// One stream to the registry. gRPC keeps it alive (self_) until OnDone.
class RemoteAnnounceSink::Stream final : public grpc::ClientBidiReactor<v1::Announcement, v1::AnnounceReply> {
 public:
  static std::shared_ptr<Stream> Open(const std::shared_ptr<grpc::Channel>& channel) {
    auto stream = std::make_shared<Stream>();
    stream->stub_ = v1::RegistryService::NewStub(channel);
    stream->self_ = stream;
    stream->stub_->async()->Announce(&stream->context_, stream.get());
    stream->StartRead(&stream->reply_);
    stream->AddHold();  // writes start outside of reactions
    stream->StartCall();
    return stream;
  }

  // False when the stream has ended or still works on more than a few earlier announcements (a registry that hangs).
  bool Write(v1::Announcement announcement, bool last) {
    {
      absl::MutexLock lock(&mutex_);
      if (ended_ || waiting_.size() >= kMaxWaiting) return false;
      waiting_.push_back({std::move(announcement), last});
      if (waiting_.size() > 1) return true;  // a write is under way
    }
    StartFront();
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
  void Cancel() { context_.TryCancel(); }

  void OnWriteDone(bool ok) override {
    bool more = false, last = false, ended = false;
    {
      absl::MutexLock lock(&mutex_);
      last = waiting_.front().last;
      waiting_.pop_front();
      more = ok && !waiting_.empty();
      if (!ok) ended_ = true;
      ended = ended_;
    }
    if (more) return StartFront();
    if (last) StartWritesDone();
    if (ended || last) RemoveHoldOnce();
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      {
        absl::MutexLock lock(&mutex_);
        ended_ = true;
        if (!waiting_.empty()) return;  // OnWriteDone(false) removes the hold
      }
      return RemoveHoldOnce();
    }
    {
      absl::MutexLock lock(&mutex_);
      problem_ = reply_.problem();
    }
    StartRead(&reply_);
  }

  void OnDone(const grpc::Status& status) override {
    {
      absl::MutexLock lock(&mutex_);
      ended_ = true;
      if (!status.ok()) problem_ = status.error_message();
    }
    self_.reset();
  }

 private:
  static constexpr size_t kMaxWaiting = 4;
  struct Waiting {
    v1::Announcement announcement;
    bool last = false;
  };

  void StartFront() {
    const v1::Announcement* front;
    {
      absl::MutexLock lock(&mutex_);
      front = &waiting_.front().announcement;  // a deque keeps its front in place while the back grows
    }
    StartWrite(front);
  }
  void RemoveHoldOnce() {
    {
      absl::MutexLock lock(&mutex_);
      ended_ = true;
      if (std::exchange(hold_removed_, true)) return;
    }
    RemoveHold();
  }

  std::unique_ptr<v1::RegistryService::Stub> stub_;
  grpc::ClientContext context_;
  v1::AnnounceReply reply_;
  std::shared_ptr<Stream> self_;
  mutable absl::Mutex mutex_;
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool hold_removed_ ABSL_GUARDED_BY(mutex_) = false;
  std::string problem_ ABSL_GUARDED_BY(mutex_);
};

RemoteAnnounceSink::RemoteAnnounceSink(std::shared_ptr<grpc::Channel> channel,
                                       absl::AnyInvocable<void(const std::string&)> on_problem)
    : channel_(std::move(channel)), on_problem_(std::move(on_problem)) {}

RemoteAnnounceSink::~RemoteAnnounceSink() {
  if (stream_ != nullptr) stream_->Cancel();
}

bool RemoteAnnounceSink::TakeFresh() {
  if (stream_ != nullptr && !stream_->ended()) {
    Report(stream_->problem());
    return false;
  }
  if (stream_ != nullptr) Report(stream_->problem());
  stream_ = Stream::Open(channel_);
  return true;
}

void RemoteAnnounceSink::Send(const Announcement& announcement) {
  if (stream_ == nullptr) return;
  if (!stream_->Write(ToProto(announcement), /*last=*/false)) stream_->Cancel();  // the next period opens a new one
}

void RemoteAnnounceSink::Leave(const std::string& shard, uint64_t replica) {
  if (stream_ == nullptr) return;
  v1::Announcement announcement;
  announcement.set_shard(shard);
  announcement.set_replica(replica);
  announcement.set_leaving(true);
  announcement.set_endpoint("127.0.0.1:1");
  announcement.mutable_lease()->set_seconds(1);
  stream_->Write(std::move(announcement), /*last=*/true);
}

void RemoteAnnounceSink::Report(const std::string& problem) {
  if (problem == last_problem_) return;
  last_problem_ = problem;
  on_problem_(problem);
}

}  // namespace fulmar::registry
