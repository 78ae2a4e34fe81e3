#ifndef FULMAR_OFFSET_OFFSET_STATE_H_
#define FULMAR_OFFSET_OFFSET_STATE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/ids.h"
#include "services/index/kv_store.h"
#include "services/index/ports.h"
#include "services/log/replicated_log.h"
#include "services/offset/ledger_records.h"
#include "services/offset/records.h"

namespace fulmar::offset {

// What the offset service's log says: definitions and claims in memory and in the index, progress and the ledger in the index alone.
// A pure function of the log: the same records give the same memory and the same bytes in the index, also when the log has
// lost a prefix whose live state was appended again behind it.
// Borrows: the store. Threads: the shard executor.
class OffsetState {
 public:
  template <class T>
  struct Held {
    T value;
    LogPosition position;  // of the newest record that says it
  };

  // `max_deletions` newest deletions are remembered for watchers.
  OffsetState(index::KvStore& kv, size_t max_deletions) : kv_(kv), max_deletions_(max_deletions), ledger_(kv) {}

  // Reads what the index holds. DataLoss: it is damaged; rebuild it.
  absl::Status Load();

  // Applies one entry; calls `publish` for each change of a definition, in order, after the index has the entry.
  // A record that cannot be read is our bug or damage that every checksum missed: DataLoss, and nothing more may be applied.
  absl::Status Apply(const log::AppliedEntry& entry, const std::function<void(const index::DefinitionEvent&)>& publish);

  const index::TopicDefinition* FindTopic(std::string_view name) const;
  const index::GroupDefinition* FindGroup(std::string_view name) const;
  bool HasTopicId(uint32_t topic_id) const { return topic_names_.contains(topic_id); }
  std::vector<index::TopicDefinition> Topics() const;
  std::vector<index::GroupDefinition> Groups() const;
  // Every definition and the deletions above `since_version`, by version.
  std::vector<index::DefinitionEvent> Events(uint64_t since_version) const;
  const DefinitionCounters& counters() const { return counters_.value; }

  std::optional<Term> ClaimOf(std::string_view shard) const;
  std::vector<std::string> Shards() const;  // that were ever claimed
  absl::StatusOr<std::vector<index::QueueProgress>> ReadProgress(std::string_view shard) const;

  struct Sizes {
    size_t topics = 0, groups = 0, shards = 0, deletions = 0;
  };
  Sizes GetSizes() const { return {topics_.size(), groups_.size(), claims_.size(), deletions_.size()}; }

 private:
  using Publish = std::function<void(const index::DefinitionEvent&)>;

  absl::Status ApplyRecord(const log::AppliedRecord& record);
  void ApplyTopic(TopicRecord record, LogPosition position);
  void ApplyGroup(GroupRecord record, LogPosition position);
  void ApplyDeletion(DeletionRecord record, LogPosition position);
  void DeleteTopic(const Deletion& deletion);
  void DeleteGroup(const Deletion& deletion);
  void ApplyClaim(const ClaimRecord& record, LogPosition position);
  void ApplyProgress(const ProgressRecord& record, LogPosition position);
  void RaiseCounters(const DefinitionCounters& counters, LogPosition position, bool snapshot);
  void ForgetOldDeletions();
  // The shards of which there is progress, whether or not their claim is known yet (a claim may have been appended again
  // behind the progress).
  std::vector<std::string> ShardsWithProgress() const;
  void RemoveProgressOfGroup(std::string_view group);
  void RemoveProgressOfTopic(uint32_t topic_id);
  void WriteBatch();
  absl::Status LoadOne(std::string_view key, std::string_view value);

  index::KvStore& kv_;
  const size_t max_deletions_;
  LedgerApply ledger_;
  index::KvBatch batch_;                           // of the entry that is being applied
  std::vector<index::DefinitionEvent> events_;     // of that entry
  Held<DefinitionCounters> counters_;
  absl::btree_map<std::string, Held<index::TopicDefinition>> topics_;
  absl::btree_map<uint32_t, std::string> topic_names_;
  absl::btree_map<std::string, Held<index::GroupDefinition>> groups_;
  absl::btree_map<uint64_t, Held<Deletion>> deletions_;  // by version
  absl::btree_map<std::string, Held<Term>> claims_;
};

index::DefinitionEvent EventOf(const index::TopicDefinition& topic);
index::DefinitionEvent EventOf(const index::GroupDefinition& group);
index::DefinitionEvent EventOf(const Deletion& deletion);
uint64_t VersionOf(const index::DefinitionEvent& event);

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_OFFSET_STATE_H_
