#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// Every rule on what may be sent, one row each: what is changed about a good message, and the code of the answer.
namespace fulmar::integration {
namespace {

constexpr size_t kMaxBody = 4 << 20;

struct Rule {
  std::string name;
  std::function<void(v2::SendMessageRequest&)> change;
  v2::Code code;
};
void PrintTo(const Rule& rule, std::ostream* out) { *out << rule.name; }

using Change = std::function<void(v2::Message&)>;
Rule Of(std::string name, Change change, v2::Code code) {
  return {std::move(name), [change = std::move(change)](v2::SendMessageRequest& request) { change(*request.mutable_messages(0)); }, code};
}
Rule Topic(std::string name, std::string topic, v2::Code code) {
  return Of(std::move(name), [topic](v2::Message& m) { *m.mutable_topic() = Name(topic); }, code);
}
Rule Property(std::string name, std::string key, std::string value, v2::Code code) {
  return Of(std::move(name), [key, value](v2::Message& m) { (*m.mutable_user_properties())[key] = value; }, code);
}
Rule Tag(std::string name, std::string tag, v2::Code code) {
  return Of(std::move(name), [tag](v2::Message& m) { m.mutable_system_properties()->set_tag(tag); }, code);
}
Rule Key(std::string name, std::string key, v2::Code code) {
  return Of(std::move(name), [key](v2::Message& m) { m.mutable_system_properties()->add_keys(key); }, code);
}
Rule MessageGroup(std::string name, std::string group, v2::Code code) {
  return Of(std::move(name), [group](v2::Message& m) { m.mutable_system_properties()->set_message_group(group); }, code);
}
Rule Digest(std::string name, v2::DigestType type, std::string checksum, v2::Code code) {
  return Of(std::move(name),
            [type, checksum](v2::Message& m) {
              m.set_body("123456789");
              m.mutable_system_properties()->mutable_body_digest()->set_type(type);
              m.mutable_system_properties()->mutable_body_digest()->set_checksum(checksum);
            },
            code);
}

// So many entries of such a size together.
void FillProperties(v2::Message& message, int count, int bytes) {
  for (int i = 0; i < count; ++i) {
    const std::string key = absl::StrCat("k", 1000 + i);
    const int rest = bytes / count + (i < bytes % count ? 1 : 0) - static_cast<int>(key.size());
    (*message.mutable_user_properties())[key] = std::string(static_cast<size_t>(rest), 'v');
  }
}

std::vector<Rule> Rules() {
  const std::string long_name(127, 'n');
  std::vector<Rule> rules = {
      {"ZeroMessages", [](v2::SendMessageRequest& r) { r.clear_messages(); }, v2::MESSAGE_CORRUPTED},
      {"MixedTopics", [](v2::SendMessageRequest& r) { *r.add_messages() = NewMessage("another"); }, v2::MESSAGE_CORRUPTED},
      {"MixedTypes",
       [](v2::SendMessageRequest& r) {
         *r.add_messages() = r.messages(0);
         r.mutable_messages(1)->mutable_system_properties()->set_message_group("g");
       },
       v2::MESSAGE_PROPERTY_CONFLICT_WITH_TYPE},

      Topic("TopicEmpty", "", v2::ILLEGAL_TOPIC),
      Topic("TopicBlank", "  ", v2::ILLEGAL_TOPIC),
      Topic("TopicOfTheGreatestLength", long_name, v2::OK),
      Topic("TopicTooLong", long_name + "n", v2::ILLEGAL_TOPIC),
      Topic("TopicWithADot", "a.b", v2::ILLEGAL_TOPIC),
      Topic("TopicWithASpace", "a b", v2::ILLEGAL_TOPIC),
      Topic("TopicWithAnUmlaut", "\xc3\xa4", v2::ILLEGAL_TOPIC),
      Topic("TopicWithASlash", "../a", v2::ILLEGAL_TOPIC),
      Topic("TopicWithAllLegalCharacters", "aZ09_-%|", v2::OK),
      Topic("TopicOfTheSystem", "TBW102", v2::ILLEGAL_TOPIC),
      Topic("TopicOfTheSystemByPrefix", "rmq_sys_trace", v2::ILLEGAL_TOPIC),
      Of("TopicMissing", [](v2::Message& m) { m.clear_topic(); }, v2::ILLEGAL_TOPIC),

      Of("BodyEmpty", [](v2::Message& m) { m.clear_body(); }, v2::MESSAGE_BODY_EMPTY),
      Of("BodyOfFourMiB", [](v2::Message& m) { m.set_body(std::string(kMaxBody, 'b')); }, v2::OK),
      Of("BodyOneByteMore", [](v2::Message& m) { m.set_body(std::string(kMaxBody + 1, 'b')); }, v2::MESSAGE_BODY_TOO_LARGE),

      Of("Properties128", [](v2::Message& m) { FillProperties(m, 128, 1280); }, v2::OK),
      Of("Properties129", [](v2::Message& m) { FillProperties(m, 129, 1290); }, v2::MESSAGE_PROPERTIES_TOO_LARGE),
      Of("PropertiesOf16KiB", [](v2::Message& m) { FillProperties(m, 8, 16384); }, v2::OK),
      Of("PropertiesOneByteMore", [](v2::Message& m) { FillProperties(m, 8, 16385); }, v2::MESSAGE_PROPERTIES_TOO_LARGE),
      Of("PropertiesTagAndKeysTogetherTooLarge",
         [](v2::Message& m) {
           FillProperties(m, 8, 16380);
           m.mutable_system_properties()->set_tag("tag");
           m.mutable_system_properties()->add_keys("key");
         },
         v2::MESSAGE_PROPERTIES_TOO_LARGE),
      Property("PropertyKeyWithControlCharacter", "a\nb", "v", v2::ILLEGAL_MESSAGE_PROPERTY_KEY),
      Property("PropertyValueWithControlCharacter", "a", std::string("v\0w", 3), v2::ILLEGAL_MESSAGE_PROPERTY_KEY),
      Property("PropertyValueWithDelete", "a", "\x7f", v2::ILLEGAL_MESSAGE_PROPERTY_KEY),
      Property("PropertyEmptyValue", "a", "", v2::OK),

      Tag("TagEmptyCountsAsNone", "", v2::OK),
      Tag("TagBlank", "  ", v2::ILLEGAL_MESSAGE_TAG),
      Tag("TagWithBar", "a|b", v2::ILLEGAL_MESSAGE_TAG),
      Tag("TagWithControlCharacter", "a\tb", v2::ILLEGAL_MESSAGE_TAG),
      Tag("TagOf10KiB", std::string(10240, 't'), v2::OK),
      Key("KeyBlank", " ", v2::ILLEGAL_MESSAGE_KEY),
      Key("KeyWithControlCharacter", "a\x01", v2::ILLEGAL_MESSAGE_KEY),
      Of("MessageIdEmpty", [](v2::Message& m) { m.mutable_system_properties()->clear_message_id(); }, v2::ILLEGAL_MESSAGE_ID),
      Of("MessageIdBlank", [](v2::Message& m) { m.mutable_system_properties()->set_message_id("  "); }, v2::ILLEGAL_MESSAGE_ID),
      Of("MessageIdOfAnyForm", [](v2::Message& m) { m.mutable_system_properties()->set_message_id("x"); }, v2::OK),
      Of("SystemPropertiesMissing", [](v2::Message& m) { m.clear_system_properties(); }, v2::ILLEGAL_MESSAGE_ID),

      MessageGroup("MessageGroupBlank", " ", v2::ILLEGAL_MESSAGE_GROUP),
      MessageGroup("MessageGroupOf64Bytes", std::string(64, 'g'), v2::ILLEGAL_MESSAGE_GROUP),
      MessageGroup("MessageGroupOf63BytesIsLegal", std::string(63, 'g'), v2::MESSAGE_PROPERTY_CONFLICT_WITH_TYPE),
      MessageGroup("MessageGroupWithControlCharacter", "g\n", v2::ILLEGAL_MESSAGE_GROUP),

      Of("DeliveryTimeBeyondTheHorizon", [](v2::Message& m) { m.mutable_system_properties()->mutable_delivery_timestamp()->set_seconds(4102444800); },
         v2::ILLEGAL_DELIVERY_TIME),
      Of("DeliveryTimeAbsurd", [](v2::Message& m) { m.mutable_system_properties()->mutable_delivery_timestamp()->set_seconds(INT64_MAX); },
         v2::ILLEGAL_DELIVERY_TIME),
      Of("RecoveryDurationTooLarge", [](v2::Message& m) { m.mutable_system_properties()->mutable_orphaned_transaction_recovery_duration()->set_seconds(3601); },
         v2::BAD_REQUEST),
      Of("BornTimeAbsurdIsReplaced", [](v2::Message& m) { m.mutable_system_properties()->mutable_born_timestamp()->set_seconds(INT64_MIN); }, v2::OK),

      Digest("DigestMd5Right", v2::MD5, "25F9E794323B453885F5181F1B624D0B", v2::OK),
      Digest("DigestMd5Wrong", v2::MD5, "25F9E794323B453885F5181F1B624D0C", v2::MESSAGE_CORRUPTED),
      Digest("DigestMd5InLowerCase", v2::MD5, "25f9e794323b453885f5181f1b624d0b", v2::OK),
      Digest("DigestSha1Right", v2::SHA1, "F7C3BC1D808E04732ADF679965CCC34CA7AE3441", v2::OK),
      Digest("DigestSha1Wrong", v2::SHA1, "F7C3", v2::MESSAGE_CORRUPTED),
      Digest("DigestCrc32Right", v2::CRC32, "CBF43926", v2::OK),
      Digest("DigestCrc32Wrong", v2::CRC32, "CBF43927", v2::MESSAGE_CORRUPTED),
      Digest("DigestThatIsNone", v2::MD5, "no hex", v2::MESSAGE_CORRUPTED),
  };
  for (const char* key : {"TRACE_ON", "MSG_REGION", "KEYS", "TAGS", "WAIT", "DELAY", "RETRY_TOPIC", "REAL_TOPIC", "REAL_QID", "TRAN_MSG", "PGROUP", "MIN_OFFSET",
                          "MAX_OFFSET", "BUYER_ID", "ORIGIN_MESSAGE_ID", "TRANSFER_FLAG", "CORRECTION_FLAG", "MQ2_FLAG", "RECONSUME_TIME", "UNIQ_KEY",
                          "MAX_RECONSUME_TIMES", "CONSUME_START_TIME", "POP_CK", "POP_CK_OFFSET", "1ST_POP_TIME", "TRAN_PREPARED_QUEUE_OFFSET", "DUP_INFO",
                          "EXTEND_UNIQ_INFO", "INSTANCE_ID", "CORRELATION_ID", "REPLY_TO_CLIENT", "TTL", "ARRIVE_TIME", "PUSH_REPLY_TIME", "CLUSTER", "MSG_TYPE",
                          "INNER_MULTI_QUEUE_OFFSET", "TIMER_DELAY_MS", "TIMER_DELAY_SEC", "TIMER_DELIVER_MS", "TIMER_ENQUEUE_MS", "TIMER_DEQUEUE_MS",
                          "TIMER_ROLL_TIMES", "TIMER_OUT_MS", "TIMER_DEL_UNIQKEY", "TIMER_DELAY_LEVEL", "__BORNHOST", "BORN_TIMESTAMP", "DLQ_ORIGIN_TOPIC",
                          "DLQ_ORIGIN_MESSAGE_ID"})
    rules.push_back(Property(absl::StrCat("PropertyReserved_", key), key, "v", v2::ILLEGAL_MESSAGE_PROPERTY_KEY));
  rules.push_back(Property("PropertyReserved_CRC32", "__CRC32#", "v", v2::ILLEGAL_MESSAGE_PROPERTY_KEY));
  return rules;
}

class SendRuleTest : public testing::TestWithParam<Rule> {};

TEST_P(SendRuleTest, HasItsCode) {
  Client client(ServerProcess::Shared().endpoint());
  const std::string topic = NewName("send-rule");
  v2::SendMessageRequest request = OneOf(NewMessage(topic));
  GetParam().change(request);

  const v2::SendMessageResponse response = client.Send(request);

  EXPECT_EQ(v2::Code_Name(response.status().code()), v2::Code_Name(GetParam().code)) << response.status().message();
  if (GetParam().code == v2::OK) {
    ASSERT_EQ(response.entries_size(), request.messages_size());
    EXPECT_EQ(response.entries(0).status().code(), v2::OK);
    EXPECT_EQ(response.entries(0).message_id(), request.messages(0).system_properties().message_id());
  } else {
    EXPECT_FALSE(response.status().message().empty()) << "an error says what is wrong";
    EXPECT_LE(StoredIn(client, topic), 0) << "nothing of it is stored";
  }
}
INSTANTIATE_TEST_SUITE_P(All, SendRuleTest, testing::ValuesIn(Rules()), [](const auto& info) { return info.param.name; });

TEST(SendRulesTest, AClientWithoutIdIsRefused) {
  Client client(ServerProcess::Shared().endpoint(), {.without_id = true});

  EXPECT_EQ(client.Send(OneOf(NewMessage("t"))).status().code(), v2::CLIENT_ID_REQUIRED);
}

TEST(SendRulesTest, AnUnknownTopicIsNotFoundWhereNoneIsMade) {
  Client client(ServerProcess::Strict().endpoint());

  const v2::SendMessageResponse response = client.Send(OneOf(NewMessage("nowhere")));

  EXPECT_EQ(response.status().code(), v2::TOPIC_NOT_FOUND);
  EXPECT_NE(response.status().message().find("nowhere"), std::string::npos) << "the message names the topic";
}

TEST(SendRulesTest, ANormalMessageDoesNotGoToATopicOfAnotherType) {
  Client client(ServerProcess::Shared().endpoint());
  for (const admin::TopicType type : {admin::TOPIC_TYPE_FIFO, admin::TOPIC_TYPE_DELAY, admin::TOPIC_TYPE_TRANSACTION, admin::TOPIC_TYPE_PRIORITY}) {
    const std::string topic = NewName("other-type");
    CreateTopic(client, topic, type);

    EXPECT_EQ(client.Send(OneOf(NewMessage(topic))).status().code(), v2::MESSAGE_PROPERTY_CONFLICT_WITH_TYPE) << admin::TopicType_Name(type);
    EXPECT_EQ(StoredIn(client, topic), 0);
  }
}

TEST(SendRulesTest, AMixedTopicTakesNormalMessages) {
  Client client(ServerProcess::Shared().endpoint());
  const std::string topic = NewName("mixed");
  CreateTopic(client, topic, admin::TOPIC_TYPE_MIXED);

  EXPECT_EQ(client.Send(OneOf(NewMessage(topic))).status().code(), v2::OK);
}

}  // namespace
}  // namespace fulmar::integration
