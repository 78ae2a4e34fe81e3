#ifndef FULMAR_BROKER_MESSAGE_RECORD_H_
#define FULMAR_BROKER_MESSAGE_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fulmar::broker {

// The body of a log::RecordType::kMessage record. The variable parts are already in the shape in which they leave again on the wire, so that
// delivery copies them and encodes only what the delivery itself decides.
//
//   fixed header (little-endian, kMessageHeaderBytes; the first 40 bytes are patched by the shard when it places the message)
//     u8 version=1 | u8 message type (v2 number) | u16 flags | u32 topic_id | u32 queue | u32 tag_hash | i64 offset | i64 store_time_ms | i64 born_time_ms
//     u32 message_id_bytes | u32 tag_bytes | u32 system_bytes | u32 user_bytes | u32 body_bytes | u32 origin_topic_bytes | u32 origin_id_bytes
//   message_id | tag                    plain text (also inside `system`; here for filters and look-ups)
//   system                              wire bytes of SystemProperties fields that never change: tag, keys, message_id, body_digest (MD5),
//                                       body_encoding, message_type, born_timestamp, born_host, message_group, trace_context, ...
//                                       without the server's fields (store_*, queue_*, receipt_handle, delivery_attempt, invisible_duration, dead_letter_queue)
//   user                                wire bytes of the Message.user_properties map entries, each with its field tag
//   body                                plain bytes
//   origin_topic | origin_id            only of a dead letter: where it came from (DeadLetterQueue)
//   u64 group_hash                      only with flag 2: MessageGroupHash(message group)
//   dedup key                           16 bytes, only with flag 1: sent to a topic with a dedup window (dedup.h)
struct MessageView {
  uint8_t type = 0;  // v2 MessageType number
  uint32_t topic_id = 0;
  int32_t queue = 0;
  uint32_t tag_hash = 0;  // TagHash(tag); 0: no tag
  int64_t offset = 0;
  int64_t store_time_ms = 0;
  int64_t born_time_ms = 0;
  std::string_view message_id, tag, system, user, body, origin_topic, origin_id;
  std::string_view dedup_key;  // empty or kDedupKeyBytes; EncodeMessageRecord() leaves it out: a copy is another message
  uint64_t group_hash = 0;  // of its message group; 0: it has none
};

// Views into `record`, which must outlive the result. DataLoss on damage; never reads outside.
absl::StatusOr<MessageView> ParseMessageRecord(std::string_view record);
// topic_id, queue, offset and store time may be zero: PlaceMessage() fills them in later.
std::string EncodeMessageRecord(const MessageView& message);
void PlaceMessage(std::string& record, uint32_t topic_id, int32_t queue, int64_t offset, int64_t store_time_ms);

inline constexpr size_t kDedupKeyBytes = 16;
// To a record of EncodeMessageRecord(), once.
void AddDedupKey(std::string& record, std::string_view key);
// Names a message group everywhere in the server, and chooses its queue. Never 0 for a name, 0 for "".
uint64_t MessageGroupHash(std::string_view message_group);

// Of the exact tag; never 0 for a non-empty tag.
uint32_t TagHash(std::string_view tag);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_MESSAGE_RECORD_H_
