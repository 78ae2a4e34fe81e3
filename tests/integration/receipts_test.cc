#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/integration/client.h"
#include "tests/integration/server_process.h"

// What may be done with a receipt handle, and every way in which one is no good.
namespace fulmar::integration {
namespace {

using Stub = v2::MessagingService::Stub;

class ReceiptTest : public testing::Test {
 protected:
  ReceiptTest() : client(ServerProcess::Shared().endpoint()), topic(NewName("receipts")), group(NewName("receipts-group")) {}

  // Sends one message and receives it.
  v2::Message Deliver(absl::Duration invisible = absl::Seconds(30)) {
    client.Send(NewMessage(topic));
    return Next(invisible);
  }
  v2::Message Next(absl::Duration invisible = absl::Seconds(30), absl::Duration await = absl::Seconds(5)) {
    const Received received = client.Receive(NewReceive(topic, group, await, 1, invisible));
    EXPECT_EQ(received.messages.size(), 1U) << received.status.message();
    return received.messages.empty() ? v2::Message() : received.messages[0];
  }
  static std::string HandleOf(const v2::Message& message) { return message.system_properties().receipt_handle(); }
  v2::Code Forward(const std::string& handle) {
    v2::ForwardMessageToDeadLetterQueueRequest request;
    *request.mutable_topic() = Name(topic);
    *request.mutable_group() = Name(group);
    request.set_receipt_handle(handle);
    request.set_delivery_attempt(1);
    request.set_max_delivery_attempts(1);
    return client.Call(&Stub::ForwardMessageToDeadLetterQueue, request).status().code();
  }
  // By all three calls, none of which may change anything.
  void ExpectInvalid(const std::string& handle, const std::string& in_topic, const std::string& in_group, const std::string& why) {
    SCOPED_TRACE(why);
    const v2::AckMessageResponse ack = client.Ack(in_topic, in_group, {handle});
    ASSERT_EQ(ack.entries_size(), 1);
    EXPECT_EQ(v2::Code_Name(ack.entries(0).status().code()), "INVALID_RECEIPT_HANDLE") << ack.entries(0).status().message();
    EXPECT_EQ(v2::Code_Name(ack.status().code()), "INVALID_RECEIPT_HANDLE");
    EXPECT_NE(ack.entries(0).status().message(), "");
    EXPECT_EQ(ack.entries(0).receipt_handle(), handle);
    const v2::ChangeInvisibleDurationResponse change = client.Change(in_topic, in_group, handle, absl::Seconds(20));
    EXPECT_EQ(v2::Code_Name(change.status().code()), "INVALID_RECEIPT_HANDLE") << change.status().message();
    EXPECT_EQ(change.receipt_handle(), handle) << "clients take over whatever handle stands in the answer";
  }

  Client client;
  const std::string topic, group;
};

TEST_F(ReceiptTest, MadeUpOnesAreInvalid) {
  Deliver();

  for (const std::string& handle : {std::string(), std::string(" "), std::string("x"), std::string("AAAA"), std::string(10000, 'A'),
                                    std::string("AQEHc2hhcmQtMAEAAAAAAAAAAAAAAAAAAAABAAAAAQAAAAAAAAABAAAAMX0SPobQNSBNIENff1BX-Q")}) {
    ExpectInvalid(handle, topic, group, absl::StrCat("'", handle.substr(0, 20), "'"));
    EXPECT_EQ(Forward(handle), v2::INVALID_RECEIPT_HANDLE);
  }
}

TEST_F(ReceiptTest, AChangeOfAnyCharacterMakesItInvalid) {
  const std::string handle = HandleOf(Deliver());

  for (size_t i = 0; i < handle.size(); i += 3) {
    std::string changed = handle;
    changed[i] = changed[i] == 'B' ? 'C' : 'B';
    ExpectInvalid(changed, topic, group, absl::StrCat("character ", i));
  }
  ExpectInvalid(handle + "A", topic, group, "one character more");
  ExpectInvalid(handle.substr(1), topic, group, "the first one missing");
  EXPECT_EQ(client.Ack(topic, group, {handle}).status().code(), v2::OK) << "itself it is good";
}

TEST_F(ReceiptTest, TheyHoldForTheirTopicAndGroupOnly) {
  const std::string handle = HandleOf(Deliver());
  const std::string other_topic = NewName("other"), other_group = NewName("other-group");
  client.Send(NewMessage(other_topic));
  ASSERT_EQ(client.Receive(NewReceive(other_topic, other_group, absl::Seconds(5))).messages.size(), 1U);

  ExpectInvalid(handle, other_topic, group, "other topic");
  ExpectInvalid(handle, topic, other_group, "other group");
  ExpectInvalid(handle, NewName("nowhere"), group, "unknown topic");
  ExpectInvalid(handle, topic, NewName("nobody"), "unknown group");
}

TEST_F(ReceiptTest, OneOfAnotherServerIsForeign) {
  const std::string handle = HandleOf(Deliver());
  Client other(ServerProcess::Strict().endpoint());
  CreateTopic(other, topic);
  admin::CreateGroupRequest create;
  create.mutable_group()->set_name(group);
  admin::CreateGroupResponse created;
  ASSERT_TRUE(other.admin().CreateGroup(other.Context().get(), create, &created).ok());

  EXPECT_EQ(other.Ack(topic, group, {handle}).status().code(), v2::INVALID_RECEIPT_HANDLE);
}

TEST_F(ReceiptTest, AnEarlierDeliveryIsStaleAfterARedelivery) {
  const v2::Message first = Deliver(absl::Milliseconds(500));
  const v2::Message second = Next();

  EXPECT_EQ(first.system_properties().message_id(), second.system_properties().message_id());
  EXPECT_EQ(first.system_properties().delivery_attempt(), 1);
  EXPECT_EQ(second.system_properties().delivery_attempt(), 2);
  ExpectInvalid(HandleOf(first), topic, group, "of the first attempt");
  EXPECT_EQ(client.Ack(topic, group, {HandleOf(second)}).status().code(), v2::OK);
}

TEST_F(ReceiptTest, OneThatWasChangedGivesWayToTheNewOne) {
  const std::string handle = HandleOf(Deliver());
  const v2::ChangeInvisibleDurationResponse change = client.Change(topic, group, handle, absl::Seconds(20));

  EXPECT_EQ(change.status().code(), v2::OK);
  EXPECT_NE(change.receipt_handle(), "");
  EXPECT_NE(change.receipt_handle(), handle);
  ExpectInvalid(handle, topic, group, "the old one");
  EXPECT_EQ(client.Ack(topic, group, {change.receipt_handle()}).status().code(), v2::OK);
}

TEST_F(ReceiptTest, AnAcknowledgedMessageNeverComesBack) {
  const std::string handle = HandleOf(Deliver(absl::Milliseconds(500)));
  ASSERT_EQ(client.Ack(topic, group, {handle}).status().code(), v2::OK);

  EXPECT_EQ(client.Change(topic, group, handle, absl::ZeroDuration()).status().code(), v2::INVALID_RECEIPT_HANDLE);
  EXPECT_EQ(client.Receive(NewReceive(topic, group, absl::Milliseconds(1500))).code(), v2::MESSAGE_NOT_FOUND);
}

TEST_F(ReceiptTest, GoodAndBadOnesInOneCallHaveTheirOwnResults) {
  const std::string good = HandleOf(Deliver());

  const v2::AckMessageResponse ack = client.Ack(topic, group, {good, "bad"});

  EXPECT_EQ(ack.status().code(), v2::MULTIPLE_RESULTS);
  ASSERT_EQ(ack.entries_size(), 2);
  EXPECT_EQ(ack.entries(0).status().code(), v2::OK);
  EXPECT_EQ(ack.entries(1).status().code(), v2::INVALID_RECEIPT_HANDLE);
}

TEST_F(ReceiptTest, NothingToAcknowledgeIsABadRequest) { EXPECT_EQ(client.Ack(topic, group, {}).status().code(), v2::BAD_REQUEST); }

TEST_F(ReceiptTest, TheChangedDurationHasItsBounds) {
  const std::string handle = HandleOf(Deliver());
  const auto change = [&](int64_t seconds, int32_t nanos) {
    v2::ChangeInvisibleDurationRequest request;
    *request.mutable_topic() = Name(topic);
    *request.mutable_group() = Name(group);
    request.set_receipt_handle(handle);
    request.mutable_invisible_duration()->set_seconds(seconds);
    request.mutable_invisible_duration()->set_nanos(nanos);
    const v2::ChangeInvisibleDurationResponse response = client.Call(&Stub::ChangeInvisibleDuration, request);
    EXPECT_NE(response.receipt_handle(), "");
    return response.status();
  };

  for (const auto& [seconds, nanos] : std::vector<std::pair<int64_t, int32_t>>{{-1, 0}, {0, -1}, {INT64_MIN, INT32_MIN}}) {
    const v2::Status status = change(seconds, nanos);
    EXPECT_EQ(status.code(), v2::ILLEGAL_INVISIBLE_TIME) << seconds;
    EXPECT_NE(status.message().find("too small"), std::string::npos) << status.message();
  }
  for (const int64_t seconds : {int64_t{43201}, INT64_MAX}) {
    const v2::Status status = change(seconds, 0);
    EXPECT_EQ(status.code(), v2::ILLEGAL_INVISIBLE_TIME) << seconds;
    EXPECT_NE(status.message().find("too large"), std::string::npos) << status.message();
  }
  EXPECT_EQ(change(43200, 0).code(), v2::OK);
}

TEST_F(ReceiptTest, ANegativeAcknowledgementOfZeroComesBackAfterTheLeastDelay) {
  const v2::Message message = Deliver();
  const absl::Time given_back = absl::Now();
  ASSERT_EQ(client.Change(topic, group, HandleOf(message), absl::ZeroDuration()).status().code(), v2::OK);

  const v2::Message again = Next();

  EXPECT_EQ(again.system_properties().delivery_attempt(), 2);
  EXPECT_GE(absl::Now() - given_back, absl::Milliseconds(950));
  EXPECT_LE(absl::Now() - given_back, absl::Seconds(3));
}

TEST_F(ReceiptTest, AForwardedMessageIsADeadLetterThatNamesItsOrigin) {
  const v2::Message message = Deliver();

  ASSERT_EQ(Forward(HandleOf(message)), v2::OK);

  EXPECT_EQ(Forward(HandleOf(message)), v2::OK) << "clients repeat it until it succeeds";
  const Received dead = client.Receive(NewReceive("%DLQ%" + group, NewName("undertaker"), absl::Seconds(5)));
  ASSERT_EQ(dead.messages.size(), 1U) << dead.status.message();
  EXPECT_EQ(dead.messages[0].body(), message.body());
  EXPECT_EQ(dead.messages[0].system_properties().dead_letter_queue().topic(), topic);
  EXPECT_EQ(dead.messages[0].system_properties().dead_letter_queue().message_id(), message.system_properties().message_id());
  EXPECT_EQ(client.Receive(NewReceive(topic, group)).code(), v2::MESSAGE_NOT_FOUND);
}

}  // namespace
}  // namespace fulmar::integration
