#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// What goes in comes out, by every call that the server serves.
namespace fulmar::integration {
namespace {

using Stub = v2::MessagingService::Stub;

v2::MessageQueue Queue(const std::string& topic, int id = 0) {
  v2::MessageQueue queue;
  *queue.mutable_topic() = Name(topic);
  queue.set_id(id);
  return queue;
}

class RoundTripTest : public testing::Test {
 protected:
  RoundTripTest() : client(ServerProcess::Shared().endpoint()), topic(NewName("trip")), group(NewName("trip-group")) {}
  int64_t OffsetOf(v2::QueryOffsetPolicy policy) {
    v2::QueryOffsetRequest request;
    *request.mutable_message_queue() = Queue(topic);
    request.set_query_offset_policy(policy);
    const v2::QueryOffsetResponse response = client.Call(&Stub::QueryOffset, request);
    EXPECT_EQ(response.status().code(), v2::OK) << response.status().message();
    return response.offset();
  }

  Client client;
  const std::string topic, group;
};

TEST_F(RoundTripTest, EveryFieldThatWasSentIsDelivered) {
  v2::Message sent = NewMessage(topic, std::string("\x00\xff\x80 body", 8));
  v2::SystemProperties& system = *sent.mutable_system_properties();
  system.set_tag("a tag");
  for (const char* key : {"k1", "k2", "k1"}) system.add_keys(key);
  system.set_trace_context("00-trace");
  system.mutable_born_timestamp()->set_nanos(123'000'000);
  (*sent.mutable_user_properties())["name"] = "v\xc3\xa4lue";
  (*sent.mutable_user_properties())["empty"] = "";

  const std::string id = client.Send(sent);
  const Received received = client.Receive(NewReceive(topic, group, absl::Seconds(5)));

  ASSERT_EQ(received.messages.size(), 1U) << received.status.message();
  const v2::Message& got = received.messages[0];
  const v2::SystemProperties& delivered = got.system_properties();
  EXPECT_EQ(id, system.message_id());
  EXPECT_EQ(delivered.message_id(), id);
  EXPECT_EQ(got.body(), sent.body());
  EXPECT_EQ(got.topic().name(), topic);
  EXPECT_EQ((std::map<std::string, std::string>(got.user_properties().begin(), got.user_properties().end())),
            (std::map<std::string, std::string>(sent.user_properties().begin(), sent.user_properties().end())));
  EXPECT_EQ(delivered.tag(), "a tag");
  EXPECT_EQ(std::vector<std::string>(delivered.keys().begin(), delivered.keys().end()), (std::vector<std::string>{"k1", "k2", "k1"}));
  EXPECT_EQ(delivered.trace_context(), "00-trace");
  EXPECT_EQ(delivered.born_timestamp().seconds(), system.born_timestamp().seconds());
  EXPECT_EQ(delivered.born_timestamp().nanos(), 123'000'000);
  EXPECT_EQ(delivered.born_host(), "test");
  EXPECT_EQ(delivered.body_encoding(), v2::IDENTITY);
  EXPECT_EQ(delivered.message_type(), v2::NORMAL);
  EXPECT_EQ(delivered.body_digest().type(), v2::MD5);
  EXPECT_EQ(delivered.body_digest().checksum().size(), 32U);
  EXPECT_TRUE(delivered.has_store_timestamp());
  EXPECT_TRUE(delivered.has_queue_offset());
  EXPECT_EQ(delivered.delivery_attempt(), 1);
  EXPECT_FALSE(delivered.has_message_group());
  EXPECT_FALSE(delivered.has_dead_letter_queue());
}

TEST_F(RoundTripTest, WhatWasNotSentIsNotPresent) {
  v2::Message sent = NewMessage(topic);
  sent.mutable_system_properties()->clear_body_encoding();
  sent.mutable_system_properties()->clear_born_timestamp();
  sent.mutable_system_properties()->clear_message_type();
  client.Send(sent);

  const Received received = client.Receive(NewReceive(topic, group, absl::Seconds(5)));

  ASSERT_EQ(received.messages.size(), 1U);
  const v2::SystemProperties& delivered = received.messages[0].system_properties();
  EXPECT_FALSE(delivered.has_tag());
  EXPECT_EQ(delivered.keys_size(), 0);
  EXPECT_FALSE(delivered.has_trace_context());
  EXPECT_FALSE(delivered.has_delivery_timestamp());
  EXPECT_EQ(delivered.body_encoding(), v2::IDENTITY) << "Python cannot do without";
  EXPECT_TRUE(delivered.has_born_timestamp()) << "C# cannot do without";
  EXPECT_EQ(delivered.message_type(), v2::NORMAL);
}

TEST_F(RoundTripTest, EveryBodyEncodingIsKeptAndItsBytesAreNotTouched) {
  for (const v2::Encoding encoding : {v2::IDENTITY, v2::GZIP}) {
    v2::Message sent = NewMessage(topic, "not really zipped");
    sent.mutable_system_properties()->set_body_encoding(encoding);
    client.Send(sent);

    const Received received = client.Receive(NewReceive(topic, group, absl::Seconds(5)));

    ASSERT_EQ(received.messages.size(), 1U);
    EXPECT_EQ(received.messages[0].system_properties().body_encoding(), encoding);
    EXPECT_EQ(received.messages[0].body(), "not really zipped");
  }
}

TEST_F(RoundTripTest, ABodyOfFourMiBComesBackWhole) {
  std::string body(4 << 20, '\0');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761U >> 24);
  client.Send(NewMessage(topic, body));

  const Received received = client.Receive(NewReceive(topic, group, absl::Seconds(10)));

  ASSERT_EQ(received.messages.size(), 1U) << received.status.message();
  EXPECT_TRUE(received.messages[0].body() == body);
}

TEST_F(RoundTripTest, ABatchHasOneEntryPerMessageAndAllOfThemArrive) {
  v2::SendMessageRequest request;
  std::set<std::string> sent, got;
  for (int i = 0; i < 20; ++i) {
    *request.add_messages() = NewMessage(topic, absl::StrCat("body ", i));
    sent.insert(request.messages(i).system_properties().message_id());
  }

  const v2::SendMessageResponse response = client.Send(request);
  const Received received = client.Receive(NewReceive(topic, group, absl::Seconds(5), 32));

  EXPECT_EQ(response.status().code(), v2::OK);
  ASSERT_EQ(response.entries_size(), 20);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(response.entries(i).status().code(), v2::OK);
    EXPECT_EQ(response.entries(i).message_id(), request.messages(i).system_properties().message_id());
  }
  for (size_t i = 0; i < received.messages.size(); ++i) got.insert(received.Id(i));
  EXPECT_EQ(got, sent);
}

TEST_F(RoundTripTest, TagFiltersLetOnlyTheirTagsThroughAndSkipTheOthers) {
  for (const char* tag : {"a", "b", "c", "", "a"}) {
    v2::Message message = NewMessage(topic);
    if (*tag != '\0') message.mutable_system_properties()->set_tag(tag);
    client.Send(message);
  }
  v2::ReceiveMessageRequest request = NewReceive(topic, group, absl::Seconds(2), 32);
  request.mutable_filter_expression()->set_expression(" a ||||c ");
  std::multiset<std::string> tags;

  while (tags.size() < 3) {
    const Received received = client.Receive(request);
    ASSERT_EQ(received.code(), v2::OK) << tags.size();
    for (const v2::Message& message : received.messages) tags.insert(message.system_properties().tag());
  }

  EXPECT_EQ(tags, (std::multiset<std::string>{"a", "a", "c"}));
  Set(request.mutable_long_polling_timeout(), absl::ZeroDuration());
  EXPECT_EQ(client.Receive(request).code(), v2::MESSAGE_NOT_FOUND);
}

TEST_F(RoundTripTest, RoutesRepeatTheAddressThatTheClientAskedWith) {
  v2::QueryRouteRequest request;
  *request.mutable_topic() = Name(topic);
  request.mutable_topic()->set_resource_namespace("");
  request.mutable_endpoints()->set_scheme(v2::DOMAIN_NAME);
  request.mutable_endpoints()->add_addresses()->set_host("nat.example.com");
  request.mutable_endpoints()->mutable_addresses(0)->set_port(12345);

  const v2::QueryRouteResponse route = client.Call(&Stub::QueryRoute, request);

  ASSERT_EQ(route.status().code(), v2::OK) << route.status().message();
  ASSERT_EQ(route.message_queues_size(), 4) << "made automatically, with four queues";
  for (int i = 0; i < 4; ++i) {
    const v2::MessageQueue& queue = route.message_queues(i);
    EXPECT_EQ(queue.id(), i);
    EXPECT_EQ(queue.permission(), v2::READ_WRITE);
    EXPECT_EQ(queue.topic().name(), topic);
    EXPECT_EQ(queue.broker().id(), 0);
    EXPECT_NE(queue.broker().name(), "");
    ASSERT_EQ(queue.broker().endpoints().addresses_size(), 1);
    EXPECT_EQ(queue.broker().endpoints().scheme(), v2::DOMAIN_NAME);
    EXPECT_EQ(queue.broker().endpoints().addresses(0).host(), "nat.example.com");
    EXPECT_EQ(queue.broker().endpoints().addresses(0).port(), 12345);
    ASSERT_EQ(queue.accept_message_types_size(), 1);
    EXPECT_EQ(queue.accept_message_types(0), v2::NORMAL);
  }
  request.clear_endpoints();
  EXPECT_EQ(client.Call(&Stub::QueryRoute, request).message_queues(0).broker().endpoints().addresses(0).host(), "127.0.0.1");
}

TEST_F(RoundTripTest, AssignmentsNameEveryBroker) {
  v2::QueryAssignmentRequest request;
  *request.mutable_topic() = Name(topic);
  *request.mutable_group() = Name(group);

  const v2::QueryAssignmentResponse response = client.Call(&Stub::QueryAssignment, request);

  EXPECT_EQ(response.status().code(), v2::OK) << response.status().message();
  ASSERT_EQ(response.assignments_size(), 1);
  EXPECT_EQ(response.assignments(0).message_queue().topic().name(), topic);
  EXPECT_EQ(response.assignments(0).message_queue().permission(), v2::READ_WRITE);
}

TEST_F(RoundTripTest, HeartbeatsAndFarewellsAreAccepted) {
  v2::HeartbeatRequest heartbeat;
  heartbeat.set_client_type(v2::PRODUCER);
  EXPECT_EQ(client.Call(&Stub::Heartbeat, heartbeat).status().code(), v2::OK);
  heartbeat.set_client_type(v2::SIMPLE_CONSUMER);
  *heartbeat.mutable_group() = Name(group);
  EXPECT_EQ(client.Call(&Stub::Heartbeat, heartbeat).status().code(), v2::OK);
  v2::NotifyClientTerminationRequest farewell;
  *farewell.mutable_group() = Name(group);
  EXPECT_EQ(client.Call(&Stub::NotifyClientTermination, farewell).status().code(), v2::OK);
}

TEST_F(RoundTripTest, PullReadsByOffsetAndTheOffsetIsTheCallersToKeep) {
  CreateTopic(client, topic, admin::TOPIC_TYPE_NORMAL, 1);
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(client.Send(NewMessage(topic, absl::StrCat(i))));
  v2::PullMessageRequest pull;
  *pull.mutable_group() = Name(group);
  *pull.mutable_message_queue() = Queue(topic);
  pull.set_offset(1);
  pull.set_batch_size(3);
  Set(pull.mutable_long_polling_timeout(), absl::Seconds(2));

  const Received received = client.Pull(pull);

  EXPECT_EQ(received.code(), v2::OK) << received.status.message();
  ASSERT_EQ(received.messages.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(received.Id(i), ids[i + 1]);
    EXPECT_EQ(received.messages[i].system_properties().queue_offset(), static_cast<int64_t>(i) + 1);
  }
  EXPECT_EQ(received.next_offset, 4);
  EXPECT_EQ(OffsetOf(v2::BEGINNING), 0);
  EXPECT_EQ(OffsetOf(v2::END), 5);
}

TEST_F(RoundTripTest, PullWaitsAtTheEndOfTheQueueAndSaysWhereToGoOn) {
  CreateTopic(client, topic, admin::TOPIC_TYPE_NORMAL, 1);
  v2::PullMessageRequest pull;
  *pull.mutable_group() = Name(group);
  *pull.mutable_message_queue() = Queue(topic);
  Set(pull.mutable_long_polling_timeout(), absl::Seconds(1));

  const Received received = client.Pull(pull);

  EXPECT_EQ(received.code(), v2::MESSAGE_NOT_FOUND);
  EXPECT_EQ(received.next_offset, 0);
  EXPECT_GE(received.took, absl::Milliseconds(1000));
  EXPECT_LE(received.took, absl::Seconds(5));
}

TEST_F(RoundTripTest, IllegalPlacesAreRefusedByThePullCalls) {
  CreateTopic(client, topic, admin::TOPIC_TYPE_NORMAL, 1);
  v2::PullMessageRequest pull;
  *pull.mutable_group() = Name(group);
  *pull.mutable_message_queue() = Queue(topic);
  pull.set_offset(-1);
  v2::UpdateOffsetRequest update;
  *update.mutable_group() = Name(group);
  *update.mutable_message_queue() = Queue(topic);
  v2::QueryOffsetRequest query;
  *query.mutable_message_queue() = Queue(topic);
  query.set_query_offset_policy(v2::TIMESTAMP);

  EXPECT_EQ(client.Pull(pull).code(), v2::ILLEGAL_OFFSET);
  for (const int64_t offset : {int64_t{-1}, INT64_MIN, int64_t{1}, INT64_MAX}) {
    update.set_offset(offset);
    EXPECT_EQ(client.Call(&Stub::UpdateOffset, update).status().code(), v2::ILLEGAL_OFFSET) << offset;
  }
  EXPECT_EQ(client.Call(&Stub::QueryOffset, query).status().code(), v2::BAD_REQUEST) << "a time is asked for but none is given";
  for (const int id : {-1, 1, INT32_MAX}) {
    pull.set_offset(0);
    pull.mutable_message_queue()->set_id(id);
    EXPECT_EQ(client.Pull(pull).code(), v2::BAD_REQUEST) << id;
  }
}

TEST_F(RoundTripTest, AStoredOffsetIsReadBack) {
  CreateTopic(client, topic, admin::TOPIC_TYPE_NORMAL, 1);
  client.Send(NewMessage(topic));
  client.Send(NewMessage(topic));
  v2::GetOffsetRequest get;
  *get.mutable_group() = Name(group);
  *get.mutable_message_queue() = Queue(topic);
  v2::UpdateOffsetRequest update;
  *update.mutable_group() = Name(group);
  *update.mutable_message_queue() = Queue(topic);
  update.set_offset(1);

  EXPECT_EQ(client.Call(&Stub::GetOffset, get).status().code(), v2::OFFSET_NOT_FOUND);
  const v2::Status updated = client.Call(&Stub::UpdateOffset, update).status();
  EXPECT_EQ(updated.code(), v2::OK) << updated.message();
  const v2::GetOffsetResponse stored = client.Call(&Stub::GetOffset, get);
  EXPECT_EQ(stored.status().code(), v2::OK) << stored.status().message();
  EXPECT_EQ(stored.offset(), 1);
}

TEST_F(RoundTripTest, AnOffsetIsFoundByTime) {
  CreateTopic(client, topic, admin::TOPIC_TYPE_NORMAL, 1);
  client.Send(NewMessage(topic));
  const Received first = client.Receive(NewReceive(topic, group, absl::Seconds(5)));
  ASSERT_EQ(first.messages.size(), 1U);
  const google::protobuf::Timestamp stored = first.messages[0].system_properties().store_timestamp();
  v2::QueryOffsetRequest query;
  *query.mutable_message_queue() = Queue(topic);
  query.set_query_offset_policy(v2::TIMESTAMP);

  *query.mutable_timestamp() = stored;
  EXPECT_EQ(client.Call(&Stub::QueryOffset, query).offset(), 0);
  query.mutable_timestamp()->set_seconds(stored.seconds() + 3600);
  EXPECT_EQ(client.Call(&Stub::QueryOffset, query).offset(), 1);
  query.mutable_timestamp()->set_seconds(INT64_MIN);
  EXPECT_EQ(client.Call(&Stub::QueryOffset, query).offset(), 0);
}

TEST_F(RoundTripTest, NamespacesKeepEqualNamesApart) {
  v2::Message message = NewMessage(topic);
  message.mutable_topic()->set_resource_namespace("ns");
  client.Send(message);
  v2::ReceiveMessageRequest plain = NewReceive(topic, group);
  v2::ReceiveMessageRequest inside = NewReceive(topic, group, absl::Seconds(5));
  inside.mutable_message_queue()->mutable_topic()->set_resource_namespace("ns");
  inside.mutable_group()->set_resource_namespace("ns");

  EXPECT_EQ(client.Receive(plain).code(), v2::MESSAGE_NOT_FOUND);
  const Received received = client.Receive(inside);
  ASSERT_EQ(received.messages.size(), 1U) << received.status.message();
  EXPECT_EQ(received.messages[0].topic().resource_namespace(), "ns");
  EXPECT_EQ(received.messages[0].topic().name(), topic);
}

}  // namespace
}  // namespace fulmar::integration
