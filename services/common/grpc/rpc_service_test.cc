// Methods on the completion queue, seen by gRPC's own blocking client over a real connection.
#include "services/common/grpc/rpc_service.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/sync_stream.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/grpc/grpc_server.h"
#include "services/common/grpc/rpc_testing.h"
#include "services/common/thread_executor.h"

namespace fulmar::common {
namespace {

using ::testing::ElementsAre;

class RpcServiceTest : public ::testing::Test {
 protected:
  RpcServiceTest() {
    GrpcServerOptions options;
    options.listen = "127.0.0.1:0";
    options.max_receive_message_bytes = 1 << 20;
    server_ = *GrpcServer::Create(options, metrics_);
    server_->AddService(echo_);
    EXPECT_TRUE(server_->Start().ok());
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    channel_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server_->port()), grpc::InsecureChannelCredentials(), arguments);
  }
  ~RpcServiceTest() override {
    server_->Shutdown(absl::Seconds(5));
    elsewhere_.Stop();
  }

  static void Bound(grpc::ClientContext& context, absl::Duration timeout = absl::Seconds(60)) {
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
  }
  template <class Request, class Response>
  grpc::Status Unary(const char* path, const Request& request, Response& response, grpc::ClientContext& context) {
    return grpc::internal::BlockingUnaryCall(channel_.get(), grpc::internal::RpcMethod(path, grpc::internal::RpcMethod::NORMAL_RPC), &context, request, &response);
  }
  grpc::Status Unary(const char* path, const std::string& text, std::string* answer = nullptr, absl::Duration timeout = absl::Seconds(60)) {
    grpc::ClientContext context;
    Bound(context, timeout);
    Text request, response;
    request.set_value(text);
    const grpc::Status status = Unary(path, request, response, context);
    if (answer != nullptr) *answer = response.value();
    return status;
  }
  std::unique_ptr<grpc::ClientReader<Text>> Count(const std::string& text, grpc::ClientContext& context) {
    Text request;
    request.set_value(text);
    return std::unique_ptr<grpc::ClientReader<Text>>(grpc::internal::ClientReaderFactory<Text>::Create(
        channel_.get(), grpc::internal::RpcMethod("/test.Echo/Count", grpc::internal::RpcMethod::SERVER_STREAMING), &context, request));
  }
  template <class Message>
  std::unique_ptr<grpc::ClientReaderWriter<Message, Message>> Talk(grpc::ClientContext& context) {
    return std::unique_ptr<grpc::ClientReaderWriter<Message, Message>>(grpc::internal::ClientReaderWriterFactory<Message, Message>::Create(
        channel_.get(), grpc::internal::RpcMethod("/test.Echo/Talk", grpc::internal::RpcMethod::BIDI_STREAMING), &context));
  }

  Ledger ledger_;
  ThreadExecutor elsewhere_{"elsewhere"};
  Metrics metrics_;
  EchoService echo_{ledger_, elsewhere_};
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(RpcServiceTest, AUnaryMethodAnswers) {
  std::string answer;

  EXPECT_TRUE(Unary("/test.Echo/Say", "hello", &answer).ok());

  EXPECT_EQ(answer, "hello");
}

TEST_F(RpcServiceTest, AnErrorCarriesItsMessageAndMetadata) {
  grpc::ClientContext context;
  Bound(context);
  Text request, response;
  request.set_value("error");

  const grpc::Status status = Unary("/test.Echo/Say", request, response, context);

  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "no");
  ASSERT_EQ(context.GetServerTrailingMetadata().count("reason"), 1u);
  EXPECT_EQ(context.GetServerTrailingMetadata().find("reason")->second, "because");
}

TEST_F(RpcServiceTest, AThousandCallsAtOnceAreAllAnsweredFromAnotherThread) {
  constexpr int kCalls = 1000;
  grpc::CompletionQueue queue;
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<Text>> reader;
    Text response;
    grpc::Status status;
  };
  std::vector<Call> calls(kCalls);
  for (int i = 0; i < kCalls; ++i) {
    Bound(calls[i].context);
    Text request;
    request.set_value(absl::StrCat("call ", i));
    calls[i].reader.reset(grpc::internal::ClientAsyncResponseReaderHelper::Create<Text>(
        channel_.get(), &queue, grpc::internal::RpcMethod("/test.Echo/Park", grpc::internal::RpcMethod::NORMAL_RPC), &calls[i].context, request));
    calls[i].reader->StartCall();
    calls[i].reader->Finish(&calls[i].response, &calls[i].status, &calls[i]);
  }
  ledger_.Await(ledger_.begun, kCalls);

  echo_.AnswerParked();
  for (int i = 0; i < kCalls; ++i) {
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
  }

  for (int i = 0; i < kCalls; ++i) {
    EXPECT_TRUE(calls[i].status.ok()) << calls[i].status.error_message();
    EXPECT_EQ(calls[i].response.value(), absl::StrCat("call ", i));
  }
  queue.Shutdown();
}

TEST_F(RpcServiceTest, AServerStreamWritesInOrderAndEnds) {
  grpc::ClientContext context;
  Bound(context);
  const auto reader = Count("3", context);

  std::vector<std::string> texts;
  for (Text text; reader->Read(&text);) texts.push_back(text.value());

  EXPECT_THAT(texts, ElementsAre("1", "2", "3"));
  EXPECT_TRUE(reader->Finish().ok());
  ledger_.Await(ledger_.done, 1);
  EXPECT_EQ(ledger_.Of(ledger_.cancelled), 0);
}

TEST_F(RpcServiceTest, ABidirectionalStreamHearsTheEndOfTheClient) {
  grpc::ClientContext context;
  Bound(context);
  const auto stream = Talk<Text>(context);
  Text text;

  for (const char* word : {"a", "bc"}) {
    text.set_value(word);
    ASSERT_TRUE(stream->Write(text));
    ASSERT_TRUE(stream->Read(&text));
    EXPECT_EQ(text.value(), std::string(word) + word);
  }
  stream->WritesDone();

  EXPECT_FALSE(stream->Read(&text));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::ABORTED);
  ledger_.Await(ledger_.done, 1);
  EXPECT_EQ(ledger_.Of(ledger_.cancelled), 0);
}

// The writes and the end come from a thread of their own, so they race with the end of the call.
TEST_F(RpcServiceTest, AClientThatCancelsEndsItsStreamAlthoughAnotherThreadWrites) {
  for (int i = 1; i <= 20; ++i) {
    grpc::ClientContext context;
    Bound(context);
    const auto reader = Count("for ever", context);
    Text text;
    ASSERT_TRUE(reader->Read(&text));

    context.TryCancel();
    while (reader->Read(&text)) {
    }

    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
    ledger_.Await(ledger_.done, i);
    EXPECT_EQ(ledger_.Of(ledger_.cancelled), i);
  }
}

TEST_F(RpcServiceTest, ADeadlineEndsAStreamOnBothSides) {
  grpc::ClientContext context;
  Bound(context, absl::Milliseconds(100));
  const auto stream = Talk<Text>(context);
  Text text;

  EXPECT_FALSE(stream->Read(&text));

  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ledger_.Await(ledger_.done, ledger_.Of(ledger_.begun));
}

TEST_F(RpcServiceTest, AUnaryCallWhoseClientHasLeftMayStillBeAnswered) {
  EXPECT_EQ(Unary("/test.Echo/Park", "x", nullptr, absl::Milliseconds(100)).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ledger_.Await(ledger_.begun, 1);

  echo_.AnswerParked();

  EXPECT_TRUE(Unary("/test.Echo/Say", "on").ok());
}

TEST_F(RpcServiceTest, ShutdownEndsOpenStreamsAndWaitsForOwedAnswers) {
  grpc::ClientContext talk_context, count_context;
  Bound(talk_context);
  Bound(count_context);
  const auto talk = Talk<Text>(talk_context);
  const auto count = Count("for ever", count_context);
  grpc::Status parked;
  std::thread client([&] { parked = Unary("/test.Echo/Park", "x"); });
  ledger_.Await(ledger_.begun, 3);
  elsewhere_.After(absl::Milliseconds(100), [&] { echo_.AnswerParked(); });

  server_->Shutdown(absl::ZeroDuration());
  client.join();

  EXPECT_EQ(ledger_.Of(ledger_.done), 2);
  EXPECT_FALSE(parked.ok());
  EXPECT_FALSE(talk->Finish().ok());
  Text text;
  while (count->Read(&text)) {
  }
  EXPECT_FALSE(count->Finish().ok());
}

TEST_F(RpcServiceTest, UnknownMethodsAreUnimplemented) {
  for (const char* path : {"/test.Echo/Nothing", "/test.Nobody/Say", "/nonsense", "/test.Echo/Say/"})
    EXPECT_EQ(Unary(path, "x").error_code(), grpc::StatusCode::UNIMPLEMENTED) << path;
}

TEST_F(RpcServiceTest, BytesThatAreNoRequestDoNotReachTheMethod) {
  const grpc::Slice slice("\xff\xff");
  const grpc::ByteBuffer request(&slice, 1);
  for (const char* path : {"/test.Echo/Say", "/test.Echo/Count"}) {
    grpc::ClientContext context;
    Bound(context);
    grpc::ByteBuffer response;
    EXPECT_EQ(Unary(path, request, response, context).error_code(), grpc::StatusCode::UNIMPLEMENTED) << path;
  }
  EXPECT_EQ(ledger_.Of(ledger_.begun), 0);

  grpc::ClientContext context;
  Bound(context);
  const auto stream = Talk<grpc::ByteBuffer>(context);
  ASSERT_TRUE(stream->Write(request));
  grpc::ByteBuffer response;
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::ABORTED);  // as if the client had said nothing more
}

TEST_F(RpcServiceTest, AStreamWithoutItsRequestIsEnded) {
  grpc::ClientContext context;
  Bound(context);
  const std::unique_ptr<grpc::ClientReaderWriter<Text, Text>> stream(grpc::internal::ClientReaderWriterFactory<Text, Text>::Create(
      channel_.get(), grpc::internal::RpcMethod("/test.Echo/Count", grpc::internal::RpcMethod::BIDI_STREAMING), &context));

  stream->WritesDone();

  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(RpcServiceTest, MessagesAboveTheLimitAreRefusedAndBelowItGoThrough) {
  std::string answer;

  EXPECT_TRUE(Unary("/test.Echo/Say", std::string((1 << 20) - 100, 'x'), &answer).ok());
  EXPECT_EQ(answer.size(), (1u << 20) - 100);
  EXPECT_EQ(Unary("/test.Echo/Say", std::string((1 << 20) + 100, 'x')).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Unary("/test.Echo/Say", "on").ok());
}

}  // namespace
}  // namespace fulmar::common
