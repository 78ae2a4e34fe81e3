#ifndef FULMAR_BROKER_FOUND_MESSAGE_H_
#define FULMAR_BROKER_FOUND_MESSAGE_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "services/broker/filter.h"
#include "services/common/bytes.h"

namespace fulmar::broker {

// Numbers are those of fulmar.admin.v1.
enum class MessageStage : uint8_t {
  kInQueue = 1,     // whatever became of it there
  kTimer = 2,       // waits for its delivery time
  kHalf = 3,        // waits for its transaction's end
  kRecalled = 4,
  kRolledBack = 5,
  kTopicDeleted = 6,
};

// One stored message, as a look-up shows it. Looking changes nothing.
struct FoundMessage {
  common::SharedBytes record;     // ParseMessageRecord()
  MessageStage stage = MessageStage::kInQueue;
  int32_t queue = 0;              // kInQueue only, with offset
  int64_t offset = 0;
  int64_t store_time_ms = 0;      // when it came into its queue; of others: when it was sent
  std::optional<int64_t> due_ms;  // kTimer: delivery time; kHalf: next check
  int64_t held = 0;               // its number while it was (or still is) kTimer or kHalf; 0: never
};

// The order of a list by time, over all shards.
struct FindPlace {
  int64_t store_time_ms = 0;
  std::string shard;
  int32_t queue = 0;
  int64_t offset = 0;
  friend auto operator<=>(const FindPlace&, const FindPlace&) = default;
};

// One of: by message id (every copy; a client's retry may have stored two), by key (the newest first), by time alone (the oldest first).
struct FindCommand {
  std::string topic;
  std::string message_id, key;
  absl::Time from = absl::InfinitePast();  // store time of what is in queues; with a message id not asked
  absl::Time to = absl::InfiniteFuture();  // excluded
  Filter filter;
  int32_t max_messages = 32;
  uint64_t max_bytes = 8 << 20;            // an answer ends with the message that reaches it
  std::optional<FindPlace> after;          // a list by time goes on behind this place
};
struct FindOutcome {
  std::vector<FoundMessage> messages;
  bool more = false;                 // there may be others
  std::optional<FindPlace> reached;  // of a list by time: with `more`, the next page begins behind it
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_FOUND_MESSAGE_H_
