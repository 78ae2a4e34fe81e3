#ifndef FULMAR_BROKER_RECORDS_H_
#define FULMAR_BROKER_RECORDS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/broker/receipt_handle.h"
#include "services/index/definitions.h"
#include "services/index/keys.h"
#include "services/index/progress.h"

// Bodies of the records of a shard's log, except kMessage (message_record.h). Each begins with a version byte, 1 today; numbers are
// little-endian, a string is its length as varint and its bytes (index/codec.h). Decoding gives DataLoss on damage.
//
//   kTopicCopy      version | TopicDefinition (index/definitions.h)
//   kTopicDeleted   version | topic_id u32 | definition version u64 | name string
//   kGroupCopy      version | GroupDefinition
//   kGroupDeleted   version | definition version u64 | name string
//   kHandleKey      version | key id u8 | 16 bytes
//   kQueueCounters  version | topic_id u32 | queue u32 | next i64 | min i64
//   kProgressBatch  version | count varint | QueueProgress strings
namespace fulmar::broker {

std::string EncodeTopicCopy(const index::TopicDefinition& topic);
absl::StatusOr<index::TopicDefinition> DecodeTopicCopy(std::string_view body);

struct TopicDeleted {
  uint32_t topic_id = 0;
  uint64_t version = 0;
  std::string name;
};
std::string EncodeTopicDeleted(const TopicDeleted& deleted);
absl::StatusOr<TopicDeleted> DecodeTopicDeleted(std::string_view body);

std::string EncodeGroupCopy(const index::GroupDefinition& group);
absl::StatusOr<index::GroupDefinition> DecodeGroupCopy(std::string_view body);

struct GroupDeleted {
  uint64_t version = 0;
  std::string name;
};
std::string EncodeGroupDeleted(const GroupDeleted& deleted);
absl::StatusOr<GroupDeleted> DecodeGroupDeleted(std::string_view body);

std::string EncodeHandleKey(const HandleKey& key);
absl::StatusOr<HandleKey> DecodeHandleKey(std::string_view body);

struct CountersRecord {
  index::QueueId queue;
  index::QueueCounters counters;
};
std::string EncodeCountersRecord(const CountersRecord& record);
absl::StatusOr<CountersRecord> DecodeCountersRecord(std::string_view body);

// Entries as index::Encode(QueueProgress) made them.
std::string EncodeProgressBatch(const std::vector<std::string>& entries);
absl::StatusOr<std::vector<std::string_view>> DecodeProgressBatch(std::string_view body);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_RECORDS_H_
