// Calls over the completion queue of one server, answered by another.
#include "services/common/grpc/rpc_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/common/grpc/grpc_server.h"
#include "services/common/grpc/rpc_testing.h"
#include "services/common/thread_executor.h"

namespace fulmar::common {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

constexpr absl::Duration kPatience = absl::Seconds(60);  // never waited for unless something hangs

// What came of one unary call.
struct Answer {
  auto Into() {
    return [this](const grpc::Status& s, const grpc::ClientContext& context, Text& response) {
      status = s;
      text = response.value();
      const auto found = context.GetServerTrailingMetadata().find("reason");
      if (found != context.GetServerTrailingMetadata().end()) reason.assign(found->second.data(), found->second.size());
      there.Notify();
    };
  }
  grpc::Status status;
  std::string text, reason;
  absl::Notification there;
};

// A stream that writes down what it hears.
class Listening final : public ClientStream<Text, Text> {
 public:
  using ClientStream::ClientStream;
  absl::Notification begun, first, over;
  std::vector<std::string> heard;  // to be read when it is over
  grpc::Status status;

 private:
  void OnHeaders() override { begun.Notify(); }
  void OnMessage(Text& text) override {
    heard.push_back(text.value());
    if (heard.size() == 1) first.Notify();
  }
  void OnEnd(const grpc::Status& s) override {
    status = s;
    over.Notify();
  }
};

class RpcClientTest : public ::testing::Test {
 protected:
  RpcClientTest() {
    echoing_ = MakeServer();
    echoing_->AddService(echo_);
    EXPECT_TRUE(echoing_->Start().ok());
    calling_ = MakeServer();
    EXPECT_TRUE(calling_->Start().ok());
    client_ = std::make_unique<RpcClient>(calling_->clients(), ChannelTo(echoing_->port()), "test.Echo");
  }
  ~RpcClientTest() override {
    client_.reset();
    calling_->Shutdown(absl::ZeroDuration());
    echo_.AnswerParked();
    echoing_->Shutdown(absl::Seconds(5));
    elsewhere_.Stop();
  }

  std::unique_ptr<GrpcServer> MakeServer() {
    GrpcServerOptions options;
    options.listen = "127.0.0.1:0";
    return *GrpcServer::Create(options, metrics_);
  }
  static std::shared_ptr<grpc::Channel> ChannelTo(int port) {
    return grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
  }
  std::shared_ptr<Listening> Open(const char* method) {
    auto stream = std::make_shared<Listening>(*client_, method);
    stream->Start();
    return stream;
  }

  Ledger ledger_;
  ThreadExecutor elsewhere_{"elsewhere"};
  Metrics metrics_;
  EchoService echo_{ledger_, elsewhere_};
  std::unique_ptr<GrpcServer> echoing_, calling_;
  std::unique_ptr<RpcClient> client_;
};

TEST_F(RpcClientTest, AUnaryCallIsAnsweredOnTheExecutor) {
  Answer answer;
  bool on_executor = false;

  client_->Unary<Text>("Say", TextOf("hello"), kPatience, [&, into = answer.Into()](const grpc::Status& status, const grpc::ClientContext& context, Text& response) mutable {
    on_executor = calling_->data_plane().IsCurrent();
    into(status, context, response);
  });
  answer.there.WaitForNotification();

  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.text, "hello");
  EXPECT_TRUE(on_executor);
}

TEST_F(RpcClientTest, AnErrorComesWithItsMetadata) {
  Answer answer;

  client_->Unary<Text>("Say", TextOf("error"), kPatience, answer.Into());
  answer.there.WaitForNotification();

  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(answer.status.error_message(), "no");
  EXPECT_EQ(answer.reason, "because");
}

TEST_F(RpcClientTest, ACallEndsWithItsTimeOrWithoutAServer) {
  Answer late, unreachable, absent;

  client_->Unary<Text>("Park", TextOf("x"), absl::Milliseconds(50), late.Into());
  late.there.WaitForNotification();
  client_->Unary<Text>("Nothing", TextOf("x"), kPatience, absent.Into());
  absent.there.WaitForNotification();
  RpcClient lonely(calling_->clients(), ChannelTo(1), "test.Echo");
  lonely.Unary<Text>("Say", TextOf("x"), kPatience, unreachable.Into());
  unreachable.there.WaitForNotification();

  EXPECT_EQ(late.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(absent.status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(unreachable.status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(RpcClientTest, AThousandCallsAtOnceAllComeBack) {
  constexpr int kCalls = 1000;
  std::vector<std::string> texts(kCalls);
  for (int i = 0; i < kCalls; ++i) {
    client_->Unary<Text>("Park", TextOf(absl::StrCat(i)), kPatience, [&, i](const grpc::Status&, const grpc::ClientContext&, Text& response) {
      texts[i] = response.value();
      ledger_.Add(ledger_.answered, 1);
    });
  }
  ledger_.Await(ledger_.begun, kCalls);

  echo_.AnswerParked();
  ledger_.Await(ledger_.answered, kCalls);

  for (int i = 0; i < kCalls; ++i) EXPECT_EQ(texts[i], absl::StrCat(i));
}

TEST_F(RpcClientTest, AStreamGoesBothWaysUntilTheOtherSideEndsIt) {
  const std::shared_ptr<Listening> stream = Open("Talk");

  for (const char* word : {"a", "b", "c"}) stream->Write(TextOf(word));
  stream->WritesDone();
  stream->over.WaitForNotification();

  EXPECT_THAT(stream->heard, ElementsAre("aa", "bb", "cc"));
  EXPECT_EQ(stream->status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(stream->unwritten(), 0);
}

TEST_F(RpcClientTest, OneRequestBringsAStreamBack) {
  const std::shared_ptr<Listening> stream = Open("Count");

  stream->WriteLast(TextOf("3"));
  stream->over.WaitForNotification();

  EXPECT_THAT(stream->heard, ElementsAre("1", "2", "3"));
  EXPECT_TRUE(stream->status.ok()) << stream->status.error_message();
}

TEST_F(RpcClientTest, ACancelledStreamEnds) {
  const std::shared_ptr<Listening> stream = Open("Count");
  stream->WriteLast(TextOf("for ever"));
  stream->first.WaitForNotification();

  stream->Cancel();
  stream->over.WaitForNotification();

  EXPECT_EQ(stream->status.error_code(), grpc::StatusCode::CANCELLED);
  ledger_.Await(ledger_.done, 1);
}

TEST_F(RpcClientTest, AStreamToNobodyEndsWithoutHeaders) {
  RpcClient lonely(calling_->clients(), ChannelTo(1), "test.Echo");
  const auto stream = std::make_shared<Listening>(lonely, "Talk");

  stream->Start();
  stream->Write(TextOf("x"));
  stream->over.WaitForNotification();

  EXPECT_EQ(stream->status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(stream->begun.HasBeenNotified());
}

TEST_F(RpcClientTest, TheEndOfAClientEndsItsCalls) {
  Answer parked;
  client_->Unary<Text>("Park", TextOf("x"), kPatience, parked.Into());
  const std::shared_ptr<Listening> stream = Open("Talk");
  stream->begun.WaitForNotification();

  client_.reset();

  ASSERT_TRUE(parked.there.HasBeenNotified());
  EXPECT_EQ(parked.status.error_code(), grpc::StatusCode::CANCELLED);
  ASSERT_TRUE(stream->over.HasBeenNotified());
  EXPECT_EQ(stream->status.error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(RpcClientTest, TheEndOfTheProcessEndsAllCallsAndRefusesMore) {
  Answer parked, refused;
  client_->Unary<Text>("Park", TextOf("x"), kPatience, parked.Into());
  const std::shared_ptr<Listening> stream = Open("Talk");
  stream->begun.WaitForNotification();

  calling_->Shutdown(absl::ZeroDuration());

  ASSERT_TRUE(parked.there.HasBeenNotified());
  EXPECT_EQ(parked.status.error_code(), grpc::StatusCode::CANCELLED);
  ASSERT_TRUE(stream->over.HasBeenNotified());
  client_->Unary<Text>("Say", TextOf("x"), kPatience, refused.Into());
  ASSERT_TRUE(refused.there.HasBeenNotified());
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::CANCELLED);
  const std::shared_ptr<Listening> late = Open("Talk");
  EXPECT_TRUE(late->over.HasBeenNotified());
}

TEST_F(RpcClientTest, CallsOfAServerThatNeverStartedEndWithIt) {
  Answer answer;
  {
    const std::unique_ptr<GrpcServer> never_started = MakeServer();
    RpcClient client(never_started->clients(), ChannelTo(echoing_->port()), "test.Echo");
    client.Unary<Text>("Park", TextOf("x"), kPatience, answer.Into());

    never_started->Shutdown(absl::ZeroDuration());
  }

  ASSERT_TRUE(answer.there.HasBeenNotified());
  EXPECT_FALSE(answer.status.ok());
}

// Threads of the callback API would take the data plane's events (see README.md); nothing that is used here starts one.
TEST_F(RpcClientTest, NoOtherThreadPollsGrpc) {
  Answer answer;
  client_->Unary<Text>("Say", TextOf("x"), kPatience, answer.Into());
  answer.there.WaitForNotification();

  std::vector<std::string> names;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "comm");
    std::string name;
    std::getline(file, name);
    names.push_back(name);
  }

  EXPECT_THAT(names, Contains("data-plane"));
  EXPECT_THAT(names, Not(Contains("nexting_thread")));
}

}  // namespace
}  // namespace fulmar::common
