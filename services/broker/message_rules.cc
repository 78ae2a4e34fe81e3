#include "services/broker/message_rules.h"

#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "services/broker/message_ttl.h"
#include "services/common/errors.h"

namespace fulmar::broker {

bool HasControlCharacter(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    // U+0080..U+009F is C2 80..9F.
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<uint8_t>(text[i + 1]) < 0xa0) return true;
  }
  return false;
}

bool IsBlank(std::string_view text) { return absl::StripAsciiWhitespace(text).empty(); }

bool IsReservedPropertyKey(std::string_view key) {
  static const auto& reserved = *new absl::flat_hash_set<std::string_view>{
      "TRACE_ON", "MSG_REGION", "KEYS", "TAGS", "WAIT", "DELAY", "RETRY_TOPIC", "REAL_TOPIC", "REAL_QID", "TRAN_MSG", "PGROUP",
      "MIN_OFFSET", "MAX_OFFSET", "BUYER_ID", "ORIGIN_MESSAGE_ID", "TRANSFER_FLAG", "CORRECTION_FLAG", "MQ2_FLAG", "RECONSUME_TIME",
      "UNIQ_KEY", "MAX_RECONSUME_TIMES", "CONSUME_START_TIME", "POP_CK", "POP_CK_OFFSET", "1ST_POP_TIME", "TRAN_PREPARED_QUEUE_OFFSET",
      "DUP_INFO", "EXTEND_UNIQ_INFO", "INSTANCE_ID", "CORRELATION_ID", "REPLY_TO_CLIENT", "TTL", "ARRIVE_TIME", "PUSH_REPLY_TIME",
      "CLUSTER", "MSG_TYPE", "INNER_MULTI_QUEUE_OFFSET", "TIMER_DELAY_MS", "TIMER_DELAY_SEC", "TIMER_DELIVER_MS", "TIMER_ENQUEUE_MS",
      "TIMER_DEQUEUE_MS", "TIMER_ROLL_TIMES", "TIMER_OUT_MS", "TIMER_DEL_UNIQKEY", "TIMER_DELAY_LEVEL", "__BORNHOST", "BORN_TIMESTAMP",
      "DLQ_ORIGIN_TOPIC", "DLQ_ORIGIN_MESSAGE_ID", "__CRC32#"};
  return reserved.contains(key);
}

absl::Status CheckTag(std::string_view tag) {
  if (tag.empty()) return absl::OkStatus();
  if (IsBlank(tag)) return errors::IllegalMessageTag("the tag has only white space");
  if (tag.find('|') != tag.npos) return errors::IllegalMessageTag("the tag contains '|', which joins tags in filters");
  if (HasControlCharacter(tag)) return errors::IllegalMessageTag("the tag contains a control character");
  return absl::OkStatus();
}

absl::Status CheckKey(std::string_view key) {
  if (key.empty()) return absl::OkStatus();
  if (IsBlank(key)) return errors::IllegalMessageKey("a key has only white space");
  if (HasControlCharacter(key)) return errors::IllegalMessageKey("a key contains a control character");
  return absl::OkStatus();
}

absl::Status CheckMessageGroup(std::string_view group, size_t max_bytes) {
  if (group.empty()) return absl::OkStatus();
  if (IsBlank(group)) return errors::IllegalMessageGroup("the message group has only white space");
  if (group.size() > max_bytes)
    return errors::IllegalMessageGroup(absl::StrCat("the message group has ", group.size(), " bytes, at most ", max_bytes, " are allowed"));
  if (HasControlCharacter(group)) return errors::IllegalMessageGroup("the message group contains a control character");
  return absl::OkStatus();
}

absl::Status CheckProperty(std::string_view key, std::string_view value) {
  if (IsReservedPropertyKey(key)) return errors::IllegalMessagePropertyKey(absl::StrCat("the property key '", key, "' is reserved"));
  if (HasControlCharacter(key)) return errors::IllegalMessagePropertyKey("a property key contains a control character");
  if (HasControlCharacter(value)) return errors::IllegalMessagePropertyKey(absl::StrCat("the value of property '", key, "' contains a control character"));
  if (key == kTtlProperty) return CheckTtlProperty(value);
  return absl::OkStatus();
}

absl::Status CheckMessageId(std::string_view id, size_t max_bytes) {
  if (IsBlank(id)) return errors::IllegalMessageId("the message id is missing");
  if (id.size() > max_bytes)
    return errors::IllegalMessageId(absl::StrCat("the message id has ", id.size(), " bytes, at most ", max_bytes, " are allowed"));
  return absl::OkStatus();
}

}  // namespace fulmar::broker
