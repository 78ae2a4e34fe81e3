#include "services/broker/message_ttl.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "services/common/errors.h"

namespace fulmar::broker {
namespace {

const int64_t kMaxTtlMs = absl::ToInt64Milliseconds(index::kMaxMessageTtl);

std::optional<int64_t> ParseTtl(std::string_view value) {
  int64_t ms = 0;
  if (value.empty() || !absl::ascii_isdigit(static_cast<unsigned char>(value.front())) || !absl::SimpleAtoi(value, &ms) || ms < 1 ||
      ms > kMaxTtlMs) {
    return std::nullopt;
  }
  return ms;
}

// Reads what wire_writer.h wrote; on anything else it ends.
bool TakeLength(std::string_view& bytes, size_t& length) {
  length = 0;
  for (int shift = 0; shift < 35 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    length |= static_cast<size_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return length <= bytes.size();
  }
  return false;
}
bool TakeField(std::string_view& bytes, char tag, std::string_view& field) {
  if (bytes.empty() || bytes.front() != tag) return false;
  bytes.remove_prefix(1);
  size_t length = 0;
  if (!TakeLength(bytes, length)) return false;
  field = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return true;
}

}  // namespace

absl::Status CheckTtlProperty(std::string_view value) {
  if (ParseTtl(value)) return absl::OkStatus();
  return errors::IllegalMessagePropertyKey(
      absl::StrCat("the property ", kTtlProperty, " must be a whole number of milliseconds from 1 to ", kMaxTtlMs));
}

std::optional<std::string_view> FindUserProperty(std::string_view user, std::string_view key) {
  if (user.find(key) == user.npos) return std::nullopt;  // nearly always
  std::string_view entry;
  while (TakeField(user, '\x12', entry)) {
    std::string_view its_key, value;
    if (!TakeField(entry, '\x0a', its_key)) continue;
    if (its_key == key) {
      TakeField(entry, '\x12', value);
      return value;
    }
  }
  return std::nullopt;
}

bool ExpiredByTopic(const index::TopicDefinition& topic, int64_t visible_since_ms, int64_t now_ms) {
  return topic.message_ttl > absl::ZeroDuration() && now_ms - visible_since_ms >= absl::ToInt64Milliseconds(topic.message_ttl);
}

bool ExpiredByItself(const MessageView& message, int64_t visible_since_ms, int64_t now_ms) {
  const std::optional<std::string_view> text = FindUserProperty(message.user, kTtlProperty);
  if (!text) return false;
  const std::optional<int64_t> ttl_ms = ParseTtl(*text);
  return ttl_ms && now_ms - visible_since_ms >= *ttl_ms;
}

}  // namespace fulmar::broker
