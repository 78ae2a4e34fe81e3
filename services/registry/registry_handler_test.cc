#include "services/registry/registry_handler.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "fulmar/registry/v1/registry.grpc.pb.h"
#include "services/common/grpc/grpc_server.h"
#include "services/common/system_clock.h"

namespace fulmar::registry {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);  // never waited for unless something hangs

class RegistryHandlerTest : public testing::Test {
 protected:
  RegistryHandlerTest() {
    common::GrpcServerOptions options;
    options.listen = "127.0.0.1:0";
    server_ = *common::GrpcServer::Create(options, metrics_);
    server_->AddService(handler_);
    EXPECT_TRUE(server_->Start().ok());
    stub_ = v1::RegistryService::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials()));
    context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoSeconds(2 * kPatience));
    stream_ = stub_->Announce(&context_);
  }
  ~RegistryHandlerTest() override { server_->Shutdown(absl::ZeroDuration()); }

  v1::AnnounceReply Announce(bool leaving = false) {
    v1::Announcement announcement;
    announcement.set_shard("s1");
    announcement.set_replica(1);
    announcement.set_term(1);
    announcement.set_leader(true);
    announcement.set_serving(true);
    announcement.set_full(true);
    announcement.set_endpoint("127.0.0.1:1000");
    announcement.mutable_lease()->set_seconds(600);
    announcement.set_leaving(leaving);
    v1::AnnounceReply reply;
    EXPECT_TRUE(stream_->Write(announcement));
    EXPECT_TRUE(stream_->Read(&reply));
    return reply;
  }

  common::SystemClock clock_;
  RouteTable table_{clock_};
  RegistryHandler handler_{table_};
  common::Metrics metrics_;
  std::unique_ptr<common::GrpcServer> server_;
  std::unique_ptr<v1::RegistryService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::Announcement, v1::AnnounceReply>> stream_;
};

TEST_F(RegistryHandlerTest, AnnouncementsEnterTheTableAndALeavingBrokerIsGoneAtOnce) {
  EXPECT_TRUE(Announce().accepted());
  EXPECT_TRUE(table_.LeaderOf("s1").has_value());

  EXPECT_TRUE(Announce(/*leaving=*/true).accepted());

  EXPECT_FALSE(table_.LeaderOf("s1").has_value());
}

TEST_F(RegistryHandlerTest, AnOpenStreamDoesNotKeepAStoppingServerFromShuttingDown) {
  Announce();
  const absl::Duration before = clock_.Steady();

  handler_.Stop();
  server_->Shutdown(kPatience);  // cancels what is still there then

  EXPECT_LT(clock_.Steady() - before, kPatience);
  v1::AnnounceReply reply;
  EXPECT_FALSE(stream_->Read(&reply));
}

}  // namespace
}  // namespace fulmar::registry
