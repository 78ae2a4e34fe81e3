#ifndef FULMAR_BROKER_MESSAGING_TEST_SERVER_H_
#define FULMAR_BROKER_MESSAGING_TEST_SERVER_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "apache/rocketmq/v2/admin.grpc.pb.h"
#include "apache/rocketmq/v2/service.grpc.pb.h"
#include "gtest/gtest.h"
#include "services/broker/fake_shard_testing.h"
#include "services/broker/messaging_handler.h"
#include "services/common/system_clock.h"
#include "services/common/thread_executor.h"

namespace fulmar::broker {

// The broker's edge in a server of its own on a free port, a fake shard behind it, gRPC's own client in front.
class MessagingServerTest : public ::testing::Test {
 protected:
  void SetUp() override { Begin({}); }

  void Begin(MessagingOptions options) {
    common::GrpcServerOptions server_options;
    server_options.listen = "127.0.0.1:0";
    absl::StatusOr<std::unique_ptr<common::GrpcServer>> server = common::GrpcServer::Create(server_options, metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    options.data_plane.store_host = "broker:8081";
    options.data_plane.error_delay = absl::Milliseconds(200);
    options.routes = {.shard_name = "shard-0", .advertised = {.host = "10.0.0.1", .port = 8081}, .repeat_requested = true};
    handler_ = std::make_unique<MessagingHandler>(options, shard_, nullptr, *server_, clock_, rpc_metrics_);
    ASSERT_TRUE(server_->Start().ok());
    handler_->Start();
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials());
    stub_ = pb::MessagingService::NewStub(channel_);
  }

  void TearDown() override { Stop(); }

  void Stop() {
    if (server_ == nullptr) return;
    handler_->Stop();
    absl::Notification stopped;
    shard_.Stop([&] { stopped.Notify(); });
    stopped.WaitForNotification();
    server_->Shutdown(absl::Seconds(5));
    server_.reset();
  }

  static void Identify(grpc::ClientContext& context, absl::Duration timeout = absl::Seconds(60), const char* client = "client-1") {
    context.AddMetadata("x-mq-client-id", client);
    context.AddMetadata("x-mq-language", "CPP");
    context.set_deadline(absl::ToChronoTime(common::SystemClock().Now() + timeout));
  }

  static pb::Message ExampleMessage() {
    pb::Message message;
    message.mutable_topic()->set_name("orders");
    message.set_body("body");
    (*message.mutable_user_properties())["color"] = "red";
    pb::SystemProperties* system = message.mutable_system_properties();
    system->set_message_id("01ABCDEF");
    system->set_tag("t");
    system->add_keys("k1");
    system->add_keys("k2");
    system->set_message_type(pb::NORMAL);
    system->mutable_born_timestamp()->set_seconds(1'700'000'000);
    system->set_born_host("host");
    return message;
  }

  pb::SendMessageResponse Send(const pb::SendMessageRequest& request) {
    grpc::ClientContext context;
    Identify(context);
    pb::SendMessageResponse response;
    const grpc::Status status = stub_->SendMessage(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  pb::SendMessageResponse Send(const pb::Message& message) {
    pb::SendMessageRequest request;
    *request.add_messages() = message;
    return Send(request);
  }

  static pb::ReceiveMessageRequest ExampleReceive(absl::Duration wait = absl::Seconds(5)) {
    pb::ReceiveMessageRequest request;
    request.mutable_group()->set_name("g");
    request.mutable_message_queue()->mutable_topic()->set_name("orders");
    request.set_batch_size(8);
    request.mutable_invisible_duration()->set_seconds(30);
    *request.mutable_long_polling_timeout() = v2edge::ToProto(wait);
    return request;
  }

  struct Received {
    grpc::Status status;
    std::vector<pb::ReceiveMessageResponse> parts;
    absl::Duration took;
    int code() const { return parts.empty() ? 0 : parts[0].status().code(); }
  };
  Received Receive(const pb::ReceiveMessageRequest& request, absl::Duration timeout = absl::Seconds(60)) {
    const absl::Duration begin = clock_.Steady();
    grpc::ClientContext context;
    Identify(context, timeout);
    Received received;
    const auto reader = stub_->ReceiveMessage(&context, request);
    pb::ReceiveMessageResponse part;
    while (reader->Read(&part)) received.parts.push_back(part);
    received.status = reader->Finish();
    received.took = clock_.Steady() - begin;
    return received;
  }

  common::SystemClock clock_;
  common::Metrics metrics_;
  v2edge::RpcMetrics rpc_metrics_{metrics_};
  common::ThreadExecutor executor_{"shard"};
  FakeShard shard_{executor_};
  std::unique_ptr<common::GrpcServer> server_;
  std::unique_ptr<MessagingHandler> handler_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::MessagingService::Stub> stub_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_MESSAGING_TEST_SERVER_H_
