#ifndef FULMAR_TESTS_INTEGRATION_CLIENT_H_
#define FULMAR_TESTS_INTEGRATION_CLIENT_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "apache/rocketmq/v2/service.grpc.pb.h"
#include "fulmar/admin/v1/admin.grpc.pb.h"

namespace fulmar::integration {

namespace v2 = ::apache::rocketmq::v2;
namespace admin = ::fulmar::admin::v1;

// What a stream of ReceiveMessage or PullMessage said.
struct Received {
  grpc::Status grpc;
  v2::Status status;
  std::vector<v2::Message> messages;
  std::optional<int64_t> next_offset;  // pull
  bool has_delivery_time = false;      // receive
  absl::Duration took;

  v2::Code code() const { return status.code(); }
  std::string Id(size_t i) const { return messages.at(i).system_properties().message_id(); }
  std::string Handle(size_t i) const { return messages.at(i).system_properties().receipt_handle(); }
};

// What raw bytes brought back.
struct RawAnswer {
  grpc::Status status;
  std::vector<std::string> messages;
};

// One connection, and the calls that the tests make, each in the form of an official client.
class Client {
 public:
  struct Options {
    std::string client_id;  // empty: a new one
    bool without_id = false;
    std::string language = "JAVA";
    bool tls = false;
  };
  explicit Client(const std::string& endpoint) : Client(endpoint, Options()) {}
  Client(const std::string& endpoint, Options options);

  const std::string& id() const { return options_.client_id; }
  v2::MessagingService::Stub& stub() { return *stub_; }
  admin::AdminService::Stub& admin() { return *admin_; }
  const std::shared_ptr<grpc::Channel>& channel() { return channel_; }
  std::unique_ptr<grpc::ClientContext> Context(absl::Duration deadline = absl::Seconds(20)) const;

  // A unary call that gRPC itself lets pass; anything else fails the test.
  template <class Response, class Request>
  Response Call(grpc::Status (v2::MessagingService::Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request) {
    Response response;
    const grpc::Status status = (stub_.get()->*method)(Context().get(), request, &response);
    Check(status);
    return response;
  }
  v2::SendMessageResponse Send(const v2::SendMessageRequest& request) { return Call(&v2::MessagingService::Stub::SendMessage, request); }
  // Sends one message, which must be taken; returns its id.
  std::string Send(const v2::Message& message);
  Received Receive(const v2::ReceiveMessageRequest& request, absl::Duration deadline = absl::Seconds(20));
  Received Pull(const v2::PullMessageRequest& request, absl::Duration deadline = absl::Seconds(20));
  v2::AckMessageResponse Ack(const std::string& topic, const std::string& group, const std::vector<std::string>& handles);
  v2::ChangeInvisibleDurationResponse Change(const std::string& topic, const std::string& group, const std::string& handle, absl::Duration invisible);

  // Bytes as the request of any method ("/package.Service/Method") of any kind; collects what comes.
  RawAnswer Raw(const std::string& method, const std::string& request, absl::Duration deadline = absl::Seconds(10));

 private:
  void Check(const grpc::Status& status);

  Options options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v2::MessagingService::Stub> stub_;
  std::unique_ptr<admin::AdminService::Stub> admin_;
};

// A name that no other test uses.
std::string NewName(const std::string& prefix);
v2::Resource Name(const std::string& name);
// As an official producer fills it.
v2::Message NewMessage(const std::string& topic, const std::string& body = "body");
v2::SendMessageRequest OneOf(const v2::Message& message);
// As a simple consumer asks: all tags, one message, `await` long.
v2::ReceiveMessageRequest NewReceive(const std::string& topic, const std::string& group, absl::Duration await = absl::ZeroDuration(), int batch = 1,
                                     absl::Duration invisible = absl::Seconds(30));
void Set(google::protobuf::Duration* out, absl::Duration value);
// Messages that the topic holds altogether, by the admin service; -1 when there is no such topic.
int64_t StoredIn(Client& client, const std::string& topic);
// Creates what the test needs with default settings.
void CreateTopic(Client& client, const std::string& topic, admin::TopicType type = admin::TOPIC_TYPE_NORMAL, int queues = 4);

}  // namespace fulmar::integration

#endif  // FULMAR_TESTS_INTEGRATION_CLIENT_H_
