// All but the hot methods, over a real connection; and what gRPC's generic client, which has callback threads, asks of them.
#include "services/broker/messaging_handler.h"

#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "services/broker/admin_service_handler.h"
#include "services/broker/messaging_test_server.h"

namespace fulmar::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

using MessagingHandlerTest = MessagingServerTest;

// Goal: the route repeats the address of the request, with queues from 0, as all clients can read it.
TEST_F(MessagingHandlerTest, MalformedBytesAreInvalidArgument) {
  grpc::GenericStub generic(channel_);
  for (const char* method : {"SendMessage", "AckMessage", "ReceiveMessage"}) {
    grpc::ClientContext context;
    Identify(context);
    const grpc::Slice slice("\x0a\xff\xff");
    grpc::ByteBuffer request(&slice, 1), response;
    grpc::CompletionQueue queue;
    const auto call = generic.PrepareUnaryCall(&context, absl::StrCat("/apache.rocketmq.v2.MessagingService/", method), request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));

    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method << ": " << status.error_message();
  }
}

TEST_F(MessagingHandlerTest, ARouteRepeatsTheAddressThatWasAskedWith) {
  pb::QueryRouteRequest request;
  request.mutable_topic()->set_name("orders");
  request.mutable_endpoints()->set_scheme(pb::DOMAIN_NAME);
  request.mutable_endpoints()->add_addresses()->set_host("outside.example");
  request.mutable_endpoints()->mutable_addresses(0)->set_port(30081);
  grpc::ClientContext context;
  Identify(context);
  pb::QueryRouteResponse response;

  ASSERT_TRUE(stub_->QueryRoute(&context, request, &response).ok());

  EXPECT_EQ(response.status().code(), pb::OK);
  ASSERT_EQ(response.message_queues_size(), 4);
  for (int i = 0; i < 4; ++i) {
    const pb::MessageQueue& queue = response.message_queues(i);
    EXPECT_EQ(queue.id(), i);
    EXPECT_EQ(queue.permission(), pb::READ_WRITE);
    EXPECT_EQ(queue.topic().name(), "orders");
    EXPECT_EQ(queue.broker().id(), 0);
    EXPECT_EQ(queue.broker().name(), "shard-0");
    EXPECT_EQ(queue.broker().endpoints().scheme(), pb::DOMAIN_NAME);
    ASSERT_EQ(queue.broker().endpoints().addresses_size(), 1);
    EXPECT_EQ(queue.broker().endpoints().addresses(0).host(), "outside.example");
    EXPECT_EQ(queue.broker().endpoints().addresses(0).port(), 30081);
    EXPECT_THAT(queue.accept_message_types(), ElementsAre(pb::NORMAL));
  }
}

TEST_F(MessagingHandlerTest, AnUnknownTopicHasNoRoute) {
  pb::QueryRouteRequest request;
  request.mutable_topic()->set_name("missing");
  grpc::ClientContext context;
  Identify(context);
  pb::QueryRouteResponse response;

  ASSERT_TRUE(stub_->QueryRoute(&context, request, &response).ok());

  EXPECT_EQ(response.status().code(), pb::TOPIC_NOT_FOUND);
}

TEST_F(MessagingHandlerTest, AssignmentsAreOnePerBrokerOrOnePerQueueOfAnOrderedGroup) {
  for (const bool fifo : {false, true}) {
    shard_.Peek([&](auto& s) { s.group.order = fifo ? index::DeliveryOrder::kFifo : index::DeliveryOrder::kConcurrent; });
    pb::QueryAssignmentRequest request;
    request.mutable_topic()->set_name("orders");
    request.mutable_group()->set_name("g");
    grpc::ClientContext context;
    Identify(context);
    pb::QueryAssignmentResponse response;

    ASSERT_TRUE(stub_->QueryAssignment(&context, request, &response).ok());

    EXPECT_EQ(response.status().code(), pb::OK);
    ASSERT_EQ(response.assignments_size(), fifo ? 4 : 1);
    EXPECT_EQ(response.assignments(0).message_queue().id(), fifo ? 0 : -1);
    EXPECT_EQ(response.assignments(0).message_queue().broker().endpoints().addresses(0).host(), "10.0.0.1");
  }
}

TEST_F(MessagingHandlerTest, ChangingInvisibilityAlwaysAnswersAHandle) {
  const auto change = [&](int64_t seconds) {
    pb::ChangeInvisibleDurationRequest request;
    request.mutable_group()->set_name("g");
    request.mutable_topic()->set_name("orders");
    request.set_receipt_handle("handle-7");
    request.mutable_invisible_duration()->set_seconds(seconds);
    grpc::ClientContext context;
    Identify(context);
    pb::ChangeInvisibleDurationResponse response;
    EXPECT_TRUE(stub_->ChangeInvisibleDuration(&context, request, &response).ok());
    return std::pair(static_cast<int>(response.status().code()), response.receipt_handle());
  };

  EXPECT_EQ(change(0), std::pair(20000, std::string("handle-7-new")));
  EXPECT_EQ(change(-1), std::pair(40011, std::string("handle-7")));
  EXPECT_EQ(change(12 * 3600 + 1), std::pair(40011, std::string("handle-7")));
  EXPECT_EQ(change(int64_t{1} << 62), std::pair(40011, std::string("handle-7")));
  shard_.Peek([](auto& s) { s.change_error = errors::InvalidReceiptHandle("late"); });
  EXPECT_EQ(change(10), std::pair(40013, std::string("handle-7")));
}

TEST_F(MessagingHandlerTest, AHeartbeatStandsForItself) {
  const auto beat = [&](const char* client, const char* group, pb::ClientType type) {
    pb::HeartbeatRequest request;
    request.set_client_type(type);
    if (*group != 0) request.mutable_group()->set_name(group);
    grpc::ClientContext context;
    if (*client != 0) context.AddMetadata("x-mq-client-id", client);
    pb::HeartbeatResponse response;
    EXPECT_TRUE(stub_->Heartbeat(&context, request, &response).ok());
    return static_cast<int>(response.status().code());
  };

  EXPECT_EQ(beat("c1", "g", pb::PUSH_CONSUMER), 20000);
  EXPECT_EQ(beat("c2", "", pb::PRODUCER), 20000);
  EXPECT_EQ(beat("", "", pb::PRODUCER), 20000);  // as Go's after a lost connection
  EXPECT_EQ(beat("c3", "bad group!", pb::SIMPLE_CONSUMER), 40003);
  EXPECT_EQ(beat("c4", "g", pb::LITE_PUSH_CONSUMER), 40015);
  shard_.Peek([](auto& s) {
    EXPECT_THAT(s.touched, ElementsAre(std::pair("c1", "g"), std::pair("c2", "")));
  });
}

TEST_F(MessagingHandlerTest, WhatIsNotBuiltSaysSo) {
  const auto code = [&](auto method, auto request, auto response) {
    grpc::ClientContext context;
    Identify(context);
    EXPECT_TRUE((stub_.get()->*method)(&context, request, &response).ok());
    return response.status().code();
  };
  using Stub = pb::MessagingService::Stub;

  EXPECT_EQ(code(&Stub::EndTransaction, pb::EndTransactionRequest(), pb::EndTransactionResponse()), pb::NOT_IMPLEMENTED);
  EXPECT_EQ(code(&Stub::SyncLiteSubscription, pb::SyncLiteSubscriptionRequest(), pb::SyncLiteSubscriptionResponse()), pb::NOT_IMPLEMENTED);
}

TEST_F(MessagingHandlerTest, PullReadsByOffset) {
  Send(ExampleMessage());
  Send(ExampleMessage());
  pb::PullMessageRequest request;
  request.mutable_group()->set_name("g");
  request.mutable_message_queue()->mutable_topic()->set_name("orders");
  request.set_offset(1);
  request.set_batch_size(10);
  grpc::ClientContext context;
  Identify(context);

  const auto reader = stub_->PullMessage(&context, request);
  std::vector<pb::PullMessageResponse> parts;
  for (pb::PullMessageResponse part; reader->Read(&part);) parts.push_back(part);

  EXPECT_TRUE(reader->Finish().ok());
  ASSERT_THAT(parts, SizeIs(3));
  EXPECT_EQ(parts[0].status().code(), pb::OK);
  EXPECT_EQ(parts[1].message().system_properties().queue_offset(), 1);
  EXPECT_FALSE(parts[1].message().system_properties().has_receipt_handle());
  EXPECT_EQ(parts[2].next_offset(), 2);
}

TEST_F(MessagingHandlerTest, OffsetsAreAskedForAndStored) {
  pb::GetOffsetRequest get;
  get.mutable_group()->set_name("g");
  get.mutable_message_queue()->mutable_topic()->set_name("orders");
  pb::GetOffsetResponse got;
  grpc::ClientContext get_context;
  Identify(get_context);
  ASSERT_TRUE(stub_->GetOffset(&get_context, get, &got).ok());
  pb::UpdateOffsetRequest update;
  update.mutable_group()->set_name("g");
  update.mutable_message_queue()->mutable_topic()->set_name("orders");
  update.set_offset(-5);
  pb::UpdateOffsetResponse updated;
  grpc::ClientContext update_context;
  Identify(update_context);
  ASSERT_TRUE(stub_->UpdateOffset(&update_context, update, &updated).ok());
  pb::QueryOffsetRequest query;
  query.mutable_message_queue()->mutable_topic()->set_name("orders");
  query.set_query_offset_policy(pb::END);
  pb::QueryOffsetResponse queried;
  grpc::ClientContext query_context;
  Identify(query_context);
  ASSERT_TRUE(stub_->QueryOffset(&query_context, query, &queried).ok());

  EXPECT_EQ(got.status().code(), pb::OFFSET_NOT_FOUND);
  EXPECT_EQ(updated.status().code(), pb::ILLEGAL_OFFSET);
  EXPECT_EQ(queried.status().code(), pb::OK);
  EXPECT_EQ(queried.offset(), 101);
}

TEST_F(MessagingHandlerTest, AFarewellIsPassedOn) {
  pb::NotifyClientTerminationRequest request;
  grpc::ClientContext context;
  Identify(context);
  pb::NotifyClientTerminationResponse response;

  ASSERT_TRUE(stub_->NotifyClientTermination(&context, request, &response).ok());

  EXPECT_EQ(response.status().code(), pb::OK);
  shard_.Peek([](auto& s) {
    EXPECT_THAT(s.terminated, ElementsAre("client-1"));
  });
}

TEST_F(MessagingHandlerTest, CallsAreCountedByRpcAndCode) {
  Send(ExampleMessage());
  pb::Message empty = ExampleMessage();
  empty.clear_body();
  Send(empty);

  const std::string text = metrics_.Render();
  EXPECT_THAT(text, ::testing::HasSubstr("fulmar_rpc_requests_total{code=\"OK\",rpc=\"SendMessage\"} 1"));
  EXPECT_THAT(text, ::testing::HasSubstr("fulmar_rpc_requests_total{code=\"MESSAGE_BODY_EMPTY\",rpc=\"SendMessage\"} 1"));
}

// One telemetry stream of a client.
class TelemetryClient {
 public:
  explicit TelemetryClient(pb::MessagingService::Stub& stub, const char* client = "client-1") {
    if (*client != 0) context_.AddMetadata("x-mq-client-id", client);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    stream_ = stub.Telemetry(&context_);
  }
  // Writes settings and reads one answer.
  pb::TelemetryCommand Ask(const pb::Settings& settings) {
    pb::TelemetryCommand command, answer;
    *command.mutable_settings() = settings;
    EXPECT_TRUE(stream_->Write(command));
    EXPECT_TRUE(stream_->Read(&answer));
    return answer;
  }
  grpc::Status End() {
    stream_->WritesDone();
    pb::TelemetryCommand rest;
    while (stream_->Read(&rest)) {
    }
    return stream_->Finish();
  }
  grpc::ClientContext& context() { return context_; }
  grpc::ClientReaderWriter<pb::TelemetryCommand, pb::TelemetryCommand>& stream() { return *stream_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<pb::TelemetryCommand, pb::TelemetryCommand>> stream_;
};

pb::Settings ConsumerSettings(pb::Language language = pb::JAVA) {
  pb::Settings settings;
  settings.set_client_type(pb::PUSH_CONSUMER);
  settings.mutable_user_agent()->set_language(language);
  settings.mutable_subscription()->mutable_group()->set_name("g");
  settings.mutable_subscription()->add_subscriptions()->mutable_topic()->set_name("orders");
  return settings;
}
pb::Settings ProducerSettings() {
  pb::Settings settings;
  settings.set_client_type(pb::PRODUCER);
  settings.mutable_publishing()->add_topics()->set_name("orders");
  settings.mutable_publishing()->mutable_topics(0)->set_resource_namespace("ns");
  settings.mutable_request_timeout()->set_seconds(3);
  return settings;
}

TEST_F(MessagingHandlerTest, TelemetryHeadersComeBeforeAnythingElse) {
  TelemetryClient client(*stub_);

  client.stream().WaitForInitialMetadata();  // hangs, and ends with the deadline, if they are held back

  EXPECT_TRUE(client.End().ok());
}

TEST_F(MessagingHandlerTest, SettingsAreAnsweredEachTimeTheyCome) {
  TelemetryClient client(*stub_);

  for (int i = 0; i < 3; ++i) {
    const pb::TelemetryCommand answer = client.Ask(ProducerSettings());
    EXPECT_EQ(answer.status().code(), pb::OK);
    EXPECT_EQ(answer.settings().publishing().max_body_size(), 4'194'304);
    EXPECT_EQ(answer.settings().publishing().topics(0).resource_namespace(), "ns");
    EXPECT_EQ(answer.settings().backoff_policy().max_attempts(), 3);
    EXPECT_TRUE(answer.settings().backoff_policy().has_exponential_backoff());
    EXPECT_EQ(answer.settings().request_timeout().seconds(), 3);
  }
  EXPECT_TRUE(client.End().ok());
}

TEST_F(MessagingHandlerTest, AConsumerIsToldThePolicyOfItsGroupInTheFormItUnderstands) {
  shard_.Peek([](auto& s) { s.group.retry = {.max_attempts = 5, .delays = {absl::Seconds(2), absl::Seconds(7)}}; });
  TelemetryClient java(*stub_, "java"), node(*stub_, "node");

  const pb::Settings for_java = java.Ask(ConsumerSettings(pb::JAVA)).settings();
  const pb::Settings for_node = node.Ask(ConsumerSettings(pb::NODE_JS)).settings();

  EXPECT_EQ(for_java.backoff_policy().max_attempts(), 5);
  ASSERT_EQ(for_java.backoff_policy().customized_backoff().next_size(), 2);
  EXPECT_EQ(for_java.backoff_policy().customized_backoff().next(1).seconds(), 7);
  EXPECT_FALSE(for_java.subscription().fifo());
  EXPECT_EQ(for_java.subscription().receive_batch_size(), 32);
  EXPECT_EQ(for_java.subscription().long_polling_timeout().seconds(), 20);
  EXPECT_EQ(for_java.subscription().subscriptions(0).topic().name(), "orders");
  EXPECT_EQ(for_node.backoff_policy().exponential_backoff().initial().seconds(), 2);
  EXPECT_EQ(for_node.backoff_policy().exponential_backoff().max().seconds(), 7);
  EXPECT_TRUE(java.End().ok());
  EXPECT_TRUE(node.End().ok());
}

TEST_F(MessagingHandlerTest, SettingsBeforeAHalfCloseAreStillAnswered) {
  TelemetryClient client(*stub_);
  pb::TelemetryCommand command, answer;
  *command.mutable_settings() = ConsumerSettings(pb::RUST);

  client.stream().Write(command);
  client.stream().WritesDone();

  EXPECT_TRUE(client.stream().Read(&answer));
  EXPECT_EQ(answer.status().code(), pb::OK);
  EXPECT_FALSE(client.stream().Read(&answer));
  EXPECT_TRUE(client.stream().Finish().ok());
}

TEST_F(MessagingHandlerTest, RefusedSettingsAreToldByACommandAndByTheEndOfTheStream) {
  const auto refused = [&](const std::function<void(pb::Settings&)>& change, const char* client_id = "client-1") {
    pb::Settings settings = ConsumerSettings();
    change(settings);
    TelemetryClient client(*stub_, client_id);
    pb::TelemetryCommand command, answer;
    *command.mutable_settings() = settings;
    client.stream().Write(command);
    EXPECT_TRUE(client.stream().Read(&answer));
    EXPECT_FALSE(answer.has_settings());
    const grpc::Status end = client.End();
    EXPECT_EQ(end.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << end.error_message();
    return static_cast<int>(answer.status().code());
  };

  EXPECT_EQ(refused([](auto&) {}, ""), 40017);
  EXPECT_EQ(refused([](auto& s) { s.mutable_subscription()->mutable_group()->set_name("no way"); }), 40003);
  EXPECT_EQ(refused([](auto& s) { s.mutable_subscription()->mutable_subscriptions(0)->mutable_topic()->set_name(""); }), 40002);
  EXPECT_EQ(refused([](auto& s) { s.mutable_subscription()->mutable_subscriptions(0)->mutable_expression()->set_expression("a|b"); }), 40010);
  EXPECT_EQ(refused([](auto& s) { s.set_client_type(pb::LITE_PUSH_CONSUMER); }), 40015);
  EXPECT_EQ(refused([](auto& s) { s.clear_pub_sub(); }), 40000);
  EXPECT_EQ(refused([](auto& s) { (*s.mutable_client_properties())["rocketmq.x"] = "v"; }), 40021);
  EXPECT_EQ(refused([](auto& s) { for (int i = 0; i < 33; ++i) (*s.mutable_client_properties())["k" + std::to_string(i)] = "v"; }), 40021);
  shard_.Peek([](auto& s) { s.group_error = errors::ConsumerGroupNotFound("no such group"); });
  EXPECT_EQ(refused([](auto&) {}), 40403);
}

TEST_F(MessagingHandlerTest, StreamsOfOneClientLiveSideBySideAndCommandsGoToTheNewest) {
  auto first = std::make_unique<TelemetryClient>(*stub_);
  first->Ask(ProducerSettings());
  auto second = std::make_unique<TelemetryClient>(*stub_);
  second->Ask(ProducerSettings());
  first->Ask(ProducerSettings());
  EXPECT_EQ(shard_.Peek([](auto& s) { return s.streams["client-1"]; }), 2);
  pb::TelemetryCommand command, seen;
  command.mutable_print_thread_stack_trace_command()->set_nonce("n");

  EXPECT_TRUE(handler_->telemetry().Send("client-1", command));
  EXPECT_TRUE(second->stream().Read(&seen));

  EXPECT_EQ(seen.print_thread_stack_trace_command().nonce(), "n");
  EXPECT_TRUE(first->End().ok());
  EXPECT_TRUE(second->End().ok());
  while (shard_.Peek([](auto& s) { return s.streams["client-1"] != 0; })) std::this_thread::yield();
  EXPECT_FALSE(handler_->telemetry().Send("client-1", command));
}

TEST_F(MessagingHandlerTest, AVanishedClientEndsItsStream) {
  {
    TelemetryClient client(*stub_);
    client.Ask(ConsumerSettings());
    EXPECT_EQ(handler_->telemetry().streams(), 1u);
    client.context().TryCancel();
    (void)client.End();
  }

  while (handler_->telemetry().streams() != 0) std::this_thread::yield();
}

TEST_F(MessagingHandlerTest, StoppingEndsTelemetryStreamsSoThatClientsConnectAnew) {
  TelemetryClient client(*stub_);
  client.Ask(ProducerSettings());

  handler_->Stop();

  pb::TelemetryCommand rest;
  EXPECT_FALSE(client.stream().Read(&rest));
  EXPECT_EQ(client.stream().Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(AdminServiceHandlerTest, ChangesTheLogLevelAndSaysOfTheRestThatItIsMissing) {
  common::Metrics metrics;
  common::GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  const std::unique_ptr<common::GrpcServer> server = *common::GrpcServer::Create(options, metrics);
  std::string level;
  AdminServiceHandler admin(
      [&](const std::string& asked) {
        level = asked;
        return absl::OkStatus();
      },
      *server);
  ASSERT_TRUE(server->Start().ok());
  const auto stub = pb::Admin::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(server->port()), grpc::InsecureChannelCredentials()));

  grpc::ClientContext change_context, describe_context, stats_context;
  pb::ChangeLogLevelRequest change;
  change.set_level(pb::ChangeLogLevelRequest::WARN);
  pb::ChangeLogLevelResponse changed;
  ASSERT_TRUE(stub->ChangeLogLevel(&change_context, change, &changed).ok());
  pb::DescribeTopicStatusResponse described;
  ASSERT_TRUE(stub->DescribeTopicStatus(&describe_context, pb::DescribeTopicStatusRequest(), &described).ok());
  pb::GetProxyRuntimeStatsResponse stats;
  ASSERT_TRUE(stub->GetProxyRuntimeStats(&stats_context, pb::GetProxyRuntimeStatsRequest(), &stats).ok());

  EXPECT_EQ(level, "warn");
  EXPECT_THAT(changed.remark(), ::testing::HasSubstr("warn"));
  EXPECT_EQ(described.status().code(), pb::NOT_IMPLEMENTED);
  EXPECT_EQ(stats.status().code(), pb::NOT_IMPLEMENTED);
  server->Shutdown(absl::Seconds(1));
}

}  // namespace
}  // namespace fulmar::broker
