// The hand-written walk against the generated parser: whatever protobuf accepts, the walk accepts and sees alike.
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/message_differencer.h>

#include <functional>
#include <random>
#include <string>

#include "apache/rocketmq/v2/service.pb.h"
#include "gtest/gtest.h"
#include "services/broker/wire_walk.h"
#include "services/common/sim/test_seed.h"

namespace fulmar::broker::wire {
namespace {

namespace pb = ::apache::rocketmq::v2;
using google::protobuf::util::MessageDifferencer;

void SetTime(const TimeView& time, auto* out) {
  out->set_seconds(time.seconds);
  out->set_nanos(time.nanos);
}
void SetResource(const ResourceView& resource, pb::Resource* out) {
  out->set_resource_namespace(std::string(resource.name_space));
  out->set_name(std::string(resource.name));
}

// What the walk saw, as protobuf.
pb::SendMessageRequest ToProto(const SendRequest& request) {
  pb::SendMessageRequest out;
  for (const MessageFields& in : request.messages) {
    pb::Message* message = out.add_messages();
    SetResource(in.topic, message->mutable_topic());
    for (const PropertyView& property : in.properties) (*message->mutable_user_properties())[std::string(property.key)] = std::string(property.value);
    message->set_body(std::string(in.body));
    pb::SystemProperties* system = message->mutable_system_properties();
    if (in.tag) system->set_tag(std::string(*in.tag));
    for (const std::string_view key : in.keys) system->add_keys(std::string(key));
    system->set_message_id(std::string(in.message_id));
    if (in.digest) {
      system->mutable_body_digest()->set_type(static_cast<pb::DigestType>(in.digest->type));
      system->mutable_body_digest()->set_checksum(std::string(in.digest->checksum));
    }
    system->set_body_encoding(static_cast<pb::Encoding>(in.encoding));
    system->set_message_type(static_cast<pb::MessageType>(in.type));
    if (in.born) SetTime(*in.born, system->mutable_born_timestamp());
    system->set_born_host(std::string(in.born_host));
    if (in.delivery_time) SetTime(*in.delivery_time, system->mutable_delivery_timestamp());
    if (in.message_group) system->set_message_group(std::string(*in.message_group));
    if (in.trace_context) system->set_trace_context(std::string(*in.trace_context));
    if (in.recovery) SetTime(*in.recovery, system->mutable_orphaned_transaction_recovery_duration());
    if (in.lite_topic) system->set_lite_topic(std::string(*in.lite_topic));
    if (in.priority) system->set_priority(*in.priority);
  }
  return out;
}

// Without what the walk does not look at, and with sub-messages there, as ToProto() makes them.
void Reduce(pb::SendMessageRequest& request) {
  for (pb::Message& message : *request.mutable_messages()) {
    message.mutable_topic();
    pb::SystemProperties* system = message.mutable_system_properties();
    system->clear_store_timestamp();
    system->clear_store_host();
    system->clear_receipt_handle();
    system->clear_queue_id();
    system->clear_queue_offset();
    system->clear_invisible_duration();
    system->clear_delivery_attempt();
    system->clear_dead_letter_queue();
  }
  request.DiscardUnknownFields();
}

pb::ReceiveMessageRequest ToProto(const ReceiveRequest& in) {
  pb::ReceiveMessageRequest out;
  SetResource(in.group, out.mutable_group());
  SetResource(in.topic, out.mutable_message_queue()->mutable_topic());
  out.mutable_message_queue()->set_id(in.queue);
  out.mutable_filter_expression()->set_type(static_cast<pb::FilterType>(in.filter_type));
  out.mutable_filter_expression()->set_expression(std::string(in.filter));
  out.set_batch_size(in.batch_size);
  if (in.invisible_duration) SetTime(*in.invisible_duration, out.mutable_invisible_duration());
  out.set_auto_renew(in.auto_renew);
  if (in.long_polling_timeout) SetTime(*in.long_polling_timeout, out.mutable_long_polling_timeout());
  if (in.attempt_id) out.set_attempt_id(std::string(*in.attempt_id));
  return out;
}
void Reduce(pb::ReceiveMessageRequest& request) {
  request.mutable_group();
  request.mutable_filter_expression();
  pb::MessageQueue queue;
  *queue.mutable_topic() = request.message_queue().topic();
  queue.set_id(request.message_queue().id());
  *request.mutable_message_queue() = queue;
  request.DiscardUnknownFields();
}

pb::AckMessageRequest ToProto(const AckRequest& in) {
  pb::AckMessageRequest out;
  SetResource(in.group, out.mutable_group());
  SetResource(in.topic, out.mutable_topic());
  for (const AckEntryView& entry : in.entries) {
    out.add_entries()->set_message_id(std::string(entry.message_id));
    out.mutable_entries(out.entries_size() - 1)->set_receipt_handle(std::string(entry.receipt_handle));
  }
  return out;
}
void Reduce(pb::AckMessageRequest& request) {
  request.mutable_group();
  request.mutable_topic();
  for (pb::AckMessageEntry& entry : *request.mutable_entries()) entry.clear_lite_topic();
  request.DiscardUnknownFields();
}

// Fills fields of any message at random, through reflection, so that fields added later are covered too.
class Filler {
 public:
  explicit Filler(std::mt19937_64& random) : random_(random) {}

  void Fill(google::protobuf::Message& message, int depth = 0) {
    const google::protobuf::Descriptor* type = message.GetDescriptor();
    for (int i = 0; i < type->field_count(); ++i) {
      const google::protobuf::FieldDescriptor* field = type->field(i);
      if (Below(3) == 0) continue;
      const int count = field->is_repeated() ? static_cast<int>(Below(4)) : 1;
      for (int n = 0; n < count; ++n) FillField(message, field, depth);
    }
  }
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  std::string Text() {
    static const char* const pieces[] = {"a", "order", "ü", "漢字", "🐦", " ", "|", "\n", "%", "0123456789012345678901234567890123456789"};
    std::string text;
    for (uint64_t n = Below(4); n > 0; --n) text += pieces[Below(std::size(pieces))];
    return text;
  }

 private:
  void FillField(google::protobuf::Message& message, const google::protobuf::FieldDescriptor* field, int depth) {
    const google::protobuf::Reflection* reflection = message.GetReflection();
    const bool repeated = field->is_repeated();
    switch (field->cpp_type()) {
      case google::protobuf::FieldDescriptor::CPPTYPE_STRING: {
        std::string text = Text();
        if (field->type() == google::protobuf::FieldDescriptor::TYPE_BYTES && Below(2) == 0) text += "\xff\x80" + std::string(Below(300), 'b');
        if (repeated) reflection->AddString(&message, field, text);
        else reflection->SetString(&message, field, text);
        break;
      }
      case google::protobuf::FieldDescriptor::CPPTYPE_INT32: {
        const auto value = static_cast<int32_t>(Number());
        if (repeated) reflection->AddInt32(&message, field, value);
        else reflection->SetInt32(&message, field, value);
        break;
      }
      case google::protobuf::FieldDescriptor::CPPTYPE_INT64: reflection->SetInt64(&message, field, Number()); break;
      case google::protobuf::FieldDescriptor::CPPTYPE_BOOL: reflection->SetBool(&message, field, Below(2) == 1); break;
      case google::protobuf::FieldDescriptor::CPPTYPE_ENUM: {
        const auto value = static_cast<int>(Below(9));  // numbers without a name too
        if (repeated) reflection->AddEnumValue(&message, field, value);
        else reflection->SetEnumValue(&message, field, value);
        break;
      }
      case google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE:
        if (depth > 5) break;
        Fill(repeated ? *reflection->AddMessage(&message, field) : *reflection->MutableMessage(&message, field), depth + 1);
        break;
      default: break;
    }
  }
  int64_t Number() {
    const auto bits = static_cast<int64_t>(random_());
    return Below(2) == 0 ? bits : bits % 1000;
  }

  std::mt19937_64& random_;
};

template <class Proto, class View>
void CompareOn(const std::string& bytes, bool (*parse)(std::string_view, View&), bool must_parse) {
  Proto expected;
  if (!expected.ParseFromString(bytes)) {
    EXPECT_FALSE(must_parse);
    View view;
    (void)parse(bytes, view);  // may take it or not, but stays inside its bytes
    return;
  }
  View view;
  ASSERT_TRUE(parse(bytes, view)) << expected.DebugString();
  Reduce(expected);
  const Proto seen = ToProto(view);
  EXPECT_TRUE(MessageDifferencer::Equals(expected, seen)) << "expected " << expected.DebugString() << "\nseen " << seen.DebugString();
}

template <class Proto, class View>
void CompareAtRandom(bool (*parse)(std::string_view, View&)) {
  const uint64_t seed = sim::TestSeed();
  SCOPED_TRACE("FULMAR_SEED=" + std::to_string(seed));
  const google::protobuf::LogSilencer quiet;  // damaged bytes are what we want
  std::mt19937_64 random(seed);
  Filler filler(random);
  std::string before;
  for (int round = 0; round < 3000 && !::testing::Test::HasFailure(); ++round) {
    Proto message;
    filler.Fill(message);
    std::string bytes = message.SerializeAsString();
    CompareOn<Proto>(bytes, parse, true);
    CompareOn<Proto>(before + bytes, parse, true);                                 // merged: sub-messages, last one wins
    CompareOn<Proto>(bytes + std::string("\xba\x3e\x03xyz\xc0\x3e\x05", 9), parse, true);  // unknown fields
    CompareOn<Proto>(bytes + std::string("\xc3\x3e\x08\x01\xc4\x3e", 6), parse, true);     // an unknown group
    before = bytes;
    for (int n = 0; n < 5 && !bytes.empty(); ++n) {
      std::string damaged = bytes;
      damaged[filler.Below(damaged.size())] = static_cast<char>(filler.Below(256));
      if (filler.Below(4) == 0) damaged.resize(filler.Below(damaged.size()));
      CompareOn<Proto>(damaged, parse, false);
    }
  }
}

TEST(WireWalkTest, ASendIsSeenAsTheGeneratedParserSeesIt) { CompareAtRandom<pb::SendMessageRequest, SendRequest>(&ParseSendRequest); }
TEST(WireWalkTest, AReceiveIsSeenAsTheGeneratedParserSeesIt) { CompareAtRandom<pb::ReceiveMessageRequest, ReceiveRequest>(&ParseReceiveRequest); }
TEST(WireWalkTest, AnAckIsSeenAsTheGeneratedParserSeesIt) { CompareAtRandom<pb::AckMessageRequest, AckRequest>(&ParseAckRequest); }

TEST(WireWalkTest, EveryTruncationOfARequestIsSafe) {
  pb::SendMessageRequest request;
  request.add_messages()->mutable_topic()->set_name("orders");
  request.mutable_messages(0)->mutable_system_properties()->set_message_id("id");
  const std::string bytes = request.SerializeAsString();

  for (size_t size = 0; size < bytes.size(); ++size) CompareOn<pb::SendMessageRequest>(bytes.substr(0, size), &ParseSendRequest, false);
}

TEST(WireWalkTest, RefusesWhatIsNoProtobuf) {
  const auto refused = [](std::string_view bytes) {
    SendRequest request;
    return !ParseSendRequest(bytes, request);
  };

  EXPECT_TRUE(refused(std::string_view("\x00\x01", 2)));            // field 0
  EXPECT_TRUE(refused("\x0a\x05" "ab"));                             // shorter than it says
  EXPECT_TRUE(refused("\x0f"));                                      // a wire type that does not exist
  EXPECT_TRUE(refused("\x0c"));                                      // the end of a group that never began
  EXPECT_TRUE(refused("\x0b\x08\x01"));                              // a group without an end
  EXPECT_TRUE(refused("\x0b\x14"));                                  // ended by another one
  EXPECT_TRUE(refused("\xff\xff\xff\xff\xff\xff\x01\x01"));          // a tag that is too long
  EXPECT_TRUE(refused(std::string(300, '\x0b')));                    // groups without bottom
  EXPECT_TRUE(refused("\x0a\x06\x0a\x04\x12\x02\xc3\x28"));          // text that is not UTF-8
}

TEST(IsUtf8Test, TakesWhatUnicodeAllowsAndNothingElse) {
  for (const std::string_view good : {"", "plain", "ü", "漢", "🐦", "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf"}) EXPECT_TRUE(IsUtf8(good)) << good;
  EXPECT_TRUE(IsUtf8(std::string_view("a\0b", 3)));
  for (const std::string_view bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x80\x80", "\xe6\xbc", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "eight ok\xff"})
    EXPECT_FALSE(IsUtf8(bad)) << bad;
}

}  // namespace
}  // namespace fulmar::broker::wire
