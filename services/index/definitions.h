#ifndef FULMAR_INDEX_DEFINITIONS_H_
#define FULMAR_INDEX_DEFINITIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/log/record.h"

namespace fulmar::index {

// Numbers are stored. kMixed takes normal, fifo, delay and transaction messages.
enum class TopicType : uint8_t { kNormal = 1, kFifo = 2, kDelay = 3, kTransaction = 4, kPriority = 6, kMixed = 100 };

// What may pass in a second, on each shard; 0: no bound of its own (the shard's options give the defaults).
struct RateQuota {
  uint64_t messages = 0, bytes = 0;
  friend bool operator==(const RateQuota&, const RateQuota&) = default;
};

// A topic as its authority, the offset service, defines it. Shards keep copies in their logs.
// Names are whole: "namespace%name" when a client uses a namespace, else "name".
struct TopicDefinition {
  std::string name;
  uint32_t topic_id = 0;     // never reused, so a topic made again after its deletion shares nothing with the old one
  uint64_t version = 0;      // grows with every change of any definition
  TopicType type = TopicType::kNormal;
  int32_t queues = 4;        // per shard, ids 0 .. queues-1
  log::Durability durability = log::Durability::kSync;
  std::vector<std::string> shards;  // that hold it, in order
  absl::Time created;
  // Since format 2.
  absl::Duration message_ttl;   // a message older than this is not delivered any more; 0: it does not expire
  absl::Duration dedup_window;  // in which a repeat of a message is stored once; 0: every send is stored
  RateQuota quota;              // of sends
  friend bool operator==(const TopicDefinition&, const TopicDefinition&) = default;
};

// kByTopic: nobody said; message groups of FIFO and mixed topics come in order. kConcurrent: in no topic. kFifo: wherever there are some.
enum class DeliveryOrder : uint8_t { kConcurrent = 1, kFifo = 2, kByTopic = 3 };
enum class StartFrom : uint8_t { kEarliest = 1, kLatest = 2 };
// kClustering: the members share the messages; kBroadcast: every client id gets all of them, with progress of its own.
enum class ConsumeMode : uint8_t { kClustering = 1, kBroadcast = 2 };

// Delay before the next delivery after `attempt` failed: attempt 1 takes delays[0], the last one repeats.
struct RetryPolicy {
  int32_t max_attempts = 17;
  std::vector<absl::Duration> delays;  // empty: the default list (1s 5s 10s 30s 1m .. 10m 20m 30m 1h 2h)
  friend bool operator==(const RetryPolicy&, const RetryPolicy&) = default;
};
const std::vector<absl::Duration>& DefaultRetryDelays();

struct GroupDefinition {
  std::string name;
  uint64_t version = 0;
  DeliveryOrder order = DeliveryOrder::kByTopic;
  StartFrom from = StartFrom::kEarliest;
  RetryPolicy retry;
  absl::Time created;
  // Since format 2.
  bool suspended = false;       // nothing is delivered; what is in flight can be acknowledged
  ConsumeMode mode = ConsumeMode::kClustering;
  RateQuota quota;              // of deliveries
  friend bool operator==(const GroupDefinition&, const GroupDefinition&) = default;
};
// Whether the group gets the message groups of the topic in order.
bool InOrder(const GroupDefinition& group, const TopicDefinition& topic);

// Bytes as stored in logs and indexes (versioned, little-endian; drawn in docs/formats.md). Decode: DataLoss on damage.
std::string Encode(const TopicDefinition& topic);
std::string Encode(const GroupDefinition& group);
absl::StatusOr<TopicDefinition> DecodeTopic(std::string_view bytes);
absl::StatusOr<GroupDefinition> DecodeGroup(std::string_view bytes);

// Rules of names (1..127 / 1..120 characters of [%|a-zA-Z0-9_-], no system names; %DLQ%<group> and %RETRY%<group> up to 255);
// the error is the v2 one.
absl::Status CheckTopicName(std::string_view name);
absl::Status CheckGroupName(std::string_view name);
inline constexpr std::string_view kDeadLetterPrefix = "%DLQ%";
std::string DeadLetterTopicOf(std::string_view group);

// Bounds of what a definition may say, checked by the definition store before anything is written.
inline constexpr int32_t kMaxQueues = 4096;          // per topic and shard
inline constexpr int32_t kPriorityLevels = 10;       // queues of a priority topic, unless its maker wants another number: 0 .. 9
inline constexpr int32_t kMaxAttempts = 10000;
inline constexpr size_t kMaxRetryDelays = 64;
inline constexpr absl::Duration kMaxRetryDelay = absl::Hours(24);
inline constexpr absl::Duration kMinMessageTtl = absl::Milliseconds(1), kMaxMessageTtl = absl::Hours(24 * 3660);
inline constexpr absl::Duration kMinDedupWindow = absl::Seconds(1), kMaxDedupWindow = absl::Hours(24 * 7);
inline constexpr uint64_t kMaxQuota = uint64_t{1} << 53;
inline constexpr size_t kMaxShardName = 127;
absl::Status CheckTopic(const TopicDefinition& topic);
absl::Status CheckGroup(const GroupDefinition& group);
absl::Status CheckShardName(std::string_view name);  // 1..127 characters of [a-zA-Z0-9_.-]

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_DEFINITIONS_H_
