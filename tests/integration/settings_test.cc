#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// The settings stream: what each kind of client is told, and what ends a stream.
namespace fulmar::integration {
namespace {

using Stream = grpc::ClientReaderWriter<v2::TelemetryCommand, v2::TelemetryCommand>;

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() : client(ServerProcess::Shared().endpoint()), topic(NewName("settings")), group(NewName("settings-group")) {}

  v2::Settings Producer() const {
    v2::Settings settings;
    settings.set_client_type(v2::PRODUCER);
    settings.mutable_request_timeout()->set_seconds(3);
    *settings.mutable_publishing()->add_topics() = Name(topic);
    settings.mutable_user_agent()->set_language(v2::JAVA);
    return settings;
  }
  v2::Settings Consumer(v2::ClientType type, v2::Language language = v2::JAVA) const {
    v2::Settings settings;
    settings.set_client_type(type);
    *settings.mutable_subscription()->mutable_group() = Name(group);
    v2::SubscriptionEntry& entry = *settings.mutable_subscription()->add_subscriptions();
    *entry.mutable_topic() = Name(topic);
    entry.mutable_expression()->set_type(v2::TAG);
    entry.mutable_expression()->set_expression("*");
    settings.mutable_user_agent()->set_language(language);
    return settings;
  }
  // The answer to the settings, and how the stream ends when `ending` is not null (the client half-closes after the answer).
  v2::TelemetryCommand Exchange(const v2::Settings& settings, grpc::Status* ending = nullptr) {
    const auto context = client.Context();
    const auto stream = client.stub().Telemetry(context.get());
    v2::TelemetryCommand command, answer;
    *command.mutable_settings() = settings;
    stream->Write(command);
    EXPECT_TRUE(stream->Read(&answer));
    stream->WritesDone();
    v2::TelemetryCommand rest;
    while (stream->Read(&rest)) {
    }
    const grpc::Status status = stream->Finish();
    if (ending != nullptr) *ending = status;
    else EXPECT_TRUE(status.ok()) << status.error_message();
    return answer;
  }
  void ExpectRefused(const v2::Settings& settings, v2::Code code) {
    grpc::Status ending;
    const v2::TelemetryCommand answer = Exchange(settings, &ending);
    EXPECT_EQ(v2::Code_Name(answer.status().code()), v2::Code_Name(code)) << answer.status().message();
    EXPECT_EQ(ending.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }

  Client client;
  const std::string topic, group;
};

TEST_F(SettingsTest, AProducerIsToldItsLimitsAndAnExponentialBackoff) {
  const v2::TelemetryCommand answer = Exchange(Producer());

  EXPECT_EQ(answer.status().code(), v2::OK);
  const v2::Settings& settings = answer.settings();
  EXPECT_EQ(settings.client_type(), v2::PRODUCER);
  EXPECT_EQ(settings.request_timeout().seconds(), 3);
  ASSERT_TRUE(settings.has_publishing());
  EXPECT_EQ(settings.publishing().topics(0).name(), topic);
  EXPECT_EQ(settings.publishing().max_body_size(), 4194304);
  EXPECT_EQ(settings.backoff_policy().max_attempts(), 3);
  EXPECT_TRUE(settings.backoff_policy().has_exponential_backoff());
  EXPECT_FALSE(settings.metric().on());
}

TEST_F(SettingsTest, APushConsumerIsToldItsGroupsRetryPolicyAndHowToPoll) {
  for (const v2::Language language : {v2::JAVA, v2::GOLANG, v2::PYTHON, v2::CPP, v2::RUST, v2::DOT_NET}) {
    const v2::TelemetryCommand answer = Exchange(Consumer(v2::PUSH_CONSUMER, language));

    EXPECT_EQ(answer.status().code(), v2::OK);
    const v2::Settings& settings = answer.settings();
    ASSERT_TRUE(settings.has_subscription());
    EXPECT_EQ(settings.subscription().group().name(), group);
    EXPECT_EQ(settings.subscription().subscriptions_size(), 1);
    EXPECT_EQ(settings.subscription().receive_batch_size(), 32);
    EXPECT_EQ(settings.subscription().long_polling_timeout().seconds(), 20);
    EXPECT_FALSE(settings.subscription().fifo());
    EXPECT_EQ(settings.backoff_policy().max_attempts(), 17);
    ASSERT_TRUE(settings.backoff_policy().has_customized_backoff()) << v2::Language_Name(language);
    EXPECT_EQ(settings.backoff_policy().customized_backoff().next(0).seconds(), 1);
    EXPECT_EQ(settings.backoff_policy().customized_backoff().next(1).seconds(), 5);
  }
}

TEST_F(SettingsTest, NodeIsToldTheOnlyBackoffThatItUnderstands) {
  const v2::TelemetryCommand answer = Exchange(Consumer(v2::PUSH_CONSUMER, v2::NODE_JS));

  EXPECT_TRUE(answer.settings().backoff_policy().has_exponential_backoff());
  EXPECT_EQ(answer.settings().backoff_policy().max_attempts(), 17);
}

TEST_F(SettingsTest, AnOrderedGroupIsToldSo) {
  admin::CreateGroupRequest create;
  create.mutable_group()->set_name(group);
  create.mutable_group()->set_order(admin::DELIVERY_ORDER_FIFO);
  create.mutable_group()->set_max_attempts(5);
  admin::CreateGroupResponse created;
  ASSERT_TRUE(client.admin().CreateGroup(client.Context().get(), create, &created).ok());

  const v2::TelemetryCommand answer = Exchange(Consumer(v2::PUSH_CONSUMER));

  EXPECT_TRUE(answer.settings().subscription().fifo());
  EXPECT_EQ(answer.settings().backoff_policy().max_attempts(), 5);
}

TEST_F(SettingsTest, EverySettingsIsAnsweredOnTheSameStream) {
  const auto context = client.Context();
  const auto stream = client.stub().Telemetry(context.get());
  for (int i = 0; i < 3; ++i) {
    v2::TelemetryCommand command, answer;
    *command.mutable_settings() = Consumer(v2::SIMPLE_CONSUMER);
    ASSERT_TRUE(stream->Write(command));
    ASSERT_TRUE(stream->Read(&answer));
    EXPECT_EQ(answer.status().code(), v2::OK);
    EXPECT_TRUE(answer.settings().has_subscription());
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(SettingsTest, TheHeadersComeBeforeAnythingWasSaid) {
  const auto context = client.Context();
  const auto stream = client.stub().Telemetry(context.get());

  stream->WaitForInitialMetadata();  // Rust waits for them; the test's deadline would end this

  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(SettingsTest, WrongOnesAreToldTwiceAsAStatusAndAsTheStreamsEnd) {
  v2::Settings neither = Producer();
  neither.clear_publishing();
  v2::Settings bad_group = Consumer(v2::PUSH_CONSUMER);
  *bad_group.mutable_subscription()->mutable_group() = Name("a b");
  v2::Settings bad_topic = Producer();
  *bad_topic.mutable_publishing()->add_topics() = Name("a b");
  v2::Settings bad_filter = Consumer(v2::PUSH_CONSUMER);
  bad_filter.mutable_subscription()->mutable_subscriptions(0)->mutable_expression()->set_expression("a|b");
  v2::Settings bad_sql = Consumer(v2::PUSH_CONSUMER);
  bad_sql.mutable_subscription()->mutable_subscriptions(0)->mutable_expression()->set_type(v2::SQL);
  bad_sql.mutable_subscription()->mutable_subscriptions(0)->mutable_expression()->set_expression("a BETWEEN 1");
  v2::Settings lite = Consumer(v2::LITE_PUSH_CONSUMER);
  v2::Settings many = Producer();
  for (int i = 0; i < 33; ++i) (*many.mutable_client_properties())[absl::StrCat("k", i)] = "v";
  v2::Settings reserved = Producer();
  (*reserved.mutable_client_properties())["rocketmq.x"] = "v";
  v2::Settings long_value = Producer();
  (*long_value.mutable_client_properties())["k"] = std::string(257, 'v');

  ExpectRefused(neither, v2::BAD_REQUEST);
  ExpectRefused(bad_group, v2::ILLEGAL_CONSUMER_GROUP);
  ExpectRefused(bad_topic, v2::ILLEGAL_TOPIC);
  ExpectRefused(bad_filter, v2::ILLEGAL_FILTER_EXPRESSION);
  ExpectRefused(bad_sql, v2::ILLEGAL_FILTER_EXPRESSION);
  ExpectRefused(lite, v2::UNRECOGNIZED_CLIENT_TYPE);
  ExpectRefused(many, v2::INVALID_CLIENT_PROPERTIES);
  ExpectRefused(reserved, v2::INVALID_CLIENT_PROPERTIES);
  ExpectRefused(long_value, v2::INVALID_CLIENT_PROPERTIES);
}

TEST_F(SettingsTest, AGroupThatMayNotBeMadeIsNotFound) {
  Client strict(ServerProcess::Strict().endpoint());
  const auto context = strict.Context();
  const auto stream = strict.stub().Telemetry(context.get());
  v2::TelemetryCommand command, answer;
  *command.mutable_settings() = Consumer(v2::PUSH_CONSUMER);

  stream->Write(command);

  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.status().code(), v2::CONSUMER_GROUP_NOT_FOUND);
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(SettingsTest, AStreamWithoutClientIdIsRefused) {
  Client nameless(ServerProcess::Shared().endpoint(), {.without_id = true});
  const auto context = nameless.Context();
  const auto stream = nameless.stub().Telemetry(context.get());
  v2::TelemetryCommand answer;

  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.status().code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace fulmar::integration
