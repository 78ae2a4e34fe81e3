#include "services/registry/registry_handler.h"

#include <string>

#include "fulmar/registry/v1/registry.pb.h"
#include "services/registry/registry_convert.h"

namespace fulmar::registry {
namespace {

// One broker's stream: read, take in, answer, read on. Reads and writes alternate, so nothing piles up.
class AnnounceStream final : public common::ServerStream<v1::Announcement, v1::AnnounceReply> {
 public:
  AnnounceStream(common::ServerCall& call, RouteTable& table, common::OpenCalls& open) : ServerStream(call), table_(table), open_(open) {
    open_.Add(context());
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    absl::StatusOr<Announcement> announcement = FromProto(request_);
    v1::AnnounceReply reply;
    if (!announcement.ok()) {
      reply.set_problem(std::string(announcement.status().message()));
    } else if (request_.leaving()) {
      table_.Withdraw(announcement->shard, announcement->replica);
      reply.set_accepted(true);
    } else {
      table_.Announce(*announcement);
      reply.set_accepted(true);
    }
    StartWrite(reply);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartRead(&request_);
  }

  void OnCancel() override { Finish(grpc::Status::CANCELLED); }

  void OnDone() override {
    open_.Remove(context());
    delete this;
  }

 private:
  RouteTable& table_;
  common::OpenCalls& open_;
  v1::Announcement request_;
};

}  // namespace

void RegistryHandler::Announce(common::ServerCall* call) {
  new AnnounceStream(*call, table_, open_);
}

}  // namespace fulmar::registry
