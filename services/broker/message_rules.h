#ifndef FULMAR_BROKER_MESSAGE_RULES_H_
#define FULMAR_BROKER_MESSAGE_RULES_H_

#include <string_view>

#include "absl/status/status.h"

namespace fulmar::broker {

// U+0000..U+001F and U+007F..U+009F in valid UTF-8.
bool HasControlCharacter(std::string_view text);
// Only white space, or nothing.
bool IsBlank(std::string_view text);
// Names of properties that the reference keeps for itself, and clients of other protocols rely on.
bool IsReservedPropertyKey(std::string_view key);

// Rules for one part of a message to send; the error is the v2 one. An empty tag, key or group counts as not given.
absl::Status CheckTag(std::string_view tag);
absl::Status CheckKey(std::string_view key);
absl::Status CheckMessageGroup(std::string_view group, size_t max_bytes);
absl::Status CheckProperty(std::string_view key, std::string_view value);
absl::Status CheckMessageId(std::string_view id, size_t max_bytes);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_MESSAGE_RULES_H_
