#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "apache/rocketmq/v2/admin.pb.h"
#include "apache/rocketmq/v2/service.pb.h"
#include "fulmar/offset/v1/offset.pb.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// Bytes that are no protobuf, and protobuf that is odd, at every method of every service: an answer in time, and the server lives on.
namespace fulmar::integration {
namespace {

struct Bad {
  const char* name;
  std::string bytes;
};

std::vector<Bad> BadBytes() {
  std::string deep;  // groups and lengths nested without end
  for (int i = 0; i < 200; ++i) deep = "\x0a" + std::string(1, static_cast<char>(std::min<size_t>(deep.size(), 127))) + deep;
  return {
      {"a length beyond the end", "\x0a\xff\xff\xff\xff\x0f"},
      {"a length of 2^64", std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11)},
      {"a varint of eleven bytes", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
      {"a varint that ends early", "\x08\xff"},
      {"field number zero", std::string("\x02\x00", 2)},
      {"wire type 6", "\x0e"},
      {"a group that never ends", "\x0b\x0b\x0b"},
      {"the end of no group", "\x0c"},
      {"a fixed64 that ends early", std::string("\x09\x01", 2)},
      {"nested to the brim", deep},
      {"a text that is no UTF-8", std::string("\x0a\x04\x12\x02\xff\xfe", 6)},
      {"a single zero", std::string("\0", 1)},
      {"unknown fields", "\xf8\x3f\x01\xf8\x3f\x02"},
      {"random bytes", "\x8b\x12\x99\xd0\x03\x77\x41\xee\x05\x60\xa1"},
  };
}

std::vector<std::string> Methods() {
  std::vector<std::string> methods;
  const google::protobuf::ServiceDescriptor* messaging = v2::QueryRouteRequest::descriptor()->file()->FindServiceByName("MessagingService");
  const google::protobuf::ServiceDescriptor* admin_service = admin::CreateTopicRequest::descriptor()->file()->FindServiceByName("AdminService");
  const google::protobuf::ServiceDescriptor* protocol_admin = v2::ListSubscriptionRequest::descriptor()->file()->FindServiceByName("Admin");
  const google::protobuf::ServiceDescriptor* offset = offset::v1::GetTopicRequest::descriptor()->file()->FindServiceByName("OffsetService");
  for (const google::protobuf::ServiceDescriptor* service : {messaging, admin_service, protocol_admin, offset}) {
    for (int i = 0; i < service->method_count(); ++i) {
      methods.push_back("/" + std::string(service->full_name()) + "/" + std::string(service->method(i)->name()));
    }
  }
  for (const char* method : {"/fulmar.registry.v1.RegistryService/Announce", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
                             "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"})
    methods.push_back(method);
  return methods;
}

TEST(MalformedTest, EveryMethodAnswersBadBytesInTimeAndTheServerLives) {
  ServerProcess server({"--broker.receive.min_invisible_duration=500ms"});
  Client client(server.endpoint());
  for (const std::string& method : Methods()) {
    for (const Bad& bad : BadBytes()) {
      SCOPED_TRACE(method + ": " + bad.name);
      const absl::Time started = absl::Now();

      // A watch is meant to stay open when the bytes happen to be a legal request.
      const bool may_stay = method.ends_with("/Watch") || method.ends_with("/WatchDefinitions");
      const RawAnswer answer = client.Raw(method, bad.bytes, may_stay ? absl::Milliseconds(500) : absl::Seconds(4));

      if (!may_stay) {
        EXPECT_NE(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << "it hangs";
      }
      const bool may_say_nothing = may_stay || method.ends_with("Telemetry") || method.ends_with("Announce") || method.ends_with("ServerReflectionInfo") ||
                                   method.ends_with("/ListTopics") || method.ends_with("/ListGroups") || method.ends_with("/Claim");
      EXPECT_TRUE(!answer.status.ok() || !answer.messages.empty() || may_say_nothing) << "an answer without a message";
      EXPECT_LT(absl::Now() - started, absl::Seconds(6));
      ASSERT_TRUE(server.Running());
    }
  }
  EXPECT_NE(client.Send(NewMessage("after")), "") << "good calls on the same connection go on";
}

// Every prefix and many one-byte changes of a good request of the methods that are parsed by our own walk of the wire.
TEST(MalformedTest, CutAndChangedRequestsOfTheHotMethodsAreAnswered) {
  ServerProcess server({"--broker.receive.min_invisible_duration=500ms"});
  Client client(server.endpoint());
  v2::Message message = NewMessage("hot", "the body");
  message.mutable_system_properties()->set_tag("t");
  message.mutable_system_properties()->add_keys("k");
  (*message.mutable_user_properties())["p"] = "v";
  v2::AckMessageRequest ack;
  *ack.mutable_topic() = Name("hot");
  *ack.mutable_group() = Name("g");
  ack.add_entries()->set_receipt_handle("handle");
  const std::string prefix = "/apache.rocketmq.v2.MessagingService/";

  for (const auto& [method, good] : std::vector<std::pair<std::string, std::string>>{{"SendMessage", OneOf(message).SerializeAsString()},
                                                                                     {"AckMessage", ack.SerializeAsString()}}) {
    for (size_t i = 0; i < good.size(); ++i) {
      std::string changed = good;
      changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
      for (const std::string& bytes : {good.substr(0, i), changed}) {
        const RawAnswer answer = client.Raw(prefix + method, bytes);

        ASSERT_TRUE(answer.status.error_code() == grpc::StatusCode::INVALID_ARGUMENT || (answer.status.ok() && answer.messages.size() == 1))
            << method << " byte " << i << ": " << answer.status.error_code() << " " << answer.status.error_message();
      }
    }
  }
  ASSERT_TRUE(server.Running());
  EXPECT_NE(client.Send(NewMessage("after")), "");
}

}  // namespace
}  // namespace fulmar::integration
