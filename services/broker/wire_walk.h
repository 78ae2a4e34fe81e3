#ifndef FULMAR_BROKER_WIRE_WALK_H_
#define FULMAR_BROKER_WIRE_WALK_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "services/broker/wire_reader.h"

// The requests of the hot methods, read straight from their protobuf bytes into views: no copy, no allocation per field.
// All views point into the bytes given. The rules are protobuf's: unknown fields are skipped, of a repeated single field the last one
// counts, sub-messages merge, text must be UTF-8. What the server has no use for (the broker of a queue, store_* of a message to send, ...)
// is not looked into. Compared with the generated parser by wire_walk_test.
// A parser returns false on bytes that are no such message; the struct is then half filled. Structs can be used again after Clear().
namespace fulmar::broker::wire {

struct ResourceView { std::string_view name_space, name; };
struct TimeView { int64_t seconds = 0; int32_t nanos = 0; };  // Timestamp or Duration
struct DigestView { int32_t type = 0; std::string_view checksum; };
struct PropertyView { std::string_view key, value; };

struct MessageFields {
  ResourceView topic;
  std::vector<PropertyView> properties;  // in order of arrival, repeated keys included
  std::optional<std::string_view> tag;
  std::vector<std::string_view> keys;
  std::string_view message_id;
  std::optional<DigestView> digest;
  int32_t encoding = 0, type = 0;
  std::optional<TimeView> born;
  std::string_view born_host;
  std::optional<TimeView> delivery_time;
  std::optional<std::string_view> message_group, trace_context, lite_topic;
  std::optional<TimeView> recovery;
  std::optional<int32_t> priority;
  std::string_view body;
};

struct SendRequest {
  std::vector<MessageFields> messages;
  void Clear() { messages.clear(); }
};
bool ParseSendRequest(std::string_view bytes, SendRequest& request);

struct ReceiveRequest {
  ResourceView group, topic;
  int32_t queue = 0;
  int32_t filter_type = 0;
  std::string_view filter;
  int32_t batch_size = 0;
  std::optional<TimeView> invisible_duration;
  bool auto_renew = false;
  std::optional<TimeView> long_polling_timeout;
  std::optional<std::string_view> attempt_id;
};
bool ParseReceiveRequest(std::string_view bytes, ReceiveRequest& request);

struct AckEntryView { std::string_view message_id, receipt_handle; };
struct AckRequest {
  ResourceView group, topic;
  std::vector<AckEntryView> entries;
};
bool ParseAckRequest(std::string_view bytes, AckRequest& request);

}  // namespace fulmar::broker::wire

#endif  // FULMAR_BROKER_WIRE_WALK_H_
