#include "services/offset/offset_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/index/keys.h"

namespace fulmar::offset {

using index::DefinitionEvent;
using index::EncodeStored;
using index::GroupDefinition;
using index::QueueProgress;
using index::TopicDefinition;
using log::RecordType;

DefinitionEvent EventOf(const TopicDefinition& topic) { return {.kind = DefinitionEvent::kTopic, .topic = topic}; }
DefinitionEvent EventOf(const GroupDefinition& group) { return {.kind = DefinitionEvent::kGroup, .group = group}; }

DefinitionEvent EventOf(const Deletion& deletion) {
  DefinitionEvent event;
  if (deletion.kind == Deletion::Kind::kTopic) {
    event.kind = DefinitionEvent::kTopicDeleted;
    event.topic.name = deletion.name;
    event.topic.topic_id = deletion.topic_id;
    event.topic.version = deletion.version;
  } else {
    event.kind = DefinitionEvent::kGroupDeleted;
    event.group.name = deletion.name;
    event.group.version = deletion.version;
  }
  return event;
}

uint64_t VersionOf(const DefinitionEvent& event) {
  const bool topic = event.kind == DefinitionEvent::kTopic || event.kind == DefinitionEvent::kTopicDeleted;
  return topic ? event.topic.version : event.group.version;
}

// --- Reading the index.

absl::Status OffsetState::Load() {
  // One range per kind: progress, which may be large, is not touched.
  for (std::string_view kind : {"g", "k", "n", "t", "x"}) {
    const auto it = kv_.Scan(kind, index::PrefixEnd(kind));
    for (; it->Valid(); it->Next()) FULMAR_RETURN_IF_ERROR(LoadOne(it->key(), it->value()));
    FULMAR_RETURN_IF_ERROR(it->status());
  }
  return absl::OkStatus();
}

absl::Status OffsetState::LoadOne(std::string_view key, std::string_view value) {
  FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(value));
  const std::string name(index::NameOfKey(key));
  switch (key[0]) {
    case 't': {
      FULMAR_ASSIGN_OR_RETURN(TopicDefinition topic, index::DecodeTopic(stored.body));
      topic_names_[topic.topic_id] = name;
      topics_[name] = {std::move(topic), stored.position};
      break;
    }
    case 'g': {
      FULMAR_ASSIGN_OR_RETURN(GroupDefinition group, index::DecodeGroup(stored.body));
      groups_[name] = {std::move(group), stored.position};
      break;
    }
    case 'x': {
      FULMAR_ASSIGN_OR_RETURN(Deletion deletion, DecodeDeletion(stored.body));
      const uint64_t version = deletion.version;
      deletions_[version] = {std::move(deletion), stored.position};
      break;
    }
    case 'k': {
      FULMAR_ASSIGN_OR_RETURN(const ClaimRecord claim, DecodeClaimRecord(stored.body));
      claims_[name] = {claim.term, stored.position};
      break;
    }
    case 'n': {
      FULMAR_ASSIGN_OR_RETURN(const DefinitionCounters counters, DecodeCountersRecord(stored.body));
      counters_ = {counters, stored.position};
      break;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<QueueProgress>> OffsetState::ReadProgress(std::string_view shard) const {
  std::vector<QueueProgress> all;
  const std::string prefix = index::ShardProgressPrefix(shard);
  const auto it = kv_.Scan(prefix, index::PrefixEnd(prefix));
  for (; it->Valid(); it->Next()) {
    FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(it->value()));
    FULMAR_ASSIGN_OR_RETURN(QueueProgress progress, index::DecodeProgress(stored.body));
    all.push_back(std::move(progress));
  }
  FULMAR_RETURN_IF_ERROR(it->status());
  return all;
}

// --- Questions.

const TopicDefinition* OffsetState::FindTopic(std::string_view name) const {
  const auto it = topics_.find(name);
  return it == topics_.end() ? nullptr : &it->second.value;
}

const GroupDefinition* OffsetState::FindGroup(std::string_view name) const {
  const auto it = groups_.find(name);
  return it == groups_.end() ? nullptr : &it->second.value;
}

std::vector<TopicDefinition> OffsetState::Topics() const {
  std::vector<TopicDefinition> topics;
  topics.reserve(topics_.size());
  for (const auto& [name, topic] : topics_) topics.push_back(topic.value);
  return topics;
}

std::vector<GroupDefinition> OffsetState::Groups() const {
  std::vector<GroupDefinition> groups;
  groups.reserve(groups_.size());
  for (const auto& [name, group] : groups_) groups.push_back(group.value);
  return groups;
}

std::vector<DefinitionEvent> OffsetState::Events(uint64_t since_version) const {
  std::vector<DefinitionEvent> events;
  for (const auto& [name, topic] : topics_) events.push_back(EventOf(topic.value));
  for (const auto& [name, group] : groups_) events.push_back(EventOf(group.value));
  for (auto it = deletions_.upper_bound(since_version); it != deletions_.end(); ++it) {
    events.push_back(EventOf(it->second.value));
  }
  std::sort(events.begin(), events.end(),
            [](const DefinitionEvent& a, const DefinitionEvent& b) { return VersionOf(a) < VersionOf(b); });
  return events;
}

std::optional<Term> OffsetState::ClaimOf(std::string_view shard) const {
  const auto it = claims_.find(shard);
  if (it == claims_.end()) return std::nullopt;
  return it->second.value;
}

std::vector<std::string> OffsetState::Shards() const {
  std::vector<std::string> shards;
  for (const auto& [shard, term] : claims_) shards.push_back(shard);
  return shards;
}

// --- Applying.

absl::Status OffsetState::Apply(const log::AppliedEntry& entry, const Publish& publish) {
  for (const log::AppliedRecord& record : entry.records) {
    FULMAR_RETURN_IF_ERROR(Annotate(ApplyRecord(record), absl::StrCat("offset log, record at ", record.position.value)));
  }
  index::PutApplied(batch_, {.index = entry.index, .term = entry.term, .position = entry.end});
  WriteBatch();
  for (const DefinitionEvent& event : std::exchange(events_, {})) publish(event);
  return absl::OkStatus();
}

absl::Status OffsetState::ApplyRecord(const log::AppliedRecord& record) {
  const std::string_view body = record.body.view();
  switch (record.type) {
    case RecordType::kTopicDefinition: {
      FULMAR_ASSIGN_OR_RETURN(TopicRecord topic, DecodeTopicRecord(body));
      ApplyTopic(std::move(topic), record.position);
      return absl::OkStatus();
    }
    case RecordType::kGroupDefinition: {
      FULMAR_ASSIGN_OR_RETURN(GroupRecord group, DecodeGroupRecord(body));
      ApplyGroup(std::move(group), record.position);
      return absl::OkStatus();
    }
    case RecordType::kTopicDefinitionDeleted:
    case RecordType::kGroupDefinitionDeleted: {
      FULMAR_ASSIGN_OR_RETURN(DeletionRecord deletion, DecodeDeletionRecord(body));
      ApplyDeletion(std::move(deletion), record.position);
      return absl::OkStatus();
    }
    case RecordType::kClaim: {
      FULMAR_ASSIGN_OR_RETURN(const ClaimRecord claim, DecodeClaimRecord(body));
      ApplyClaim(claim, record.position);
      return absl::OkStatus();
    }
    case RecordType::kProgress: {
      FULMAR_ASSIGN_OR_RETURN(const ProgressRecord progress, DecodeProgressRecord(body));
      ApplyProgress(progress, record.position);
      return absl::OkStatus();
    }
    case RecordType::kDefinitionCounters: {
      FULMAR_ASSIGN_OR_RETURN(const DefinitionCounters counters, DecodeCountersRecord(body));
      RaiseCounters(counters, record.position, /*snapshot=*/true);
      return absl::OkStatus();
    }
    case RecordType::kLedgerEntry: return ledger_.Entry(body, record.position, batch_);
    case RecordType::kLedgerRemoved: return ledger_.Removal(body, batch_);
    default: break;
  }
  return absl::DataLossError(absl::StrCat("no record of this log has type ", static_cast<int>(record.type)));
}

void OffsetState::ApplyTopic(TopicRecord record, LogPosition position) {
  RaiseCounters(record.counters, position, /*snapshot=*/false);
  TopicDefinition& topic = record.topic;
  batch_.Put(index::TopicKey(topic.name), EncodeStored(position, index::Encode(topic)));
  Held<TopicDefinition>& held = topics_[topic.name];
  if (held.value != topic) events_.push_back(EventOf(topic));
  topic_names_[topic.topic_id] = topic.name;
  held = {std::move(topic), position};
}

void OffsetState::ApplyGroup(GroupRecord record, LogPosition position) {
  RaiseCounters(record.counters, position, /*snapshot=*/false);
  GroupDefinition& group = record.group;
  batch_.Put(index::GroupKey(group.name), EncodeStored(position, index::Encode(group)));
  Held<GroupDefinition>& held = groups_[group.name];
  if (held.value != group) events_.push_back(EventOf(group));
  held = {std::move(group), position};
}

void OffsetState::ApplyDeletion(DeletionRecord record, LogPosition position) {
  RaiseCounters(record.counters, position, /*snapshot=*/false);
  Deletion& deletion = record.deletion;
  if (!record.again) {
    events_.push_back(EventOf(deletion));
    if (deletion.kind == Deletion::Kind::kTopic) {
      DeleteTopic(deletion);
    } else {
      DeleteGroup(deletion);
    }
  }
  batch_.Put(index::DeletionKey(deletion.version), EncodeStored(position, Encode(deletion)));
  const uint64_t version = deletion.version;
  deletions_[version] = {std::move(deletion), position};
  ForgetOldDeletions();
}

void OffsetState::DeleteTopic(const Deletion& deletion) {
  const auto it = topics_.find(deletion.name);
  if (it != topics_.end() && it->second.value.topic_id == deletion.topic_id) {
    batch_.Delete(index::TopicKey(deletion.name));
    topics_.erase(it);
  }
  topic_names_.erase(deletion.topic_id);
  RemoveProgressOfTopic(deletion.topic_id);
}

void OffsetState::DeleteGroup(const Deletion& deletion) {
  const auto it = groups_.find(deletion.name);
  if (it != groups_.end()) {
    if (it->second.value.version > deletion.version) return;
    batch_.Delete(index::GroupKey(deletion.name));
    groups_.erase(it);
  }
  RemoveProgressOfGroup(deletion.name);
}

void OffsetState::ApplyClaim(const ClaimRecord& record, LogPosition position) {
  Held<Term>& claim = claims_[record.shard];
  if (record.term < claim.value) return;
  claim = {record.term, position};
  batch_.Put(index::ClaimKey(record.shard), EncodeStored(position, Encode(record)));
}

void OffsetState::ApplyProgress(const ProgressRecord& record, LogPosition position) {
  if (const std::optional<Term> claim = ClaimOf(record.shard); claim && record.term < *claim) return;
  for (const QueueProgress& entry : record.entries) {
    const std::string key = index::ShardProgressKey(record.shard, entry.group, {entry.topic_id, entry.queue});
    if (entry.deleted) {
      batch_.Delete(key);
    } else {
      batch_.Put(key, EncodeStored(position, index::Encode(entry)));
    }
  }
}

// A change sets the position only when it raises something: then a log that begins later gives the same position.
void OffsetState::RaiseCounters(const DefinitionCounters& counters, LogPosition position, bool snapshot) {
  const DefinitionCounters raised = {std::max(counters_.value.next_topic_id, counters.next_topic_id),
                                     std::max(counters_.value.version, counters.version)};
  if (raised == counters_.value && !snapshot) return;
  counters_ = {raised, position};
  batch_.Put(index::kDefinitionCountersKey, EncodeStored(position, Encode(raised)));
}

void OffsetState::ForgetOldDeletions() {
  while (deletions_.size() > max_deletions_) {
    batch_.Delete(index::DeletionKey(deletions_.begin()->first));
    deletions_.erase(deletions_.begin());
  }
}

std::vector<std::string> OffsetState::ShardsWithProgress() const {
  std::vector<std::string> shards;
  const auto it = kv_.Scan("P", "Q");
  while (it->Valid()) {
    const std::string_view key = it->key();
    shards.emplace_back(key.substr(1, key.find('\0', 1) - 1));
    it->Seek(index::PrefixEnd(index::ShardProgressPrefix(shards.back())));
  }
  return shards;
}

// What the same entry has written before must be seen, so the batch goes first. If the process dies between the two parts,
// the entry is applied again as a whole, with the same end.
void OffsetState::RemoveProgressOfGroup(std::string_view group) {
  WriteBatch();
  for (const std::string& shard : ShardsWithProgress()) {
    const std::string prefix = index::ShardGroupProgressPrefix(shard, group);
    batch_.DeleteRange(prefix, index::PrefixEnd(prefix));
  }
}

// Two seeks per group and shard; topics are deleted rarely.
void OffsetState::RemoveProgressOfTopic(uint32_t topic_id) {
  WriteBatch();
  for (const std::string& shard : ShardsWithProgress()) {
    const std::string prefix = index::ShardProgressPrefix(shard);
    const auto it = kv_.Scan(prefix, index::PrefixEnd(prefix));
    while (it->Valid()) {
      const std::string_view key = it->key();
      const std::string group(key.substr(prefix.size(), key.find('\0', prefix.size()) - prefix.size()));
      const std::string group_prefix = index::ShardGroupProgressPrefix(shard, group);
      const std::string begin = index::ShardProgressKey(shard, group, {topic_id, 0});
      it->Seek(begin);
      if (it->Valid() && it->key().starts_with(std::string_view(begin).substr(0, group_prefix.size() + 4))) {
        batch_.DeleteRange(begin, index::PrefixEnd(std::string_view(begin).substr(0, group_prefix.size() + 4)));
      }
      it->Seek(index::PrefixEnd(group_prefix));
    }
  }
}

void OffsetState::WriteBatch() {
  if (!batch_.empty()) kv_.Write(batch_);
  batch_.Clear();
  ledger_.Written();
}

}  // namespace fulmar::offset
