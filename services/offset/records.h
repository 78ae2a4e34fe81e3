#ifndef FULMAR_OFFSET_RECORDS_H_
#define FULMAR_OFFSET_RECORDS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/common/ids.h"
#include "services/index/definitions.h"
#include "services/index/progress.h"

// Bodies of the records of the offset service's log (drawn in docs/formats.md). Each says the whole new state of its object,
// so that applying one needs nothing that an older record said, and any prefix of the log may go once its objects have a
// newer record. Decode: DataLoss on damage.
namespace fulmar::offset {

// Grow with every change and are never taken back, whatever is deleted.
struct DefinitionCounters {
  uint32_t next_topic_id = 1;
  uint64_t version = 0;  // of the last change
  friend bool operator==(const DefinitionCounters&, const DefinitionCounters&) = default;
};

// That a definition is gone; kept so that a watcher who was away learns of it.
struct Deletion {
  enum class Kind : uint8_t { kTopic = 1, kGroup = 2 };
  Kind kind = Kind::kTopic;
  std::string name;
  uint32_t topic_id = 0;  // of a topic
  uint64_t version = 0;   // of the deletion
  friend bool operator==(const Deletion&, const Deletion&) = default;
};

// Bodies of the definition records: the counters as of this change, then the object.
struct TopicRecord { DefinitionCounters counters; index::TopicDefinition topic; };
struct GroupRecord { DefinitionCounters counters; index::GroupDefinition group; };
// `again`: compaction repeats it so that it is remembered; what it deleted is gone already, and what bears the name now is new.
struct DeletionRecord { DefinitionCounters counters; bool again = false; Deletion deletion; };
struct ClaimRecord { std::string shard; Term term; };
struct ProgressRecord { std::string shard; Term term; std::vector<index::QueueProgress> entries; };

std::string Encode(const DefinitionCounters& counters);
std::string Encode(const TopicRecord& record);
std::string Encode(const GroupRecord& record);
std::string Encode(const DeletionRecord& record);
std::string Encode(const ClaimRecord& record);
std::string Encode(const ProgressRecord& record);
std::string Encode(const Deletion& deletion);

absl::StatusOr<DefinitionCounters> DecodeCountersRecord(std::string_view bytes);
absl::StatusOr<TopicRecord> DecodeTopicRecord(std::string_view bytes);
absl::StatusOr<GroupRecord> DecodeGroupRecord(std::string_view bytes);
absl::StatusOr<DeletionRecord> DecodeDeletionRecord(std::string_view bytes);
absl::StatusOr<ClaimRecord> DecodeClaimRecord(std::string_view bytes);
absl::StatusOr<ProgressRecord> DecodeProgressRecord(std::string_view bytes);
absl::StatusOr<Deletion> DecodeDeletion(std::string_view bytes);

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_RECORDS_H_
