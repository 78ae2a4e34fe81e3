#ifndef FULMAR_BROKER_SHARD_STATE_H_
#define FULMAR_BROKER_SHARD_STATE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/broker/dedup_index.h"
#include "services/broker/message_record.h"
#include "services/broker/held_messages.h"
#include "services/broker/receipt_handle.h"
#include "services/broker/recent_entries.h"
#include "services/common/ids.h"
#include "services/index/definitions.h"
#include "services/index/key_index.h"
#include "services/index/keys.h"
#include "services/index/kv_store.h"
#include "services/index/progress.h"
#include "services/index/queue_index.h"
#include "services/log/replicated_log.h"

namespace fulmar::broker {

struct Queue {
  index::QueueId id;
  index::QueueCounters counters;  // applied: everything below `next` is durable, committed and may be delivered
  int64_t projected = 0;          // leader only: next offset to be given to a new message
  LogPosition newest_record;      // of its last message or counters record
  bool stored = false;            // it has a row in the index
  bool has_groups = false;        // some of its entries have a message group
  RecentEntries recent;
  int64_t recent_seen = 0;        // counters.next when the ring was last looked at for idleness
};

struct Topic {
  index::TopicDefinition definition;
  LogPosition copy;               // of the newest record that says it
  bool deleting = false;          // leader only: its deletion is on the way through the log
  std::vector<Queue*> queues;     // ids 0, 1, ...
  uint32_t next_queue = 0;        // round robin of sends
  uint64_t messages_in = 0, bytes_in = 0;
};

struct Group {
  index::GroupDefinition definition;
  LogPosition copy;
  bool deleting = false;
};

// What one Apply() changed, for those who wait.
struct Changes {
  std::vector<Queue*> grown;                                       // more can be delivered
  std::vector<std::string> topics, groups;                         // copies made or changed
  std::vector<std::pair<std::string, uint32_t>> deleted_topics;    // name, id
  std::vector<std::string> deleted_groups;
  bool handle_key = false;
  std::vector<std::pair<HeldLine, HeldDue>> held;                  // came to wait, or wait for another time
  void Clear() { *this = Changes(); }
};

// What the log of a shard says, as every replica holds it: definitions, queue counters, keys, and the index. Changed only by Apply()
// (from the log) and Trim() (retention), so that equal logs give equal indexes, byte by byte.
// Owns: nothing on disk. Borrows: the store. Threads: the shard.
class ShardState {
 public:
  explicit ShardState(index::KvStore& kv) : kv_(kv), index_(kv), dedup_(kv), held_(kv), keys_of_messages_(kv) {}

  // What the store holds. Errors: DataLoss (a damaged value), FailedPrecondition (another format): the caller says how to rebuild.
  absl::Status Load();
  // Applies one entry and writes it to the index, with the applied point, in one batch. Nothing, once there is damage().
  // A record that cannot be decoded is our bug or damage that its checksum missed: the process stops, naming it.
  void Apply(const log::AppliedEntry& entry, Changes& changes);
  // The segments below `begin` are gone, or about to: forgets the index entries of their messages, moves the minimum offsets up and
  // drops logged progress that was not written again. `on_moved` is called for each queue whose minimum moved.
  // In steps of at most `max` queues or logged copies, so that the shard is not held for long; `at` begins new, and says where the next
  // one goes on. True: all is done. DataLoss: the index is damaged, see damage().
  struct TrimPlace {
    bool queues_done = false;
    index::QueueId queue;
    std::pair<std::string, index::QueueId> progress;
  };
  absl::StatusOr<bool> Trim(LogPosition begin, TrimPlace& at, size_t max, absl::FunctionRef<void(Queue&)> on_moved);
  // Not OK: the index holds what the log cannot have told it. From then on nothing is applied and nothing written, for it would only make
  // the index worse; a new one, made from the log, is right again. The first reason stays.
  const absl::Status& damage() const { return damage_.ok() ? held_.damage() : damage_; }
  void ReportDamage(const absl::Status& why) { damage_.Update(why); }

  Topic* FindTopic(std::string_view name);
  Topic* FindTopic(uint32_t topic_id);
  Group* FindGroup(std::string_view name);
  // The newest first; null until the first leader made one.
  const HandleKey* newest_key() const { return keys_.empty() ? nullptr : &keys_.rbegin()->second.key; }
  const HandleKey* FindKey(uint8_t id) const;

  const absl::btree_map<std::string, std::unique_ptr<Topic>>& topics() const { return topics_; }
  const absl::btree_map<std::string, std::unique_ptr<Group>>& groups() const { return groups_; }
  int64_t queues() const { return static_cast<int64_t>(queues_.size()); }
  uint64_t definitions_version() const { return definitions_version_; }
  const index::QueueIndex& index() const { return index_; }
  const HeldMessages& held() const { return held_; }
  const DedupIndex& dedup() const { return dedup_; }
  // Removes a slice of the entries whose window is over. Not said by the log: until all are gone, equal logs may differ in them.
  void ExpireDedup(size_t slice, int64_t now_ms);
  const log::AppliedPoint& applied() const { return applied_; }

  // Progress that a leader wrote into the log because the offset service was away.
  struct LoggedProgress {
    uint64_t sequence = 0;
    LogPosition position;
  };
  using ProgressId = std::pair<std::string, index::QueueId>;
  const absl::btree_map<ProgressId, LoggedProgress>& logged_progress() const { return logged_progress_; }
  absl::StatusOr<index::QueueProgress> ReadLoggedProgress(const ProgressId& id) const;

  // Records that say again everything whose newest record lies below `position`; in the order in which they must be appended.
  // `is_stored`: the offset service has this progress (or newer), so it need not be kept.
  // At most `max`: more may be needed.
  std::vector<std::pair<log::RecordType, std::string>> SnapshotsBelow(
      LogPosition position, size_t max, absl::FunctionRef<bool(const ProgressId&, uint64_t sequence)> is_stored) const;

  // The leader starts to give offsets.
  void ResetProjections();
  // Those from `offset` on were given and not used.
  void TakeBack(index::QueueId queue, int64_t offset);
  // Frees the rings of queues that nobody wrote to since the last call.
  void DropIdleRings();

 private:
  struct KeyCopy {
    HandleKey key;
    LogPosition copy;
  };
  Queue& EnsureQueue(index::QueueId id);
  void AttachQueues(Topic& topic);
  void ApplyMessage(const log::AppliedRecord& record, Changes& changes);
  void ApplyHeldMessage(const log::AppliedRecord& record, Changes& changes);
  void ApplyHeldReleased(const log::AppliedRecord& record, Changes& changes);
  void ApplyHeldUpdated(const log::AppliedRecord& record, Changes& changes);
  // The next message of a queue has its place.
  void AddEntry(index::QueueId id, const index::QueueEntry& entry, Changes& changes);
  // Forgets the entries up to counters.min, some at a time.
  void TrimEntries(const Queue& queue, int64_t from);
  void ApplyTopic(const log::AppliedRecord& record, Changes& changes);
  void RemoveQueues(uint32_t topic_id, Changes& changes);
  void RemoveTopic(absl::btree_map<std::string, std::unique_ptr<Topic>>::iterator topic, Changes& changes);
  void ApplyTopicDeleted(const log::AppliedRecord& record, Changes& changes);
  void ApplyGroup(const log::AppliedRecord& record, Changes& changes);
  void ApplyGroupDeleted(const log::AppliedRecord& record, Changes& changes);
  void ApplyHandleKey(const log::AppliedRecord& record, Changes& changes);
  void ApplyCounters(const log::AppliedRecord& record);
  void ApplyProgress(const log::AppliedRecord& record);
  void ApplyDedupKey(const MessageView& message, LogPosition position);
  void ApplyDedupEntries(const log::AppliedRecord& record);
  void AddDedupSnapshots(LogPosition position, std::vector<std::pair<log::RecordType, std::string>>& records) const;
  bool InDedupWindow(const DedupEntry& entry, int64_t now_ms) const;

  index::KvStore& kv_;
  index::QueueIndex index_;
  DedupIndex dedup_;
  int64_t newest_store_ms_ = 0;                                    // of the messages applied by this process
  absl::flat_hash_set<std::pair<uint32_t, DedupKey>> new_dedup_;  // of the entry that is being applied
  HeldMessages held_;
  index::KeyIndex keys_of_messages_;  // lookup_keys.h
  log::AppliedPoint applied_;
  absl::btree_map<std::string, std::unique_ptr<Topic>> topics_;
  absl::btree_map<uint32_t, Topic*> topics_by_id_;
  absl::btree_map<std::string, std::unique_ptr<Group>> groups_;
  absl::btree_map<index::QueueId, std::unique_ptr<Queue>> queues_;
  absl::btree_map<uint8_t, KeyCopy> keys_;
  absl::btree_map<ProgressId, LoggedProgress> logged_progress_;
  uint64_t definitions_version_ = 0;
  Queue* last_queue_ = nullptr;   // of ApplyMessage: runs of one queue are common
  std::vector<Queue*> touched_;   // by the entry that is being applied; each once
  index::KvBatch batch_;
  absl::Status damage_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SHARD_STATE_H_
