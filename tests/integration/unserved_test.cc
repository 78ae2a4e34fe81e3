#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "apache/rocketmq/v2/admin.grpc.pb.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// What is not built yet answers NOT_IMPLEMENTED in the protocol's own way, and nothing of it is stored as something else.
namespace fulmar::integration {
namespace {

struct Kind {
  const char* name;
  admin::TopicType type;
  std::function<void(v2::SystemProperties&)> make;
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class UnservedSendTest : public testing::TestWithParam<Kind> {};

TEST_P(UnservedSendTest, IsRefusedAndNeverStored) {
  Client client(ServerProcess::Shared().endpoint());
  for (const admin::TopicType type : {GetParam().type, admin::TOPIC_TYPE_NORMAL, admin::TOPIC_TYPE_MIXED}) {
    const std::string topic = NewName("unserved");
    CreateTopic(client, topic, type);
    v2::Message message = NewMessage(topic);
    GetParam().make(*message.mutable_system_properties());

    const v2::SendMessageResponse response = client.Send(OneOf(message));

    EXPECT_TRUE(response.status().code() == v2::NOT_IMPLEMENTED || response.status().code() == v2::MESSAGE_PROPERTY_CONFLICT_WITH_TYPE)
        << v2::Code_Name(response.status().code());
    if (type != admin::TOPIC_TYPE_NORMAL) {
      EXPECT_EQ(v2::Code_Name(response.status().code()), "NOT_IMPLEMENTED") << admin::TopicType_Name(type);
    }
    EXPECT_EQ(StoredIn(client, topic), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, UnservedSendTest,
                         testing::Values(Kind{"Transaction", admin::TOPIC_TYPE_TRANSACTION, [](v2::SystemProperties& s) { s.set_message_type(v2::TRANSACTION); }},
                                         Kind{"Lite", admin::TOPIC_TYPE_NORMAL,
                                              [](v2::SystemProperties& s) {
                                                s.set_message_type(v2::LITE);
                                                s.set_lite_topic("l");
                                              }}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(UnservedTest, EndTransactionAndLiteSubscriptionsAnswerNotImplemented) {
  Client client(ServerProcess::Shared().endpoint());

  EXPECT_EQ(client.Call(&v2::MessagingService::Stub::EndTransaction, v2::EndTransactionRequest()).status().code(), v2::NOT_IMPLEMENTED);
  EXPECT_EQ(client.Call(&v2::MessagingService::Stub::SyncLiteSubscription, v2::SyncLiteSubscriptionRequest()).status().code(), v2::NOT_IMPLEMENTED);
}

TEST(UnservedTest, LiteConsumersAreUnrecognizedClients) {
  Client client(ServerProcess::Shared().endpoint());
  v2::HeartbeatRequest request;
  request.set_client_type(v2::LITE_PUSH_CONSUMER);

  EXPECT_EQ(client.Call(&v2::MessagingService::Stub::Heartbeat, request).status().code(), v2::UNRECOGNIZED_CLIENT_TYPE);
}

// Every method of the protocol's admin service, by reflection over its descriptor: the status is field 1 of the answers that have one.
TEST(UnservedTest, TheAdminServiceOfTheProtocolAnswersEveryMethodAtOnce) {
  Client client(ServerProcess::Shared().endpoint());
  const google::protobuf::ServiceDescriptor* service = v2::ListSubscriptionRequest::descriptor()->file()->FindServiceByName("Admin");
  ASSERT_NE(service, nullptr);
  for (int i = 0; i < service->method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *service->method(i);

    const RawAnswer answer = client.Raw("/" + std::string(service->full_name()) + "/" + std::string(method.name()), "");

    const google::protobuf::FieldDescriptor* status = method.output_type()->FindFieldByName("status");
    ASSERT_TRUE(answer.status.ok()) << method.name() << ": " << answer.status.error_message();
    ASSERT_EQ(answer.messages.size(), 1U);
    if (status == nullptr) {  // ChangeLogLevel, which is served
      v2::ChangeLogLevelResponse response;
      EXPECT_TRUE(response.ParseFromString(answer.messages[0]));
      EXPECT_NE(response.remark(), "");
      continue;
    }
    EXPECT_EQ(status->number(), 1);
    v2::HeartbeatResponse envelope;  // a message whose field 1 is a status
    ASSERT_TRUE(envelope.ParseFromString(answer.messages[0]));
    EXPECT_EQ(envelope.status().code(), v2::NOT_IMPLEMENTED) << method.name();
  }
}

TEST(UnservedTest, AnUnknownMethodOrServiceIsUnimplemented) {
  Client client(ServerProcess::Shared().endpoint());

  EXPECT_EQ(client.Raw("/apache.rocketmq.v2.MessagingService/Nothing", "").status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(client.Raw("/a.b.C/D", "x").status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace fulmar::integration
