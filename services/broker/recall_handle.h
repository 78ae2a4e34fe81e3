#ifndef FULMAR_BROKER_RECALL_HANDLE_H_
#define FULMAR_BROKER_RECALL_HANDLE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "services/broker/held_records.h"
#include "services/broker/receipt_handle.h"

namespace fulmar::broker {

// What a producer gets for a message that is held, and gives back to end it: the recall handle of a delayed message, the transaction id of
// a half message. Text: URL-safe base64 without padding of
//
//   u8 version=2 | u8 key id | u8 shard bytes | shard | u8 kind | i64 id | message id | 16 bytes tag
//
// little-endian. The tag is SipHash-2-4-128 with the key of receipt handles, over everything before it and over the topic's name. The version
// differs from that of receipt handles, so that none can stand for the other. A front door reads only the shard.
struct RecallHandle {
  std::string shard;
  HeldKind kind = HeldKind::kTimed;
  int64_t id = 0;
  std::string message_id;
};

std::string EncodeRecallHandle(const RecallHandle& handle, const HandleKey& key, std::string_view topic);

// Nothing for whatever EncodeRecallHandle() cannot have made. The tag is not looked at.
struct ParsedRecallHandle {
  RecallHandle handle;
  uint8_t key_id = 0;
  std::string covered, tag;
};
std::optional<ParsedRecallHandle> ParseRecallHandle(std::string_view text);
bool VerifyRecallHandle(const ParsedRecallHandle& parsed, const HandleKey& key, std::string_view topic);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_RECALL_HANDLE_H_
