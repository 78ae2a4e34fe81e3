#include "services/registry/registry_handler.h"

#include <string>

#include "services/registry/registry_convert.h"

namespace fulmar::registry {
namespace {

// One broker's stream: read, take in, answer, read on. Reads and writes alternate, so nothing piles up.
class AnnounceStream final : public grpc::ServerBidiReactor<v1::Announcement, v1::AnnounceReply> {
 public:
  AnnounceStream(grpc::CallbackServerContext& call, RouteTable& table, common::OpenCalls& open) : call_(call), table_(table), open_(open) {
    open_.Add(call_);
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    absl::StatusOr<Announcement> announcement = FromProto(request_);
    reply_.Clear();
    if (!announcement.ok()) {
      reply_.set_problem(std::string(announcement.status().message()));
    } else if (request_.leaving()) {
      table_.Withdraw(announcement->shard, announcement->replica);
      reply_.set_accepted(true);
    } else {
      table_.Announce(*announcement);
      reply_.set_accepted(true);
    }
    StartWrite(&reply_);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&request_);
  }

  void OnDone() override {
    open_.Remove(call_);
    delete this;
  }

 private:
  grpc::CallbackServerContext& call_;
  RouteTable& table_;
  common::OpenCalls& open_;
  v1::Announcement request_;
  v1::AnnounceReply reply_;
};

}  // namespace

grpc::ServerBidiReactor<v1::Announcement, v1::AnnounceReply>* RegistryHandler::Announce(grpc::CallbackServerContext* call) {
  return new AnnounceStream(*call, table_, open_);
}

}  // namespace fulmar::registry
