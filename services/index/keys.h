#ifndef FULMAR_INDEX_KEYS_H_
#define FULMAR_INDEX_KEYS_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "services/common/ids.h"
#include "services/index/kv_store.h"
#include "services/log/replicated_log.h"

// Every key of an index. The first byte says what it is; numbers in keys are big-endian, so that byte order is number order;
// numbers in values are little-endian. A name in a key ends with a zero byte, which no name holds.
//
//   bytes of the key                                          value
//   'a'                                                       applied point: index u64 | term u64 | position u64
//   'f'                                                       format: u32, kIndexFormat
//   'q' topic_id u32 | queue u32 | offset u64                 queue entry: position u64 | length u32 | tag hash u32 | store time i64 ms
//                                                             | id i64, only of a message that was held: its body lies where 'w' 'i' says
//                                                             | group u64, only with a message group; then the id (or 0) is there, too
//   'o' topic_id u32 | queue u32 | group u64 | offset u64     nothing; the messages of one message group in the order of the queue
//   'c' topic_id u32 | queue u32                              stored: next offset i64 | minimum offset i64
//   't' name                                                  stored: TopicDefinition
//   'g' name                                                  stored: GroupDefinition
//   'h' key id u32                                            stored: key of receipt handles
//   'p' group 0 topic_id u32 | queue u32                      stored: QueueProgress (a broker shard's copy while the offset service is away)
//   'm' ...                                                   message ids and keys, to look messages up; see index/key_index.h
//   held messages (timers, half messages), a broker shard only; see broker/held_messages.h:
//   'w' 'i' id u64                                            state of one held message
//   'w' 't' | 'h' | 'p'  due i64 ms | id u64                  nothing; timers, half messages, parked half messages, in the order of their time
//   'w' 'b' position u64                                      id i64: whose body lies there
//   'w' 'd' position u64                                      id i64: who ended (was released or dropped) by the record there
//   'w' 'n'                                                   counts and bytes of what waits
//   'd' ...                                                   messages inside dedup windows, a broker shard only; see broker/dedup_index.h
//   offset service only:
//   'k' shard                                                 stored: term i64 (the claim)
//   'n'                                                       stored: next topic id u32 | last definition version u64
//   'x' version u64                                           stored: a deletion (offset/records.h)
//   'P' shard 0 group 0 topic_id u32 | queue u32              stored: QueueProgress
//   'L' group 0 key                                           stored: an entry of the ledger (offset/ledger_records.h)
//   'E' expires i64 ms | group 0 key                          stored: nothing; the ledger's entries in the order of their end
//
// A *stored* value begins with the position (u64) of the newest log record that says it: before the segment that holds that
// position is removed, the value is appended again at the head of the log.
namespace fulmar::index {

inline constexpr uint32_t kIndexFormat = 1;

// One queue of one topic; topic ids are never reused, so a queue's number space belongs to one life of its topic.
struct QueueId {
  uint32_t topic_id = 0;
  int32_t queue = 0;
  friend auto operator<=>(const QueueId&, const QueueId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const QueueId& id) { return H::combine(std::move(h), id.topic_id, id.queue); }
};

inline constexpr std::string_view kAppliedKey = "a";
inline constexpr std::string_view kFormatKey = "f";
inline constexpr std::string_view kDefinitionCountersKey = "n";
inline constexpr char kQueueEntryKind = 'q';
inline constexpr size_t kQueueEntryPrefixBytes = 9;  // up to the offset
inline constexpr size_t kQueueEntryKeyBytes = 17;
inline constexpr size_t kQueueEntryBytes = 24;  // 32 with the id of a held message, 40 with a message group

std::string QueueEntryKey(QueueId queue, int64_t offset);
std::string MessageGroupKey(QueueId queue, uint64_t group, int64_t offset);
std::string QueueCountersKey(QueueId queue);
std::string TopicKey(std::string_view name);
std::string GroupKey(std::string_view name);
std::string HandleKeyKey(uint32_t key_id);
std::string ProgressKey(std::string_view group, QueueId queue);
std::string ClaimKey(std::string_view shard);
std::string DeletionKey(uint64_t version);
std::string ShardProgressKey(std::string_view shard, std::string_view group, QueueId queue);
std::string ShardProgressPrefix(std::string_view shard);
std::string ShardGroupProgressPrefix(std::string_view shard, std::string_view group);

// First key behind every key that begins with `prefix` ("" when there is none): Scan(prefix, PrefixEnd(prefix)).
std::string PrefixEnd(std::string_view prefix);

std::optional<QueueId> ParseQueueCountersKey(std::string_view key);
// The name behind the kind byte of topic, group and claim keys.
inline std::string_view NameOfKey(std::string_view key) { return key.substr(1); }

std::string EncodeApplied(const log::AppliedPoint& point);
absl::StatusOr<log::AppliedPoint> DecodeApplied(std::string_view bytes);
// The applied point that Get (GetDurable) knows; zero when there is none or it is damaged: everything is applied again.
log::AppliedPoint ReadApplied(const KvStore& kv);
log::AppliedPoint ReadDurableApplied(const KvStore& kv);
// Every batch that applies an entry ends with this.
void PutApplied(KvBatch& batch, const log::AppliedPoint& point);

// OK for an empty store (which is stamped) and one of this format. FailedPrecondition: of another format; the caller
// removes it and lets the log fill a new one.
absl::Status CheckIndexFormat(KvStore& kv);

std::string EncodeStored(LogPosition position, std::string_view body);
struct Stored {
  LogPosition position;
  std::string_view body;  // of the bytes given
};
absl::StatusOr<Stored> DecodeStored(std::string_view bytes);

// Next offset to be given and first one that still exists.
struct QueueCounters {
  int64_t next = 0, min = 0;
  friend bool operator==(const QueueCounters&, const QueueCounters&) = default;
};
std::string EncodeCounters(const QueueCounters& counters);
absl::StatusOr<QueueCounters> DecodeCounters(std::string_view bytes);

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_KEYS_H_
