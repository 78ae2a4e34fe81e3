#include "services/broker/message_convert.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "services/broker/message_rules.h"
#include "services/broker/wire_writer.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

enum MessageType : uint8_t { kNormal = 1, kFifo = 2, kDelay = 3, kTransaction = 4, kLite = 5, kPriority = 6 };  // v2 numbers
constexpr int32_t kMd5 = 2;       // v2 DigestType
constexpr int32_t kIdentity = 1;  // v2 Encoding

// Bodies up to this size are copied behind the head: one piece costs less in the transport than two.
constexpr size_t kInlineBodyBytes = 4096;

absl::Time ToTime(const wire::TimeView& time) { return absl::FromUnixSeconds(time.seconds) + absl::Nanoseconds(time.nanos); }

// Inside what a Timestamp may hold, years 1 to 9999: parsers of some languages throw on others, which would block a consumer for ever.
bool IsTimestamp(const wire::TimeView& time) {
  return time.seconds >= -62'135'596'800 && time.seconds <= 253'402'300'799 && time.nanos >= 0 && time.nanos < 1'000'000'000;
}

absl::Status CheckBody(std::string_view body, const MessageLimits& limits) {
  if (body.empty()) return errors::MessageBodyEmpty("the message body is empty");
  if (body.size() > limits.max_body_bytes)
    return errors::MessageBodyTooLarge(absl::StrCat("the message body has ", body.size(), " bytes, at most ", limits.max_body_bytes, " are allowed"));
  return absl::OkStatus();
}

absl::Status CheckProperties(const wire::MessageFields& message, const MessageLimits& limits) {
  if (message.properties.size() > limits.max_properties)
    return errors::MessagePropertiesTooLarge(absl::StrCat("the message has ", message.properties.size(), " properties, at most ", limits.max_properties, " are allowed"));
  size_t bytes = message.tag.value_or("").size();
  for (const wire::PropertyView& property : message.properties) {
    FULMAR_RETURN_IF_ERROR(CheckProperty(property.key, property.value));
    bytes += property.key.size() + property.value.size();
  }
  FULMAR_RETURN_IF_ERROR(CheckTag(message.tag.value_or("")));
  for (const std::string_view key : message.keys) {
    FULMAR_RETURN_IF_ERROR(CheckKey(key));
    bytes += key.size();
  }
  if (bytes > limits.max_property_bytes)
    return errors::MessagePropertiesTooLarge(absl::StrCat("properties, tag and keys have ", bytes, " bytes together, at most ", limits.max_property_bytes, " are allowed"));
  return absl::OkStatus();
}

absl::Status CheckTimes(const wire::MessageFields& message, const MessageLimits& limits, absl::Time now) {
  if (message.recovery.has_value() && message.recovery->seconds > absl::ToInt64Seconds(limits.max_recovery))
    return errors::BadRequest(absl::StrCat("the recovery duration of ", message.recovery->seconds, " s is above ", absl::ToInt64Seconds(limits.max_recovery), " s"));
  if (message.delivery_time.has_value() && !IsTimestamp(*message.delivery_time))
    return errors::IllegalDeliveryTime("the delivery time is no valid timestamp");
  if (message.delivery_time.has_value() && ToTime(*message.delivery_time) > now + limits.max_delay)
    return errors::IllegalDeliveryTime(absl::StrCat("the delivery time is more than ", absl::FormatDuration(limits.max_delay), " ahead"));
  return absl::OkStatus();
}

absl::Status CheckMessage(const wire::MessageFields& message, const MessageLimits& limits, absl::Time now) {
  FULMAR_RETURN_IF_ERROR(CheckBody(message.body, limits));
  FULMAR_RETURN_IF_ERROR(CheckProperties(message, limits));
  FULMAR_RETURN_IF_ERROR(CheckMessageId(message.message_id, limits.max_message_id_bytes));
  FULMAR_RETURN_IF_ERROR(CheckTimes(message, limits, now));
  if (message.priority.value_or(0) < 0) return errors::BadRequest(absl::StrCat("the priority ", *message.priority, " is negative"));
  return CheckMessageGroup(message.message_group.value_or(""), limits.max_message_group_bytes);
}

std::string TopicOf(const wire::MessageFields& message, const v2edge::CallInfo& call) {
  return v2edge::WholeName(v2edge::EffectiveNamespace(message.topic.name_space, call.name_space), message.topic.name);
}

// The SystemProperties that stay the same for every delivery, in wire bytes.
void AppendStaticSystem(const wire::MessageFields& message, uint8_t type, std::string_view md5, const wire::TimeView& born, std::string& out) {
  wire::Writer write(out);
  if (!message.tag.value_or("").empty()) write.Bytes(1, *message.tag);
  for (const std::string_view key : message.keys) write.BytesIfSet(2, key);
  write.Bytes(3, message.message_id);
  write.Message(4, [&] {
    write.Number(1, kMd5);
    write.Bytes(2, md5);
  });
  write.Number(5, message.encoding == 0 ? kIdentity : message.encoding);
  write.Number(6, type);
  write.Time(7, born.seconds, born.nanos);
  write.BytesIfSet(8, message.born_host);
  if (message.delivery_time.has_value()) write.Time(11, message.delivery_time->seconds, message.delivery_time->nanos);
  if (!message.message_group.value_or("").empty()) write.Bytes(17, *message.message_group);
  if (message.trace_context.has_value()) write.Bytes(18, *message.trace_context);
  if (message.recovery.has_value()) write.Time(19, message.recovery->seconds, message.recovery->nanos);
  if (!message.lite_topic.value_or("").empty()) write.Bytes(21, *message.lite_topic);
  if (message.priority.has_value()) write.Number(22, *message.priority);
}

// Written anew instead of copied: whatever odd but legal form they came in, every client's parser will take this one.
void AppendProperties(const wire::MessageFields& message, std::string& out) {
  wire::Writer write(out);
  for (const wire::PropertyView& property : message.properties) {
    write.Message(2, [&] {
      write.Bytes(1, property.key);
      write.Bytes(2, property.value);
    });
  }
}

// Rooms to build the parts of a record in; they keep their capacity from message to message.
struct Scratch { std::string system, user; };

absl::StatusOr<NewMessage> ToNewMessage(const wire::MessageFields& message, uint8_t type, BodyDigester& digester, absl::Time now, Scratch& scratch) {
  const std::string md5 = digester.Md5(message.body);
  if (message.digest.has_value()) FULMAR_RETURN_IF_ERROR(digester.Check(*message.digest, md5, message.body));
  const int64_t now_ms = absl::ToUnixMillis(now);
  wire::TimeView born{now_ms / 1000, static_cast<int32_t>(now_ms % 1000) * 1'000'000};
  if (message.born.has_value() && IsTimestamp(*message.born)) born = *message.born;

  scratch.system.clear();
  scratch.user.clear();
  AppendStaticSystem(message, type, md5, born, scratch.system);
  AppendProperties(message, scratch.user);
  MessageView view;
  view.type = type;
  view.tag = message.tag.value_or("");
  view.tag_hash = TagHash(view.tag);
  view.born_time_ms = absl::ToUnixMillis(ToTime(born));
  view.message_id = message.message_id;
  if (type == kFifo) view.group_hash = MessageGroupHash(message.message_group.value_or(""));
  view.system = scratch.system;
  view.user = scratch.user;
  view.body = message.body;
  // Up to the next millisecond: never early.
  int64_t delivery_ms = 0;
  if (message.delivery_time.has_value()) delivery_ms = absl::ToUnixMillis(ToTime(*message.delivery_time) + absl::Milliseconds(1) - absl::Nanoseconds(1));
  return NewMessage{.record = EncodeMessageRecord(view), .message_id = std::string(message.message_id), .tag_hash = view.tag_hash, .delivery_ms = delivery_ms,
                    .priority = message.priority.value_or(0),
                    .body_digest = md5,
                    .group_hash = view.group_hash};
}

}  // namespace

uint8_t TypeOf(const wire::MessageFields& message) {
  if (message.type == kTransaction) return kTransaction;
  if (message.delivery_time.has_value()) return kDelay;
  if (!message.lite_topic.value_or("").empty()) return kLite;
  if (message.priority.has_value()) return kPriority;
  if (!message.message_group.value_or("").empty()) return kFifo;
  return message.type >= kNormal && message.type <= kPriority ? static_cast<uint8_t>(message.type) : uint8_t{kNormal};
}

absl::StatusOr<SendCommand> ToSendCommand(const wire::SendRequest& request, const v2edge::CallInfo& call, const MessageLimits& limits,
                                          BodyDigester& digester, absl::Time now) {
  if (request.messages.empty()) return errors::MessageCorrupted("there is no message to send");
  if (request.messages.size() > limits.max_messages)
    return errors::PayloadTooLarge(absl::StrCat(request.messages.size(), " messages in one request, at most ", limits.max_messages, " are allowed"));
  SendCommand command;
  command.client = {.client_id = std::string(call.client_id), .slow_heartbeat = call.slow_heartbeat()};
  command.topic = TopicOf(request.messages.front(), call);
  FULMAR_RETURN_IF_ERROR(index::CheckTopicName(command.topic));
  command.type = TypeOf(request.messages.front());
  for (const wire::MessageFields& message : request.messages) {
    if (&message != &request.messages.front() && TopicOf(message, call) != command.topic)
      return errors::MessageCorrupted("the messages of one request have different topics");
    FULMAR_RETURN_IF_ERROR(CheckMessage(message, limits, now));
    if (TypeOf(message) != command.type)
      return errors::MessagePropertyConflict("the messages of one request have different types");
  }

  Scratch scratch;
  command.messages.reserve(request.messages.size());
  for (const wire::MessageFields& message : request.messages) {
    FULMAR_ASSIGN_OR_RETURN(NewMessage stored, ToNewMessage(message, command.type, digester, now, scratch));
    command.messages.push_back(std::move(stored));
  }
  return command;
}

OutBytes EncodeDelivery(uint32_t content_field, const MessageView& view, const Delivered& delivered, const DeliveryTarget& target) {
  std::string topic, dynamic;
  wire::Writer write_topic(topic);
  write_topic.Message(1, [&] {
    write_topic.BytesIfSet(1, target.name_space);
    write_topic.BytesIfSet(2, target.topic);
  });
  wire::Writer write_dynamic(dynamic);
  write_dynamic.TimeMs(9, view.store_time_ms);
  write_dynamic.BytesIfSet(10, target.store_host);
  if (!delivered.receipt_handle.empty()) write_dynamic.Bytes(12, delivered.receipt_handle);
  write_dynamic.NumberIfSet(13, delivered.queue);
  write_dynamic.Number(14, delivered.offset);
  if (delivered.invisible_duration > absl::ZeroDuration()) write_dynamic.TimeMs(15, absl::ToInt64Milliseconds(delivered.invisible_duration));
  write_dynamic.Number(16, delivered.attempt);
  if (!view.origin_topic.empty()) {
    write_dynamic.Message(20, [&] {
      write_dynamic.Bytes(1, v2edge::NameWithin(target.name_space, view.origin_topic));
      write_dynamic.Bytes(2, view.origin_id);
    });
  }

  const size_t system_bytes = view.system.size() + dynamic.size();
  const size_t message_bytes = topic.size() + view.user.size() + 1 + wire::VarintBytes(system_bytes) + system_bytes +
                               1 + wire::VarintBytes(view.body.size()) + view.body.size();
  const bool inline_body = view.body.size() <= kInlineBodyBytes;
  OutBytes out;
  out.head.reserve(message_bytes - (inline_body ? 0 : view.body.size()) + 8);
  wire::Writer write(out.head);
  write.Head(content_field, message_bytes);
  out.head.append(topic);
  out.head.append(view.user);
  write.Head(3, system_bytes);
  out.head.append(view.system);
  out.head.append(dynamic);
  write.Head(4, view.body.size());
  if (inline_body) out.head.append(view.body);
  else out.body = delivered.record.Sub(view.body.data() - delivered.record.view().data(), view.body.size());
  return out;
}

}  // namespace fulmar::broker
