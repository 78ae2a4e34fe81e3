#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// Every rule on what a consumer may ask for.
namespace fulmar::integration {
namespace {

struct Rule {
  std::string name;
  std::function<void(v2::ReceiveMessageRequest&)> change;
  v2::Code code;
  std::string words;  // that the answer must hold
};

v2::FilterExpression Filter(v2::FilterType type, const std::string& expression) {
  v2::FilterExpression filter;
  filter.set_type(type);
  filter.set_expression(expression);
  return filter;
}

std::vector<Rule> Rules() {
  const auto group = [](const std::string& name) { return [name](v2::ReceiveMessageRequest& r) { *r.mutable_group() = Name(name); }; };
  const auto topic = [](const std::string& name) { return [name](v2::ReceiveMessageRequest& r) { *r.mutable_message_queue()->mutable_topic() = Name(name); }; };
  const auto tags = [](const std::string& text) { return [text](v2::ReceiveMessageRequest& r) { *r.mutable_filter_expression() = Filter(v2::TAG, text); }; };
  const auto sql = [](const std::string& text) { return [text](v2::ReceiveMessageRequest& r) { *r.mutable_filter_expression() = Filter(v2::SQL, text); }; };
  const auto invisible = [](int64_t seconds, int32_t nanos = 0) {
    return [seconds, nanos](v2::ReceiveMessageRequest& r) {
      r.mutable_invisible_duration()->set_seconds(seconds);
      r.mutable_invisible_duration()->set_nanos(nanos);
    };
  };
  return {
      {"group empty", group(""), v2::ILLEGAL_CONSUMER_GROUP, ""},
      {"group missing", [](v2::ReceiveMessageRequest& r) { r.clear_group(); }, v2::ILLEGAL_CONSUMER_GROUP, ""},
      {"group of the greatest length", group(std::string(120, 'g')), v2::MESSAGE_NOT_FOUND, ""},
      {"group too long", group(std::string(121, 'g')), v2::ILLEGAL_CONSUMER_GROUP, "121"},
      {"group with a dot", group("a.b"), v2::ILLEGAL_CONSUMER_GROUP, "a.b"},
      {"group of the system", group("CID_RMQ_SYS_x"), v2::ILLEGAL_CONSUMER_GROUP, "reserved"},
      {"topic empty", topic(""), v2::ILLEGAL_TOPIC, ""},
      {"topic too long", topic(std::string(128, 't')), v2::ILLEGAL_TOPIC, ""},
      {"topic illegal", topic("a b"), v2::ILLEGAL_TOPIC, ""},
      {"queue missing", [](v2::ReceiveMessageRequest& r) { r.clear_message_queue(); }, v2::ILLEGAL_TOPIC, ""},
      {"tags with spaces and empty parts", tags(" a ||||b|| "), v2::MESSAGE_NOT_FOUND, ""},
      {"tags empty take all", tags(""), v2::MESSAGE_NOT_FOUND, ""},
      {"filter missing takes all", [](v2::ReceiveMessageRequest& r) { r.clear_filter_expression(); }, v2::MESSAGE_NOT_FOUND, ""},
      {"tags with a single bar", tags("a|b"), v2::ILLEGAL_FILTER_EXPRESSION, ""},
      {"tags with a control character", tags("a\x01"), v2::ILLEGAL_FILTER_EXPRESSION, ""},
      {"tags of separators only", tags("||"), v2::ILLEGAL_FILTER_EXPRESSION, ""},
      {"tags of a megabyte", tags(std::string(1 << 20, 'a')), v2::ILLEGAL_FILTER_EXPRESSION, ""},
      {"SQL", sql("a = 1"), v2::MESSAGE_NOT_FOUND, ""},
      {"SQL that ends too soon", sql("a = 1 AND"), v2::ILLEGAL_FILTER_EXPRESSION, "column 10: expected a value, a property or \"(\", found the end"},
      {"SQL that orders strings", sql("a > 'x'"), v2::ILLEGAL_FILTER_EXPRESSION, "column 5: expected a number"},
      {"SQL empty", sql(""), v2::ILLEGAL_FILTER_EXPRESSION, "column 1"},
      {"SQL of a megabyte", sql(std::string(1 << 20, 'a')), v2::ILLEGAL_FILTER_EXPRESSION, "16384"},
      {"invisible time below the minimum", invisible(0, 400'000'000), v2::ILLEGAL_INVISIBLE_TIME, "too small"},
      {"invisible time zero", invisible(0), v2::ILLEGAL_INVISIBLE_TIME, "too small"},
      {"invisible time negative", invisible(-5), v2::ILLEGAL_INVISIBLE_TIME, "too small"},
      {"invisible time absurdly negative", invisible(INT64_MIN, INT32_MIN), v2::ILLEGAL_INVISIBLE_TIME, "too small"},
      {"invisible time of 12 hours", invisible(43200), v2::MESSAGE_NOT_FOUND, ""},
      {"invisible time of more", invisible(43200, 1'000'000), v2::ILLEGAL_INVISIBLE_TIME, "too large"},
      {"invisible time absurd", invisible(INT64_MAX, INT32_MAX), v2::ILLEGAL_INVISIBLE_TIME, "too large"},
      {"batch size zero", [](v2::ReceiveMessageRequest& r) { r.set_batch_size(0); }, v2::MESSAGE_NOT_FOUND, ""},
      {"batch size negative", [](v2::ReceiveMessageRequest& r) { r.set_batch_size(INT32_MIN); }, v2::MESSAGE_NOT_FOUND, ""},
      {"await negative", [](v2::ReceiveMessageRequest& r) { r.mutable_long_polling_timeout()->set_seconds(INT64_MIN); }, v2::MESSAGE_NOT_FOUND, ""},
  };
}

TEST(ReceiveRulesTest, EachHasItsCodeAndWords) {
  const std::string& endpoint = ServerProcess::Shared().endpoint();
  const std::vector<Rule> rules = Rules();
  const std::string topic = NewName("receive-rule");
  {
    Client client(endpoint);
    CreateTopic(client, topic);
  }
  std::vector<Received> outcomes(rules.size());
  std::vector<std::thread> threads;  // side by side, because errors come a second late on purpose
  for (size_t i = 0; i < rules.size(); ++i) {
    threads.emplace_back([&, i] {
      Client client(endpoint);
      v2::ReceiveMessageRequest request = NewReceive(topic, NewName("g"));
      rules[i].change(request);
      outcomes[i] = client.Receive(request);
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (size_t i = 0; i < rules.size(); ++i) {
    SCOPED_TRACE(rules[i].name);
    EXPECT_TRUE(outcomes[i].grpc.ok()) << outcomes[i].grpc.error_message();
    EXPECT_EQ(v2::Code_Name(outcomes[i].code()), v2::Code_Name(rules[i].code)) << outcomes[i].status.message();
    EXPECT_NE(outcomes[i].status.message().find(rules[i].words), std::string::npos) << outcomes[i].status.message();
    EXPECT_TRUE(outcomes[i].has_delivery_time);
    EXPECT_LT(outcomes[i].took, absl::Seconds(4));
  }
}

TEST(ReceiveRulesTest, ErrorsAreNotAnsweredFasterThanClientsShouldRepeatThem) {
  Client client(ServerProcess::Shared().endpoint());

  const Received received = client.Receive(NewReceive("a b", "g"));

  EXPECT_EQ(received.code(), v2::ILLEGAL_TOPIC);
  EXPECT_GE(received.took, absl::Milliseconds(950));
}

TEST(ReceiveRulesTest, AClientWithoutIdIsRefusedByEveryCallThatNeedsOne) {
  Client client(ServerProcess::Shared().endpoint(), {.without_id = true});
  using Stub = v2::MessagingService::Stub;

  EXPECT_EQ(client.Receive(NewReceive("t", "g")).code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Ack("t", "g", {"h"}).status().code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Change("t", "g", "h", absl::Seconds(1)).status().code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Pull(v2::PullMessageRequest()).code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Call(&Stub::QueryRoute, v2::QueryRouteRequest()).status().code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Call(&Stub::QueryAssignment, v2::QueryAssignmentRequest()).status().code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Call(&Stub::ForwardMessageToDeadLetterQueue, v2::ForwardMessageToDeadLetterQueueRequest()).status().code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Call(&Stub::NotifyClientTermination, v2::NotifyClientTerminationRequest()).status().code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Call(&Stub::UpdateOffset, v2::UpdateOffsetRequest()).status().code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Call(&Stub::GetOffset, v2::GetOffsetRequest()).status().code(), v2::CLIENT_ID_REQUIRED);
  EXPECT_EQ(client.Call(&Stub::QueryOffset, v2::QueryOffsetRequest()).status().code(), v2::CLIENT_ID_REQUIRED);
  // Go's heartbeat after a lost connection carries none.
  EXPECT_EQ(client.Call(&Stub::Heartbeat, v2::HeartbeatRequest()).status().code(), v2::OK);
}

TEST(ReceiveRulesTest, UnknownTopicsAndGroupsAreNotFoundWhereNoneAreMade) {
  Client client(ServerProcess::Strict().endpoint());
  using Stub = v2::MessagingService::Stub;
  const std::string topic = NewName("known");
  CreateTopic(client, topic);
  v2::QueryRouteRequest route;
  *route.mutable_topic() = Name("nowhere");
  v2::QueryAssignmentRequest assignment;
  *assignment.mutable_topic() = Name("nowhere");
  *assignment.mutable_group() = Name("g");
  v2::PullMessageRequest pull;
  *pull.mutable_group() = Name("g");
  *pull.mutable_message_queue()->mutable_topic() = Name("nowhere");
  v2::QueryOffsetRequest offset;
  *offset.mutable_message_queue()->mutable_topic() = Name("nowhere");

  EXPECT_EQ(client.Call(&Stub::QueryRoute, route).status().code(), v2::TOPIC_NOT_FOUND);
  EXPECT_EQ(client.Call(&Stub::QueryAssignment, assignment).status().code(), v2::TOPIC_NOT_FOUND);
  EXPECT_EQ(client.Receive(NewReceive("nowhere", "g")).code(), v2::TOPIC_NOT_FOUND);
  EXPECT_EQ(client.Pull(pull).code(), v2::TOPIC_NOT_FOUND);
  EXPECT_EQ(client.Call(&Stub::QueryOffset, offset).status().code(), v2::TOPIC_NOT_FOUND);
  EXPECT_EQ(client.Receive(NewReceive(topic, "nobody")).code(), v2::CONSUMER_GROUP_NOT_FOUND);
}

TEST(ReceiveRulesTest, IllegalNamesAreRefusedByEveryCallThatTakesThem) {
  Client client(ServerProcess::Shared().endpoint());
  using Stub = v2::MessagingService::Stub;
  v2::QueryRouteRequest route;
  *route.mutable_topic() = Name("a b");
  v2::QueryAssignmentRequest assignment;
  *assignment.mutable_topic() = Name("t");
  *assignment.mutable_group() = Name("a b");
  v2::UpdateOffsetRequest update;
  *update.mutable_group() = Name("g");
  *update.mutable_message_queue()->mutable_topic() = Name("a b");
  v2::HeartbeatRequest heartbeat;
  *heartbeat.mutable_group() = Name("a b");

  EXPECT_EQ(client.Call(&Stub::QueryRoute, route).status().code(), v2::ILLEGAL_TOPIC);
  EXPECT_EQ(client.Call(&Stub::QueryAssignment, assignment).status().code(), v2::ILLEGAL_CONSUMER_GROUP);
  EXPECT_EQ(client.Call(&Stub::UpdateOffset, update).status().code(), v2::ILLEGAL_TOPIC);
  EXPECT_EQ(client.Call(&Stub::Heartbeat, heartbeat).status().code(), v2::ILLEGAL_CONSUMER_GROUP);
  EXPECT_EQ(client.Ack("a b", "g", {"h"}).status().code(), v2::ILLEGAL_TOPIC);
  EXPECT_EQ(client.Ack("t", "a b", {"h"}).status().code(), v2::ILLEGAL_CONSUMER_GROUP);
  EXPECT_EQ(client.Change("t", "a b", "h", absl::Seconds(1)).status().code(), v2::ILLEGAL_CONSUMER_GROUP);
}

TEST(ReceiveRulesTest, NoAnswerHoldsMoreThan32Messages) {
  Client client(ServerProcess::Shared().endpoint());
  const std::string topic = NewName("many");
  v2::SendMessageRequest request;
  for (int i = 0; i < 120; ++i) *request.add_messages() = NewMessage(topic);
  ASSERT_EQ(client.Send(request).status().code(), v2::OK);

  const Received first = client.Receive(NewReceive(topic, "many", absl::Seconds(1), 50));
  const Received second = client.Receive(NewReceive(topic, "many", absl::Seconds(1), 100000));
  const Received third = client.Receive(NewReceive(topic, "many", absl::Seconds(1), 32));

  EXPECT_EQ(first.messages.size(), 32U);
  EXPECT_EQ(second.messages.size(), 32U);
  EXPECT_EQ(third.messages.size(), 32U);
}

}  // namespace
}  // namespace fulmar::integration
