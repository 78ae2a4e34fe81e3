#ifndef FULMAR_BROKER_MESSAGE_TTL_H_
#define FULMAR_BROKER_MESSAGE_TTL_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "services/broker/message_record.h"
#include "services/index/definitions.h"

namespace fulmar::broker {

// The user property by which a message says how long it may be delivered: a decimal number of milliseconds.
inline constexpr std::string_view kTtlProperty = "FULMAR_TTL_MS";

// Of a message to send. Error: IllegalMessagePropertyKey, unless it is a whole number from 1 to index::kMaxMessageTtl.
absl::Status CheckTtlProperty(std::string_view value);

// The value of one property of a stored message; views into `user`.
std::optional<std::string_view> FindUserProperty(std::string_view user, std::string_view key);

// A message expires as soon as the first of the two is over: its own TTL, and that of its topic. Both count from the time at which it
// came into its queue, which for a delayed one is when it became due. An expired message is passed over at delivery, as if the group had
// acknowledged it, and is never a dead letter; one that is in flight is not called back.
//
// The topic's part needs no body: a backlog of expired messages costs its index entries only.
bool ExpiredByTopic(const index::TopicDefinition& topic, int64_t visible_since_ms, int64_t now_ms);
bool ExpiredByItself(const MessageView& message, int64_t visible_since_ms, int64_t now_ms);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_MESSAGE_TTL_H_
