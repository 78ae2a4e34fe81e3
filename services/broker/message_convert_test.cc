#include "services/broker/message_convert.h"

#include <functional>
#include <string>

#include "apache/rocketmq/v2/service.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/broker/message_rules.h"
#include "services/broker/wire_walk.h"
#include "services/common/errors.h"

namespace fulmar::broker {
namespace {

namespace pb = ::apache::rocketmq::v2;
using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixMillis(1'760'000'000'123);
const v2edge::CallInfo kCall{.client_id = "c", .name_space = "", .language = "JAVA"};

pb::SendMessageRequest Request(int messages = 1) {
  pb::SendMessageRequest request;
  for (int i = 0; i < messages; ++i) {
    pb::Message* message = request.add_messages();
    message->mutable_topic()->set_name("orders");
    message->set_body("body");
    message->mutable_system_properties()->set_message_id("id" + std::to_string(i));
    message->mutable_system_properties()->set_message_type(pb::NORMAL);
  }
  return request;
}
absl::StatusOr<SendCommand> Convert(const pb::SendMessageRequest& request, v2edge::CallInfo call = kCall) {
  const std::string bytes = request.SerializeAsString();
  wire::SendRequest walked;
  EXPECT_TRUE(wire::ParseSendRequest(bytes, walked));
  BodyDigester digester;
  return ToSendCommand(walked, call, MessageLimits(), digester, kNow);
}
// The code with which a message is refused that `change` has made wrong.
int CodeWith(const std::function<void(pb::Message&)>& change) {
  pb::SendMessageRequest request = Request();
  change(*request.mutable_messages(0));
  return V2CodeOf(Convert(request).status());
}
pb::SystemProperties& SystemOf(pb::Message& message) { return *message.mutable_system_properties(); }

TEST(ToSendCommandTest, TakesTheBoundaryCases) {
  EXPECT_EQ(CodeWith([](auto& m) { m.set_body(std::string(4 * 1024 * 1024, 'x')); }), 20000);
  EXPECT_EQ(CodeWith([](auto& m) { for (int i = 0; i < 128; ++i) (*m.mutable_user_properties())["p" + std::to_string(i)] = ""; }), 20000);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_tag(std::string(10 * 1024, 't')); }), 20000);
  EXPECT_EQ(CodeWith([](auto& m) { (*m.mutable_user_properties())["p"] = std::string(16 * 1024 - 1, 'v'); }), 20000);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_message_group(std::string(63, 'g')); }), 20000);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_tag(""); }), 20000);
}

// Every row of the protocol's table that can be told from the message alone.
TEST(ToSendCommandTest, RefusesEachIllegalPartWithItsOwnCode) {
  EXPECT_EQ(V2CodeOf(Convert(pb::SendMessageRequest()).status()), 40016);
  EXPECT_EQ(CodeWith([](auto& m) { m.mutable_topic()->set_name(""); }), 40002);
  EXPECT_EQ(CodeWith([](auto& m) { m.mutable_topic()->set_name("no spaces"); }), 40002);
  EXPECT_EQ(CodeWith([](auto& m) { m.mutable_topic()->set_name(std::string(128, 't')); }), 40002);
  EXPECT_EQ(CodeWith([](auto& m) { m.mutable_topic()->set_name("rmq_sys_x"); }), 40002);
  EXPECT_EQ(CodeWith([](auto& m) { m.clear_body(); }), 41302);
  EXPECT_EQ(CodeWith([](auto& m) { m.set_body(std::string(4 * 1024 * 1024 + 1, 'x')); }), 41301);
  EXPECT_EQ(CodeWith([](auto& m) { for (int i = 0; i < 129; ++i) (*m.mutable_user_properties())["p" + std::to_string(i)] = ""; }), 43101);
  EXPECT_EQ(CodeWith([](auto& m) { (*m.mutable_user_properties())["p"] = std::string(16 * 1024, 'v'); }), 43101);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_tag(std::string(8 * 1024, 't')); SystemOf(m).add_keys(std::string(8 * 1024 + 1, 'k')); }), 43101);
  EXPECT_EQ(CodeWith([](auto& m) { (*m.mutable_user_properties())["UNIQ_KEY"] = "v"; }), 40007);
  EXPECT_EQ(CodeWith([](auto& m) { (*m.mutable_user_properties())["__CRC32#"] = "v"; }), 40007);
  EXPECT_EQ(CodeWith([](auto& m) { (*m.mutable_user_properties())["a\x01"] = "v"; }), 40007);
  EXPECT_EQ(CodeWith([](auto& m) { (*m.mutable_user_properties())["a"] = "v\x7f"; }), 40007);
  EXPECT_EQ(CodeWith([](auto& m) { (*m.mutable_user_properties())["a"] = "\xc2\x85"; }), 40007);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_tag("  "); }), 40004);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_tag("a|b"); }), 40004);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_tag("a\n"); }), 40004);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).add_keys(" "); }), 40005);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).add_keys("a\tb"); }), 40005);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).clear_message_id(); }), 40009);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_message_id("  "); }), 40009);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_message_id(std::string(1025, 'i')); }), 40009);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).mutable_orphaned_transaction_recovery_duration()->set_seconds(3601); }), 40000);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).mutable_delivery_timestamp()->set_seconds(1'760'000'000 + int64_t{3651} * 86400); }), 40012);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).mutable_delivery_timestamp()->set_seconds(int64_t{1} << 60); }), 40012);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_message_group(std::string(64, 'g')); }), 40006);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_message_group(" "); }), 40006);
}

TEST(ToSendCommandTest, ChecksInTheOrderOfTheReference) {
  // Each is wrong in two ways; the code is that of the earlier check.
  EXPECT_EQ(CodeWith([](auto& m) { m.mutable_topic()->clear_name(); m.clear_body(); }), 40002);
  EXPECT_EQ(CodeWith([](auto& m) { m.clear_body(); SystemOf(m).set_tag("|"); }), 41302);
  EXPECT_EQ(CodeWith([](auto& m) { (*m.mutable_user_properties())["UNIQ_KEY"] = ""; SystemOf(m).set_tag("|"); }), 40007);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_tag("|"); SystemOf(m).add_keys(" "); }), 40004);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).add_keys(" "); SystemOf(m).set_tag(std::string(17000, 't')); }), 40005);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).set_tag(std::string(17000, 't')); SystemOf(m).clear_message_id(); }), 43101);
  EXPECT_EQ(CodeWith([](auto& m) { SystemOf(m).clear_message_id(); SystemOf(m).set_message_group(" "); }), 40009);
}

TEST(ToSendCommandTest, MessagesOfOneRequestBelongTogether) {
  pb::SendMessageRequest topics = Request(2);
  topics.mutable_messages(1)->mutable_topic()->set_name("others");
  pb::SendMessageRequest types = Request(2);
  types.mutable_messages(1)->mutable_system_properties()->set_message_group("g");

  EXPECT_EQ(V2CodeOf(Convert(topics).status()), 40016);
  EXPECT_EQ(V2CodeOf(Convert(types).status()), 40014);
  EXPECT_EQ(V2CodeOf(Convert(Request(1025)).status()), 41300);
  const absl::StatusOr<SendCommand> good = Convert(Request(3));
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(good->messages.size(), 3u);
  EXPECT_EQ(good->messages[2].message_id, "id2");
}

TEST(ToSendCommandTest, TheTypeIsWhatTheMessageAsksForWhateverItSays) {
  const auto type_with = [](const std::function<void(pb::Message&)>& change) {
    pb::SendMessageRequest request = Request();
    change(*request.mutable_messages(0));
    return static_cast<int>(Convert(request)->type);
  };

  EXPECT_EQ(type_with([](auto& m) { SystemOf(m).clear_message_type(); }), pb::NORMAL);
  EXPECT_EQ(type_with([](auto& m) { SystemOf(m).set_message_group("g"); }), pb::FIFO);
  EXPECT_EQ(type_with([](auto& m) { SystemOf(m).set_message_type(pb::FIFO); }), pb::FIFO);
  EXPECT_EQ(type_with([](auto& m) { SystemOf(m).mutable_delivery_timestamp(); }), pb::DELAY);
  EXPECT_EQ(type_with([](auto& m) { SystemOf(m).set_priority(3); }), pb::PRIORITY);
  EXPECT_EQ(type_with([](auto& m) { SystemOf(m).set_lite_topic("l"); }), pb::LITE);
  EXPECT_EQ(type_with([](auto& m) { SystemOf(m).set_message_type(pb::TRANSACTION); }), pb::TRANSACTION);
  EXPECT_EQ(type_with([](auto& m) { SystemOf(m).set_message_type(static_cast<pb::MessageType>(77)); }), pb::NORMAL);
}

TEST(ToSendCommandTest, ADigestOfTheClientIsChecked) {
  const auto code = [](pb::DigestType type, const std::string& checksum) {
    return CodeWith([&](auto& m) {
      SystemOf(m).mutable_body_digest()->set_type(type);
      SystemOf(m).mutable_body_digest()->set_checksum(checksum);
    });
  };

  EXPECT_EQ(code(pb::MD5, "841A2D689AD86BD1611447453C22C6FC"), 20000);
  EXPECT_EQ(code(pb::MD5, "841a2d689ad86bd1611447453c22c6fc"), 20000);
  EXPECT_EQ(code(pb::MD5, "841A2D689AD86BD1611447453C22C6FD"), 40016);
  EXPECT_EQ(code(pb::SHA1, "02083F4579E08A612425C0C1A17EE47ADD783B94"), 20000);
  EXPECT_EQ(code(pb::SHA1, "02083F4579E08A612425C0C1A17EE47ADD783B95"), 40016);
  EXPECT_EQ(code(pb::CRC32, "DB7F1F5B"), 40016);
  EXPECT_EQ(code(pb::CRC32, "not a number"), 40016);
  EXPECT_EQ(code(pb::MD5, ""), 20000);
  EXPECT_EQ(code(static_cast<pb::DigestType>(9), "x"), 20000);
}

TEST(BodyDigesterTest, Crc32CountsByItsValue) {
  BodyDigester digester;
  const std::string body = "123456789";  // its CRC32 is the published check value CBF43926
  const std::string md5 = digester.Md5(body);

  for (const std::string_view text : {"CBF43926", "cbf43926", "00CBF43926", "3421780262"}) EXPECT_TRUE(digester.Check({1, text}, md5, body).ok()) << text;
  EXPECT_FALSE(digester.Check({1, "CBF43927"}, md5, body).ok());
}

TEST(BodyDigesterTest, Md5IsUpperCaseHexAlsoOfNothingAndAgain) {
  BodyDigester digester;
  EXPECT_EQ(digester.Md5(""), "D41D8CD98F00B204E9800998ECF8427E");
  EXPECT_EQ(digester.Md5("abc"), "900150983CD24FB0D6963F7D28E17F72");
  EXPECT_EQ(digester.Md5("abc"), "900150983CD24FB0D6963F7D28E17F72");
}

// What one client sends, another gets.
pb::Message Deliver(const pb::SendMessageRequest& request, DeliveryTarget target = {.name_space = "", .topic = "orders", .store_host = "h:1"}) {
  absl::StatusOr<SendCommand> command = Convert(request);
  EXPECT_TRUE(command.ok()) << command.status();
  std::string record = command->messages[0].record;
  PlaceMessage(record, 1, 3, 42, 1'760'000'000'500);
  const Delivered delivered{.record = common::SharedBytes(record), .queue = 3, .offset = 42, .attempt = 2, .receipt_handle = "handle", .invisible_duration = absl::Seconds(30)};
  const absl::StatusOr<MessageView> view = ParseMessageRecord(delivered.record.view());
  EXPECT_TRUE(view.ok());
  pb::ReceiveMessageResponse response;
  EXPECT_TRUE(response.ParseFromString(EncodeDelivery(2, *view, delivered, target).Flat()));
  return response.message();
}

TEST(EncodeDeliveryTest, SystemPropertiesAreThoseSentPlusTheServers) {
  pb::SendMessageRequest request = Request();
  pb::SystemProperties& system = SystemOf(*request.mutable_messages(0));
  system.set_trace_context("");
  system.set_body_encoding(pb::GZIP);
  system.mutable_born_timestamp()->set_seconds(77);
  system.set_delivery_attempt(1'700'000);  // C++ sends nonsense here
  system.set_receipt_handle("mine");
  system.set_store_host("mine");
  system.set_queue_id(99);

  const pb::SystemProperties delivered = Deliver(request).system_properties();

  EXPECT_TRUE(delivered.has_trace_context());
  EXPECT_FALSE(delivered.has_tag());
  EXPECT_FALSE(delivered.has_message_group());
  EXPECT_EQ(delivered.body_encoding(), pb::GZIP);
  EXPECT_EQ(delivered.born_timestamp().seconds(), 77);
  EXPECT_EQ(delivered.delivery_attempt(), 2);
  EXPECT_EQ(delivered.receipt_handle(), "handle");
  EXPECT_EQ(delivered.store_host(), "h:1");
  EXPECT_EQ(delivered.queue_id(), 3);
  EXPECT_EQ(delivered.queue_offset(), 42);
  EXPECT_EQ(delivered.store_timestamp().seconds(), 1'760'000'000);
  EXPECT_EQ(delivered.store_timestamp().nanos(), 500'000'000);
}

TEST(EncodeDeliveryTest, ABornTimeThatIsNoneIsReplaced) {
  for (const int64_t seconds : {int64_t{1} << 60, -(int64_t{1} << 60)}) {
    pb::SendMessageRequest request = Request();
    SystemOf(*request.mutable_messages(0)).mutable_born_timestamp()->set_seconds(seconds);
    EXPECT_EQ(Deliver(request).system_properties().born_timestamp().seconds(), 1'760'000'000) << seconds;
  }
  EXPECT_EQ(Deliver(Request()).system_properties().born_timestamp().nanos(), 123'000'000);
}

TEST(EncodeDeliveryTest, UserPropertiesAndBodiesOfAnySizeAreThoseSent) {
  for (const size_t bytes : {1, 127, 128, 4096, 4097, 100'000}) {
    pb::SendMessageRequest request = Request();
    request.mutable_messages(0)->set_body(std::string(bytes, '\xfe'));
    for (int i = 0; i < 50; ++i) (*request.mutable_messages(0)->mutable_user_properties())["key" + std::to_string(i)] = std::string(static_cast<size_t>(i) * 5, 'v');

    const pb::Message message = Deliver(request);

    EXPECT_TRUE(message.body() == request.messages(0).body());
    EXPECT_EQ(message.user_properties_size(), 50);
    for (const auto& [key, value] : request.messages(0).user_properties()) EXPECT_EQ(message.user_properties().at(key), value);
  }
}

TEST(EncodeDeliveryTest, TheTopicIsShownAsTheClientNamesIt) {
  const pb::Message message = Deliver(Request(), {.name_space = "ns", .topic = "orders", .store_host = ""});

  EXPECT_EQ(message.topic().resource_namespace(), "ns");
  EXPECT_EQ(message.topic().name(), "orders");
}

TEST(EncodeDeliveryTest, ADeadLetterSaysWhereItCameFrom) {
  MessageView view;
  view.message_id = "new";
  view.body = "b";
  view.origin_topic = "ns%orders";
  view.origin_id = "old";
  const Delivered delivered{.record = common::SharedBytes(EncodeMessageRecord(view)), .offset = 1, .receipt_handle = "h"};
  const absl::StatusOr<MessageView> stored = ParseMessageRecord(delivered.record.view());
  pb::ReceiveMessageResponse response;

  ASSERT_TRUE(response.ParseFromString(EncodeDelivery(2, *stored, delivered, {.name_space = "ns", .topic = "%DLQ%g"}).Flat()));

  EXPECT_EQ(response.message().system_properties().dead_letter_queue().topic(), "orders");
  EXPECT_EQ(response.message().system_properties().dead_letter_queue().message_id(), "old");
}

TEST(NamesTest, ANamespaceGoesInFrontAndOffAgain) {
  using v2edge::NameWithin;
  using v2edge::WholeName;
  EXPECT_EQ(WholeName("", "orders"), "orders");
  EXPECT_EQ(WholeName("ns", "orders"), "ns%orders");
  EXPECT_EQ(WholeName("ns", "ns%orders"), "ns%orders");
  EXPECT_EQ(WholeName("ns", "%DLQ%g"), "%DLQ%ns%g");
  EXPECT_EQ(WholeName("ns", "%DLQ%ns%g"), "%DLQ%ns%g");
  EXPECT_EQ(WholeName("ns", ""), "");
  EXPECT_EQ(NameWithin("ns", "ns%orders"), "orders");
  EXPECT_EQ(NameWithin("ns", "%DLQ%ns%g"), "%DLQ%g");
  EXPECT_EQ(NameWithin("ns", "nsorders"), "nsorders");
  EXPECT_EQ(NameWithin("", "ns%orders"), "ns%orders");
}

}  // namespace
}  // namespace fulmar::broker
