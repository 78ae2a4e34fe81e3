#include "services/broker/shard_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "services/broker/lookup_keys.h"
#include "services/broker/message_record.h"
#include "services/broker/records.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

// A record passed its checksum and was written by us: if it cannot be read, going on would only make the index wrong.
template <class T>
T MustDecode(absl::StatusOr<T> decoded, const log::AppliedRecord& record) {
  FULMAR_CHECK(decoded.ok(), absl::StrCat("record at position ", record.position.value, ": ", decoded.status().message()));
  return *std::move(decoded);
}

}  // namespace

absl::Status ShardState::Load() {
  FULMAR_RETURN_IF_ERROR(index::CheckIndexFormat(kv_));
  applied_ = index::ReadApplied(kv_);
  FULMAR_RETURN_IF_ERROR(held_.Load());
  FULMAR_RETURN_IF_ERROR(keys_of_messages_.Load());
  FULMAR_ASSIGN_OR_RETURN(const auto counters, index_.ReadAllCounters());
  for (const auto& [id, stored] : counters) {
    Queue& queue = EnsureQueue(id);
    queue.counters = stored.counters;
    queue.newest_record = stored.newest_record;
    queue.stored = true;
  }
  for (const index::QueueId& id : index_.QueuesWithGroups()) EnsureQueue(id).has_groups = true;
  const auto topics = kv_.Scan("t", "u");
  for (const auto& it = topics; it->Valid(); it->Next()) {
    FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(it->value()));
    auto topic = std::make_unique<Topic>();
    FULMAR_ASSIGN_OR_RETURN(topic->definition, index::DecodeTopic(stored.body));
    topic->copy = stored.position;
    definitions_version_ = std::max(definitions_version_, topic->definition.version);
    AttachQueues(*topic);
    topics_by_id_[topic->definition.topic_id] = topic.get();
    topics_[topic->definition.name] = std::move(topic);
  }
  const auto groups = kv_.Scan("g", "h");
  for (const auto& it = groups; it->Valid(); it->Next()) {
    FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(it->value()));
    auto group = std::make_unique<Group>();
    FULMAR_ASSIGN_OR_RETURN(group->definition, index::DecodeGroup(stored.body));
    group->copy = stored.position;
    definitions_version_ = std::max(definitions_version_, group->definition.version);
    groups_[group->definition.name] = std::move(group);
  }
  const auto keys = kv_.Scan("h", "i");
  for (const auto& it = keys; it->Valid(); it->Next()) {
    FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(it->value()));
    FULMAR_ASSIGN_OR_RETURN(const HandleKey key, DecodeHandleKey(stored.body));
    keys_[key.id] = {key, stored.position};
  }
  const auto logged = kv_.Scan("p", "q");
  for (const auto& it = logged; it->Valid(); it->Next()) {
    FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(it->value()));
    FULMAR_ASSIGN_OR_RETURN(const index::QueueProgress progress, index::DecodeProgress(stored.body));
    logged_progress_[{progress.group, {progress.topic_id, progress.queue}}] = {progress.sequence, stored.position};
  }
  // A walk that met damage ended early: what it did not see must not count as missing.
  for (const auto* walk : {&topics, &groups, &keys, &logged}) FULMAR_RETURN_IF_ERROR((*walk)->status());
  return absl::OkStatus();
}

void ShardState::Apply(const log::AppliedEntry& entry, Changes& changes) {
  if (!damage().ok()) return;
  batch_.Clear();
  touched_.clear();
  new_dedup_.clear();
  last_queue_ = nullptr;
  for (const log::AppliedRecord& record : entry.records) {
    switch (record.type) {
      case log::RecordType::kMessage: ApplyMessage(record, changes); break;
      case log::RecordType::kTopicCopy: ApplyTopic(record, changes); break;
      case log::RecordType::kTopicDeleted: ApplyTopicDeleted(record, changes); break;
      case log::RecordType::kGroupCopy: ApplyGroup(record, changes); break;
      case log::RecordType::kGroupDeleted: ApplyGroupDeleted(record, changes); break;
      case log::RecordType::kHandleKey: ApplyHandleKey(record, changes); break;
      case log::RecordType::kQueueCounters: ApplyCounters(record); break;
      case log::RecordType::kProgressBatch: ApplyProgress(record); break;
      case log::RecordType::kHeldMessage: ApplyHeldMessage(record, changes); break;
      case log::RecordType::kHeldReleased: ApplyHeldReleased(record, changes); break;
      case log::RecordType::kHeldDropped: held_.ApplyDropped(record.position, MustDecode(DecodeHeldDropped(record.body.view()), record), batch_); break;
      case log::RecordType::kHeldUpdated: ApplyHeldUpdated(record, changes); break;
      case log::RecordType::kDedupEntries: ApplyDedupEntries(record); break;
      default:
        ReportDamage(absl::DataLossError(absl::StrCat("record at position ", record.position.value, " of the log has type ",
                                                      static_cast<int>(record.type), ", which this version does not know")));
    }
  }
  if (!damage().ok()) return changes.Clear();
  held_.Finish(batch_);
  keys_of_messages_.EndEntry(absl::ToUnixMillis(entry.time), batch_);
  for (Queue* queue : touched_) {
    index::QueueIndex::PutCounters(batch_, queue->id, queue->counters, queue->newest_record);
    queue->stored = true;
  }
  applied_ = {entry.index, entry.term, entry.end};
  index::PutApplied(batch_, applied_);
  kv_.Write(batch_);
}

Queue& ShardState::EnsureQueue(index::QueueId id) {
  std::unique_ptr<Queue>& queue = queues_[id];
  if (!queue) {
    queue = std::make_unique<Queue>();
    queue->id = id;
  }
  return *queue;
}

void ShardState::AttachQueues(Topic& topic) {
  for (int32_t id = static_cast<int32_t>(topic.queues.size()); id < topic.definition.queues; ++id) {
    topic.queues.push_back(&EnsureQueue({topic.definition.topic_id, id}));
  }
}

void ShardState::ApplyMessage(const log::AppliedRecord& record, Changes& changes) {
  const MessageView message = MustDecode(ParseMessageRecord(record.body.view()), record);
  AddLookups(keys_of_messages_, message, record.position, static_cast<uint32_t>(record.body.size()), /*held=*/false);
  AddEntry({message.topic_id, message.queue},
           {.offset = message.offset,
            .position = record.position,
            .length = static_cast<uint32_t>(record.body.size()),
            .tag_hash = message.tag_hash,
            .store_time_ms = message.store_time_ms,
            .group = message.group_hash},
           changes);
  newest_store_ms_ = std::max(newest_store_ms_, message.store_time_ms);
  if (!message.dedup_key.empty()) ApplyDedupKey(message, record.position);
}

void ShardState::AddEntry(index::QueueId id, const index::QueueEntry& entry, Changes& changes) {
  if (last_queue_ == nullptr || last_queue_->id != id) last_queue_ = &EnsureQueue(id);
  Queue& queue = *last_queue_;
  // A queue of which nothing older is left begins with this message.
  if (!queue.stored && queue.counters.next == 0) queue.counters = {entry.offset, entry.offset};
  if (entry.offset != queue.counters.next) {
    return ReportDamage(absl::DataLossError(absl::StrCat("message at position ", entry.position.value, " has offset ", entry.offset, " in queue ",
                                                         id.queue, " of topic ", id.topic_id, ", expected ", queue.counters.next)));
  }
  index::QueueIndex::Append(batch_, id, entry);
  queue.recent.Add(entry);
  queue.has_groups |= entry.group != 0;
  ++queue.counters.next;
  queue.newest_record = entry.position;
  queue.stored = true;
  if (std::find(touched_.rbegin(), touched_.rend(), &queue) == touched_.rend()) {
    touched_.push_back(&queue);
    changes.grown.push_back(&queue);
  }
}

void ShardState::ApplyHeldMessage(const log::AppliedRecord& record, Changes& changes) {
  const HeldMessageRecord held = MustDecode(DecodeHeldMessage(record.body.view()), record);
  const MessageView message = MustDecode(ParseMessageRecord(held.message), record);
  AddLookups(keys_of_messages_, message, record.position, static_cast<uint32_t>(record.body.size()), /*held=*/true);
  held_.ApplyMessage(record.position, static_cast<uint32_t>(record.body.size()), held, message.topic_id, message.tag_hash, batch_);
  if (held.released || held.id != 0) return;  // a copy of what is known
  const HeldLine line = held.kind == HeldKind::kTimed ? HeldLine::kTimers : HeldLine::kHalves;
  changes.held.emplace_back(line, HeldDue{held.due_ms, record.position.value});
}

void ShardState::ApplyHeldReleased(const log::AppliedRecord& record, Changes& changes) {
  const HeldReleased released = MustDecode(DecodeHeldReleased(record.body.view()), record);
  held_.ApplyReleased(record.position, released, batch_);
  AddEntry({released.topic_id, released.queue},
           {.offset = released.offset,
            .position = record.position,
            .length = released.message_bytes,
            .tag_hash = released.tag_hash,
            .store_time_ms = released.store_time_ms,
            .held = released.id},
           changes);
}

void ShardState::ApplyHeldUpdated(const log::AppliedRecord& record, Changes& changes) {
  const HeldUpdated updated = MustDecode(DecodeHeldUpdated(record.body.view()), record);
  held_.ApplyUpdated(updated, batch_);
  changes.held.emplace_back(updated.parked ? HeldLine::kParked : HeldLine::kHalves, HeldDue{updated.due_ms, updated.id});
}

void ShardState::ApplyDedupKey(const MessageView& message, LogPosition position) {
  DedupEntry entry{.topic_id = message.topic_id, .queue = message.queue, .offset = message.offset,
                   .store_time_ms = message.store_time_ms, .position = position};
  std::copy_n(message.dedup_key.begin(), entry.key.size(), entry.key.begin());
  DedupIndex::Put(batch_, entry);
  new_dedup_.emplace(entry.topic_id, entry.key);
}

void ShardState::ApplyDedupEntries(const log::AppliedRecord& record) {
  for (const DedupEntry& entry : MustDecode(DecodeDedupEntries(record.body.view(), record.position), record)) {
    // Said again as it was then: a message that came after its window may have taken its place meanwhile.
    if (new_dedup_.contains({entry.topic_id, entry.key})) continue;
    const std::optional<DedupEntry> known = dedup_.Find(entry.topic_id, entry.key);
    if (!known || known->store_time_ms <= entry.store_time_ms) DedupIndex::Put(batch_, entry);
  }
}

bool ShardState::InDedupWindow(const DedupEntry& entry, int64_t now_ms) const {
  const auto topic = topics_by_id_.find(entry.topic_id);
  return topic != topics_by_id_.end() &&
         now_ms - entry.store_time_ms < absl::ToInt64Milliseconds(topic->second->definition.dedup_window);
}

void ShardState::ExpireDedup(size_t slice, int64_t now_ms) {
  batch_.Clear();
  dedup_.Expire(slice, [&](const DedupEntry& entry) { return !InDedupWindow(entry, now_ms); }, batch_);
  if (!batch_.empty()) kv_.Write(batch_);
}

void ShardState::ApplyTopic(const log::AppliedRecord& record, Changes& changes) {
  index::TopicDefinition definition = MustDecode(DecodeTopicCopy(record.body.view()), record);
  auto it = topics_.find(definition.name);
  // Made again under its name while this shard missed the deletion: the old one goes first.
  if (it != topics_.end() && it->second->definition.topic_id != definition.topic_id) {
    RemoveTopic(it, changes);
    it = topics_.end();
  }
  if (it == topics_.end()) {
    it = topics_.emplace(definition.name, std::make_unique<Topic>()).first;
    topics_by_id_[definition.topic_id] = it->second.get();
  }
  Topic& topic = *it->second;
  batch_.Put(index::TopicKey(definition.name), index::EncodeStored(record.position, index::Encode(definition)));
  definitions_version_ = std::max(definitions_version_, definition.version);
  changes.topics.push_back(definition.name);
  topic.definition = std::move(definition);
  topic.copy = record.position;
  AttachQueues(topic);
}

// Everything that is kept under a topic's id.
void ShardState::RemoveQueues(uint32_t topic_id, Changes& changes) {
  for (auto it = queues_.lower_bound({topic_id, 0}); it != queues_.end() && it->first.topic_id == topic_id; it = queues_.erase(it)) {
    index::QueueIndex::Remove(batch_, it->first);
    std::erase(touched_, it->second.get());
    std::erase(changes.grown, it->second.get());
  }
  last_queue_ = nullptr;
  for (auto it = logged_progress_.begin(); it != logged_progress_.end();) {
    if (it->first.second.topic_id != topic_id) {
      ++it;
      continue;
    }
    batch_.Delete(index::ProgressKey(it->first.first, it->first.second));
    it = logged_progress_.erase(it);
  }
}

void ShardState::RemoveTopic(absl::btree_map<std::string, std::unique_ptr<Topic>>::iterator topic, Changes& changes) {
  const uint32_t id = topic->second->definition.topic_id;
  RemoveQueues(id, changes);
  batch_.Delete(index::TopicKey(topic->first));
  changes.deleted_topics.emplace_back(topic->first, id);
  topics_by_id_.erase(id);
  topics_.erase(topic);
}

void ShardState::ApplyTopicDeleted(const log::AppliedRecord& record, Changes& changes) {
  const TopicDeleted deleted = MustDecode(DecodeTopicDeleted(record.body.view()), record);
  definitions_version_ = std::max(definitions_version_, deleted.version);
  auto it = topics_.find(deleted.name);
  if (it != topics_.end() && it->second->definition.topic_id == deleted.topic_id) {
    RemoveTopic(it, changes);
    return;
  }
  // In a rebuild the copy may have been in a segment that is gone, while messages of the topic are still there.
  RemoveQueues(deleted.topic_id, changes);
}

void ShardState::ApplyGroup(const log::AppliedRecord& record, Changes& changes) {
  index::GroupDefinition definition = MustDecode(DecodeGroupCopy(record.body.view()), record);
  std::unique_ptr<Group>& group = groups_[definition.name];
  if (!group) group = std::make_unique<Group>();
  batch_.Put(index::GroupKey(definition.name), index::EncodeStored(record.position, index::Encode(definition)));
  definitions_version_ = std::max(definitions_version_, definition.version);
  changes.groups.push_back(definition.name);
  group->definition = std::move(definition);
  group->copy = record.position;
}

void ShardState::ApplyGroupDeleted(const log::AppliedRecord& record, Changes& changes) {
  const GroupDeleted deleted = MustDecode(DecodeGroupDeleted(record.body.view()), record);
  definitions_version_ = std::max(definitions_version_, deleted.version);
  for (auto it = logged_progress_.lower_bound({deleted.name, {}}); it != logged_progress_.end() && it->first.first == deleted.name;
       it = logged_progress_.erase(it)) {
    batch_.Delete(index::ProgressKey(it->first.first, it->first.second));
  }
  if (groups_.erase(deleted.name) == 0) return;
  batch_.Delete(index::GroupKey(deleted.name));
  changes.deleted_groups.push_back(deleted.name);
}

void ShardState::ApplyHandleKey(const log::AppliedRecord& record, Changes& changes) {
  const HandleKey key = MustDecode(DecodeHandleKey(record.body.view()), record);
  keys_[key.id] = {key, record.position};
  batch_.Put(index::HandleKeyKey(key.id), index::EncodeStored(record.position, record.body.view()));
  changes.handle_key = true;
}

void ShardState::ApplyCounters(const log::AppliedRecord& record) {
  const CountersRecord snapshot = MustDecode(DecodeCountersRecord(record.body.view()), record);
  // The topic's copy may stand behind it, appended again later. Never behind the topic's deletion: see SnapshotsBelow().
  Queue& queue = EnsureQueue(snapshot.queue);
  // Rebuilt from a log in which nothing else of this queue is left.
  if (!queue.stored && queue.counters.next == 0) queue.counters = {snapshot.counters.next, snapshot.counters.next};
  queue.newest_record = record.position;
  queue.stored = true;
  if (std::find(touched_.begin(), touched_.end(), &queue) == touched_.end()) touched_.push_back(&queue);
}

void ShardState::ApplyProgress(const log::AppliedRecord& record) {
  for (const std::string_view bytes : MustDecode(DecodeProgressBatch(record.body.view()), record)) {
    const index::QueueProgress progress = MustDecode(index::DecodeProgress(bytes), record);
    const index::QueueId queue{progress.topic_id, progress.queue};
    // Retention says it again as it was applied; newer progress may have been on its way in front of that.
    const auto known = logged_progress_.find({progress.group, queue});
    if (known != logged_progress_.end() && known->second.sequence > progress.sequence) continue;
    logged_progress_[{progress.group, queue}] = {progress.sequence, record.position};
    batch_.Put(index::ProgressKey(progress.group, queue), index::EncodeStored(record.position, bytes));
  }
}

absl::StatusOr<bool> ShardState::Trim(LogPosition begin, TrimPlace& at, size_t max, absl::FunctionRef<void(Queue&)> on_moved) {
  if (!damage().ok()) return damage();
  batch_.Clear();
  size_t left = max;
  auto next = at.queues_done ? queues_.end() : queues_.lower_bound(at.queue);
  for (; next != queues_.end() && left > 0; ++next, --left) {
    auto& [id, queue] = *next;
    if (queue->counters.min == queue->counters.next) continue;
    const absl::StatusOr<int64_t> min = index_.FindByPosition(id, queue->counters, begin);
    if (!min.ok()) {
      ReportDamage(min.status());
      return damage();
    }
    if (*min == queue->counters.min) continue;
    const int64_t from = std::exchange(queue->counters.min, *min);
    on_moved(*queue);  // still sees the entries
    TrimEntries(*queue, from);
  }
  at.queues_done = next == queues_.end();
  if (!at.queues_done) at.queue = next->first;
  auto it = logged_progress_.lower_bound(at.progress);
  for (; at.queues_done && it != logged_progress_.end() && left > 0; --left) {
    if (it->second.position >= begin) {
      ++it;
      continue;
    }
    batch_.Delete(index::ProgressKey(it->first.first, it->first.second));
    it = logged_progress_.erase(it);
  }
  if (it != logged_progress_.end()) at.progress = it->first;
  const bool done = at.queues_done && it == logged_progress_.end();
  if (done) {
    held_.Trim(begin, batch_);
    keys_of_messages_.Trim(begin, batch_);
    if (!damage().ok()) return damage();
  }
  if (!batch_.empty()) kv_.Write(batch_);
  return done;
}

// Entries with message groups have a second row each, which no range covers. Some at a time, each batch whole in itself, so that a queue
// of millions needs no batch of millions.
void ShardState::TrimEntries(const Queue& queue, int64_t from) {
  constexpr size_t kAtATime = 4096;
  const int64_t to = queue.counters.min;
  while (queue.has_groups && from < to) {
    const absl::StatusOr<std::vector<index::QueueEntry>> entries = index_.Read(queue.id, from, to, kAtATime);
    if (!entries.ok()) return ReportDamage(entries.status());
    if (entries->size() < kAtATime && from + static_cast<int64_t>(entries->size()) >= to) {
      for (const index::QueueEntry& entry : *entries) index::QueueIndex::ForgetGroup(batch_, queue.id, entry);
      break;
    }
    if (entries->empty()) break;
    const int64_t next = entries->back().offset + 1;
    for (const index::QueueEntry& entry : *entries) index::QueueIndex::ForgetGroup(batch_, queue.id, entry);
    index::QueueIndex::Trim(batch_, queue.id, from, next);
    index::QueueIndex::PutCounters(batch_, queue.id, {queue.counters.next, next}, queue.newest_record);
    kv_.Write(batch_);
    batch_.Clear();
    from = next;
  }
  index::QueueIndex::Trim(batch_, queue.id, from, to);
  index::QueueIndex::PutCounters(batch_, queue.id, queue.counters, queue.newest_record);
}

Topic* ShardState::FindTopic(std::string_view name) {
  auto it = topics_.find(name);
  return it == topics_.end() ? nullptr : it->second.get();
}

Topic* ShardState::FindTopic(uint32_t topic_id) {
  auto it = topics_by_id_.find(topic_id);
  return it == topics_by_id_.end() ? nullptr : it->second;
}

Group* ShardState::FindGroup(std::string_view name) {
  auto it = groups_.find(name);
  return it == groups_.end() ? nullptr : it->second.get();
}

const HandleKey* ShardState::FindKey(uint8_t id) const {
  auto it = keys_.find(id);
  return it == keys_.end() ? nullptr : &it->second.key;
}

absl::StatusOr<index::QueueProgress> ShardState::ReadLoggedProgress(const ProgressId& id) const {
  const std::optional<std::string> value = kv_.Get(index::ProgressKey(id.first, id.second));
  if (!value) return absl::NotFoundError(absl::StrCat("no logged progress of group '", id.first, "'"));
  FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(*value));
  return index::DecodeProgress(stored.body);
}

std::vector<std::pair<log::RecordType, std::string>> ShardState::SnapshotsBelow(
    LogPosition position, size_t max, absl::FunctionRef<bool(const ProgressId&, uint64_t sequence)> is_stored) const {
  std::vector<std::pair<log::RecordType, std::string>> records;
  for (const auto& [id, key] : keys_) {
    if (key.copy < position) records.emplace_back(log::RecordType::kHandleKey, EncodeHandleKey(key.key));
  }
  for (const auto& [name, group] : groups_) {
    if (group->copy < position && !group->deleting) {
      records.emplace_back(log::RecordType::kGroupCopy, EncodeGroupCopy(group->definition));
    }
  }
  for (const auto& [name, topic] : topics_) {
    if (topic->copy < position && !topic->deleting) {
      records.emplace_back(log::RecordType::kTopicCopy, EncodeTopicCopy(topic->definition));
    }
  }
  for (const auto& [id, queue] : queues_) {
    if (records.size() >= max) return records;
    if (!queue->stored || queue->newest_record >= position) continue;
    // Behind the deletion that is on its way these would bring the queue back.
    const auto topic = topics_by_id_.find(id.topic_id);
    if (topic != topics_by_id_.end() && topic->second->deleting) continue;
    records.emplace_back(log::RecordType::kQueueCounters, EncodeCountersRecord({id, queue->counters}));
  }
  for (const auto& [id, logged] : logged_progress_) {
    if (records.size() >= max) return records;
    if (logged.position >= position || is_stored(id, logged.sequence)) continue;
    const std::optional<std::string> value = kv_.Get(index::ProgressKey(id.first, id.second));
    if (!value) continue;
    const absl::StatusOr<index::Stored> stored = index::DecodeStored(*value);
    if (!stored.ok()) continue;
    records.emplace_back(log::RecordType::kProgressBatch, EncodeProgressBatch({std::string(stored->body)}));
  }
  AddDedupSnapshots(position, records);
  return records;
}

// Chunks of a size that the log takes lightly; what is left over is found when the caller looks again.
void ShardState::AddDedupSnapshots(LogPosition position, std::vector<std::pair<log::RecordType, std::string>>& records) const {
  constexpr size_t kAtOnce = 20000, kPerRecord = 1000;
  const std::vector<DedupEntry> entries =
      dedup_.Below(position, kAtOnce, [this](const DedupEntry& entry) { return InDedupWindow(entry, newest_store_ms_); });
  for (size_t at = 0; at < entries.size(); at += kPerRecord) {
    const auto begin = entries.begin() + static_cast<ptrdiff_t>(at);
    records.emplace_back(log::RecordType::kDedupEntries,
                         EncodeDedupEntries({begin, begin + static_cast<ptrdiff_t>(std::min(kPerRecord, entries.size() - at))}));
  }
}

void ShardState::ResetProjections() {
  for (auto& [id, queue] : queues_) queue->projected = queue->counters.next;
  for (auto& [name, topic] : topics_) topic->deleting = false;
  for (auto& [name, group] : groups_) group->deleting = false;
}

void ShardState::TakeBack(index::QueueId id, int64_t offset) {
  const auto queue = queues_.find(id);  // gone with its topic, perhaps
  if (queue != queues_.end()) queue->second->projected = std::min(queue->second->projected, offset);
}

void ShardState::DropIdleRings() {
  for (auto& [id, queue] : queues_) {
    if (queue->recent_seen == queue->counters.next && !queue->recent.empty()) queue->recent.Clear();
    queue->recent_seen = queue->counters.next;
  }
}

}  // namespace fulmar::broker
