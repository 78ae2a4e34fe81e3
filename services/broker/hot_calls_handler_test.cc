// The hot methods over a real connection. Nothing here uses gRPC's callback threads, so that the thread sanitizer can judge the data plane.
#include "services/broker/hot_calls_handler.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "services/broker/messaging_test_server.h"

namespace fulmar::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr char kMd5OfBody[] = "841A2D689AD86BD1611447453C22C6FC";  // of "body"

using HotCallsTest = MessagingServerTest;

TEST_F(HotCallsTest, WhatIsSentIsReceivedWithAllThatClientsNeed) {
  const pb::Message sent = ExampleMessage();
  const pb::SendMessageResponse answer = Send(sent);
  const Received received = Receive(ExampleReceive());

  EXPECT_EQ(answer.status().code(), pb::OK);
  ASSERT_EQ(answer.entries_size(), 1);
  EXPECT_EQ(answer.entries(0).status().code(), pb::OK);
  EXPECT_EQ(answer.entries(0).message_id(), "01ABCDEF");
  ASSERT_TRUE(received.status.ok()) << received.status.error_message();
  ASSERT_THAT(received.parts, SizeIs(3));
  EXPECT_EQ(received.parts[0].status().code(), pb::OK);
  EXPECT_TRUE(received.parts[2].has_delivery_timestamp());
  const pb::Message& message = received.parts[1].message();
  EXPECT_EQ(message.topic().name(), "orders");
  EXPECT_EQ(message.topic().resource_namespace(), "");
  EXPECT_EQ(message.body(), "body");
  EXPECT_EQ(message.user_properties().at("color"), "red");
  const pb::SystemProperties& system = message.system_properties();
  EXPECT_EQ(system.message_id(), "01ABCDEF");
  EXPECT_EQ(system.tag(), "t");
  EXPECT_THAT(system.keys(), ElementsAre("k1", "k2"));
  EXPECT_EQ(system.body_digest().type(), pb::MD5);
  EXPECT_EQ(system.body_digest().checksum(), kMd5OfBody);
  EXPECT_EQ(system.body_encoding(), pb::IDENTITY);
  EXPECT_EQ(system.message_type(), pb::NORMAL);
  EXPECT_EQ(system.born_timestamp().seconds(), 1'700'000'000);
  EXPECT_EQ(system.born_host(), "host");
  EXPECT_EQ(system.store_host(), "broker:8081");
  EXPECT_GT(system.store_timestamp().seconds(), 0);
  EXPECT_EQ(system.receipt_handle(), "handle-0");
  EXPECT_EQ(system.delivery_attempt(), 1);
  EXPECT_EQ(system.invisible_duration().seconds(), 30);
  EXPECT_TRUE(system.has_queue_offset());
  EXPECT_FALSE(system.has_message_group());
  EXPECT_FALSE(system.has_trace_context());
  EXPECT_FALSE(system.has_delivery_timestamp());
  EXPECT_FALSE(system.has_dead_letter_queue());
}

TEST_F(HotCallsTest, AParkedReceiveIsAnsweredByTheSend) {
  Received received;
  std::thread consumer([&] { received = Receive(ExampleReceive(absl::Seconds(8))); });
  while (shard_.Peek([](auto& s) { return s.parked.empty(); })) std::this_thread::yield();

  Send(ExampleMessage());
  consumer.join();

  EXPECT_EQ(received.code(), pb::OK);
  EXPECT_LT(received.took, absl::Seconds(7));
}

TEST_F(HotCallsTest, AnEmptyPollEndsAfterItsTimeWithMessageNotFound) {
  const Received received = Receive(ExampleReceive(absl::Milliseconds(300)));

  EXPECT_TRUE(received.status.ok());
  EXPECT_EQ(received.code(), pb::MESSAGE_NOT_FOUND);
  EXPECT_GE(received.took, absl::Milliseconds(300));
}

TEST_F(HotCallsTest, AReceiveWaitsNoLongerThanItsDeadlineAllows) {
  Received received;
  std::thread consumer([&] { received = Receive(ExampleReceive(absl::Seconds(40)), absl::Seconds(30)); });
  while (shard_.Peek([](auto& s) { return s.parked.empty(); })) std::this_thread::yield();

  const absl::Duration wait = shard_.Peek([](auto& s) { return s.receives.at(0).wait; });
  Send(ExampleMessage());
  consumer.join();

  EXPECT_LE(wait, absl::Milliseconds(29'600));  // gRPC sends a deadline rounded up to three digits
  EXPECT_GT(wait, absl::Seconds(15));
}

TEST_F(HotCallsTest, AnErrorOfAReceiveIsDelayed) {
  shard_.Peek([](auto& s) { s.receive_error = errors::Forbidden("no"); });

  const Received received = Receive(ExampleReceive());

  EXPECT_EQ(received.code(), pb::FORBIDDEN);
  EXPECT_GE(received.took, absl::Milliseconds(200));
}

TEST_F(HotCallsTest, ALargeBodyComesBackWhole) {
  pb::Message message = ExampleMessage();
  std::string body(4 * 1024 * 1024, 'x');
  for (size_t i = 0; i < body.size(); i += 997) body[i] = static_cast<char>(i);
  message.set_body(body);

  const pb::SendMessageResponse answer = Send(message);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  stub_ = pb::MessagingService::NewStub(
      grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials(), arguments));
  const Received received = Receive(ExampleReceive(), absl::Seconds(60));

  EXPECT_EQ(answer.status().code(), pb::OK);
  ASSERT_THAT(received.parts, SizeIs(3)) << received.status.error_message();
  EXPECT_TRUE(received.status.ok()) << received.status.error_message();
  EXPECT_TRUE(received.parts[1].message().body() == body);
}

// Parts that gRPC keeps back until the last one leave with it, whether they fill what it keeps or not.
TEST_F(HotCallsTest, AnswersOfManyPartsComeWholeAndAtOnce) {
  for (const size_t body_bytes : {10, 5'000, 20'000}) {
    pb::SendMessageRequest request;
    for (int i = 0; i < 8; ++i) (*request.add_messages() = ExampleMessage()).set_body(std::string(body_bytes, static_cast<char>('a' + i)));
    for (int round = 0; round < 20; ++round) {
      Send(request);
      const Received received = Receive(ExampleReceive());

      ASSERT_TRUE(received.status.ok()) << received.status.error_message();
      ASSERT_THAT(received.parts, SizeIs(10));
      for (size_t i = 0; i < 8; ++i) ASSERT_EQ(received.parts[i + 1].message().body(), std::string(body_bytes, static_cast<char>('a' + i)));
      ASSERT_LT(received.took, absl::Seconds(3));
    }
  }
}

TEST_F(HotCallsTest, WhatAVanishedClientWouldHaveGotIsGivenBack) {
  grpc::ClientContext context;
  Identify(context);
  const auto reader = stub_->ReceiveMessage(&context, ExampleReceive());
  while (shard_.Peek([](auto& s) { return s.parked.empty(); })) std::this_thread::yield();

  context.TryCancel();
  pb::ReceiveMessageResponse part;
  EXPECT_FALSE(reader->Read(&part));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);

  while (shard_.Peek([](auto& s) { return s.cancelled == 0 || !s.parked.empty(); })) std::this_thread::yield();
}

TEST_F(HotCallsTest, WhatAStreamThatDiesOnItsWayCarriedIsGivenBackWhole) {
  pb::Message message = ExampleMessage();
  message.set_body(std::string(1 << 20, 'x'));  // more than a stream takes before its client reads
  for (int i = 0; i < 8; ++i) Send(message);
  grpc::ClientContext context;
  Identify(context);
  const auto reader = stub_->ReceiveMessage(&context, ExampleReceive());
  pb::ReceiveMessageResponse part;
  ASSERT_TRUE(reader->Read(&part));
  EXPECT_EQ(part.status().code(), pb::OK);

  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);

  while (shard_.Peek([](auto& s) { return s.returned.size() < 8; })) std::this_thread::yield();
  EXPECT_EQ(shard_.Peek([](auto& s) { return s.returned.size(); }), 8u);
}

TEST_F(HotCallsTest, AcknowledgementsAreAnsweredOneByOne) {
  pb::AckMessageRequest request;
  request.mutable_group()->set_name("g");
  request.mutable_topic()->set_name("orders");
  request.add_entries()->set_receipt_handle("handle-1");
  request.add_entries()->set_receipt_handle("made up");
  request.mutable_entries(1)->set_message_id("m2");
  grpc::ClientContext context;
  Identify(context);
  pb::AckMessageResponse response;

  ASSERT_TRUE(stub_->AckMessage(&context, request, &response).ok());

  EXPECT_EQ(response.status().code(), pb::MULTIPLE_RESULTS);
  ASSERT_EQ(response.entries_size(), 2);
  EXPECT_EQ(response.entries(0).status().code(), pb::OK);
  EXPECT_EQ(response.entries(0).receipt_handle(), "handle-1");
  EXPECT_EQ(response.entries(1).status().code(), pb::INVALID_RECEIPT_HANDLE);
  EXPECT_EQ(response.entries(1).message_id(), "m2");
}

TEST_F(HotCallsTest, ACallWithoutClientIdIsRefused) {
  grpc::ClientContext context;
  pb::SendMessageRequest request;
  *request.add_messages() = ExampleMessage();
  pb::SendMessageResponse response;

  ASSERT_TRUE(stub_->SendMessage(&context, request, &response).ok());

  EXPECT_EQ(response.status().code(), pb::CLIENT_ID_REQUIRED);
}

TEST_F(HotCallsTest, AThousandParkedReceivesAreAllAnswered) {
  constexpr int kReceives = 1000;
  grpc::CompletionQueue queue;
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientAsyncReader<pb::ReceiveMessageResponse>> reader;
  };
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < kReceives; ++i) {
    auto& call = *calls.emplace_back(std::make_unique<Call>());
    Identify(call.context, absl::Seconds(60));
    call.reader = stub_->AsyncReceiveMessage(&call.context, ExampleReceive(absl::Seconds(50)), &queue, nullptr);
  }
  for (int i = 0; i < kReceives; ++i) {
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  }
  while (shard_.Peek([](auto& s) { return s.parked.size() < kReceives; })) std::this_thread::yield();

  pb::SendMessageRequest request;
  for (int i = 0; i < 100; ++i) *request.add_messages() = ExampleMessage();
  for (int i = 0; i < 80; ++i) Send(request);  // 8 for each
  int answered = 0;
  for (auto& call : calls) {
    pb::ReceiveMessageResponse part;
    call->reader->Read(&part, call.get());
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    answered += ok && part.status().code() == pb::OK;
  }
  for (auto& call : calls) call->context.TryCancel();

  EXPECT_EQ(answered, kReceives);
  queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) {
  }
}

TEST_F(HotCallsTest, StoppingAnswersWhatIsParked) {
  Received received;
  std::thread consumer([&] { received = Receive(ExampleReceive(absl::Seconds(30)), absl::Seconds(40)); });
  while (shard_.Peek([](auto& s) { return s.parked.empty(); })) std::this_thread::yield();

  Stop();
  consumer.join();

  EXPECT_TRUE(received.status.ok()) << received.status.error_message();
  EXPECT_EQ(received.code(), pb::HA_NOT_AVAILABLE);
}

TEST_F(HotCallsTest, TheNamespaceOfTheMetadataCountsWhereTheResourceHasNone) {
  grpc::ClientContext context;
  Identify(context);
  context.AddMetadata("x-mq-namespace", "ns");
  pb::AckMessageRequest request;
  request.mutable_group()->set_name("g");
  request.mutable_topic()->set_name("orders");
  request.add_entries()->set_receipt_handle("handle-1");
  pb::AckMessageResponse response;

  ASSERT_TRUE(stub_->AckMessage(&context, request, &response).ok());

  shard_.Peek([](auto& s) {
    EXPECT_EQ(s.acks.at(0).topic, "ns%orders");
    EXPECT_EQ(s.acks.at(0).group, "ns%g");
  });
}

}  // namespace
}  // namespace fulmar::broker
