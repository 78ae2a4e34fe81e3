// The definitions' part of OffsetCore.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/common/status.h"
#include "services/offset/offset_core.h"

namespace fulmar::offset {

using common::kShardThread;
using index::DefinitionEvent;
using index::GroupDefinition;
using index::TopicDefinition;

namespace {

constexpr size_t kChangesPerRound = 256;  // they share one sync

absl::Status NoSuchTopic(std::string_view name) {
  return errors::TopicNotFound(absl::StrCat("topic '", name, "' does not exist"));
}
absl::Status NoSuchGroup(std::string_view name) {
  return errors::ConsumerGroupNotFound(absl::StrCat("group '", name, "' does not exist"));
}

// Definitions are stored with microseconds.
absl::Time Stamp(const common::Clock& clock) { return absl::FromUnixMicros(absl::ToUnixMicros(clock.Now())); }

}  // namespace

// --- Rounds.

void OffsetCore::Change(std::string object, Plan plan, WithStatus finish) {
  WhenLeading([this, object = std::move(object), plan = std::move(plan),
               finish = std::move(finish)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (status.ok() && definition_requests_.size() >= options_.max_waiting) {
      status = absl::ResourceExhaustedError("too many changes of definitions wait");
    }
    if (!status.ok()) return std::move(finish)(std::move(status));
    definition_requests_.push_back({std::move(object), std::move(plan), std::move(finish)});
    RunDefinitions();
  });
}

void OffsetCore::RunDefinitions() {
  while (definitions_running_ == 0 && !gate_closed_ && phase_ == Phase::kLeading && !definition_requests_.empty()) {
    absl::btree_set<std::string> objects;
    DefinitionCounters counters = state_.counters();
    ++definitions_running_;  // until all of the round are appended: an answer may come before
    while (!definition_requests_.empty() && objects.size() < kChangesPerRound &&
           objects.insert(definition_requests_.front().object).second) {
      DefinitionRequest request = std::move(definition_requests_.front());
      definition_requests_.pop_front();
      RunDefinition(std::move(request), counters);
    }
    --definitions_running_;
  }
}

void OffsetCore::RunDefinition(DefinitionRequest request, DefinitionCounters& counters) {
  absl::StatusOr<std::optional<Planned>> planned = request.plan(counters);
  if (!planned.ok()) return std::move(request.finish)(planned.status());
  if (!planned->has_value()) return std::move(request.finish)(absl::OkStatus());

  // From here on nobody may write progress of what goes: its record would come behind the deletion and stay for ever.
  const std::string name = request.object.substr(1);
  const log::RecordType type = (*planned)->type;
  uint32_t topic_id = 0;
  if (type == log::RecordType::kGroupDefinitionDeleted) groups_being_deleted_.insert(name);
  if (type == log::RecordType::kTopicDefinitionDeleted) {
    topic_id = state_.FindTopic(name)->topic_id;
    topics_being_deleted_.insert(topic_id);
  }

  ++definitions_running_;
  Append(type, std::move((*planned)->body),
         [this, type, name, topic_id, finish = std::move(request.finish)](absl::Status status) mutable {
           kShardThread.AssertHeld(env_.shard);
           if (type == log::RecordType::kGroupDefinitionDeleted) groups_being_deleted_.erase(name);
           topics_being_deleted_.erase(topic_id);
           --definitions_running_;
           if (status.ok()) ++counts_.definition_changes;
           std::move(finish)(std::move(status));
         });
}

// --- Topics.

OffsetCore::WithStatus OffsetCore::AnswerTopic(std::string name, index::Done<TopicDefinition> done) {
  return [this, name = std::move(name), done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (!status.ok()) return std::move(done)(std::move(status));
    const TopicDefinition* topic = state_.FindTopic(name);
    if (topic == nullptr) return std::move(done)(NoSuchTopic(name));
    std::move(done)(*topic);
  };
}

void OffsetCore::EnsureTopic(TopicDefinition topic, index::Done<TopicDefinition> done) {
  std::string object = absl::StrCat("t", topic.name), name = topic.name;
  Change(
      std::move(object),
      [this, topic = std::move(topic)](DefinitionCounters& counters) {
        kShardThread.AssertHeld(env_.shard);
        return PlanEnsureTopic(topic, counters);
      },
      AnswerTopic(std::move(name), std::move(done)));
}

absl::StatusOr<std::optional<OffsetCore::Planned>> OffsetCore::PlanEnsureTopic(TopicDefinition topic,
                                                                               DefinitionCounters& counters) {
  FULMAR_RETURN_IF_ERROR(index::CheckTopic(topic));
  if (state_.FindTopic(topic.name) != nullptr) return std::nullopt;
  if (topic.shards.empty()) topic.shards = state_.Shards();
  if (topic.shards.empty()) return absl::UnavailableError("no shard has made itself known yet");
  topic.topic_id = counters.next_topic_id++;
  topic.version = ++counters.version;
  topic.created = Stamp(env_.clock);
  return Planned{log::RecordType::kTopicDefinition, Encode(TopicRecord{counters, std::move(topic)})};
}

void OffsetCore::UpdateTopic(TopicDefinition topic, index::Done<TopicDefinition> done) {
  std::string object = absl::StrCat("t", topic.name), name = topic.name;
  Change(
      std::move(object),
      [this, topic = std::move(topic)](DefinitionCounters& counters) {
        kShardThread.AssertHeld(env_.shard);
        return PlanUpdateTopic(topic, counters);
      },
      AnswerTopic(std::move(name), std::move(done)));
}

absl::StatusOr<std::optional<OffsetCore::Planned>> OffsetCore::PlanUpdateTopic(TopicDefinition topic,
                                                                               DefinitionCounters& counters) {
  FULMAR_RETURN_IF_ERROR(index::CheckTopic(topic));
  const TopicDefinition* now = state_.FindTopic(topic.name);
  if (now == nullptr) return NoSuchTopic(topic.name);
  if (topic.type != now->type) {
    return errors::BadRequest(absl::StrCat("topic '", topic.name, "': the type of a topic cannot be changed"));
  }
  if (topic.queues < now->queues) {
    return errors::BadRequest(absl::StrCat("topic '", topic.name, "' has ", now->queues,
                                           " queues, which cannot become ", topic.queues, ": they can only grow"));
  }
  if (topic.queues != now->queues && (now->type == index::TopicType::kFifo || now->type == index::TopicType::kMixed)) {
    return errors::BadRequest(absl::StrCat("topic '", topic.name, "' has ", now->queues,
                                           " queues for good: its message groups have their homes in them"));
  }
  if (topic.shards.empty()) topic.shards = now->shards;
  for (const std::string& shard : now->shards) {
    if (std::find(topic.shards.begin(), topic.shards.end(), shard) == topic.shards.end()) {
      return errors::BadRequest(absl::StrCat("topic '", topic.name, "': shard '", shard, "' cannot be taken away"));
    }
  }
  topic.topic_id = now->topic_id;
  topic.version = now->version;
  topic.created = now->created;
  if (topic == *now) return std::nullopt;
  topic.version = ++counters.version;
  return Planned{log::RecordType::kTopicDefinition, Encode(TopicRecord{counters, std::move(topic)})};
}

void OffsetCore::DeleteTopic(std::string name, index::DoneStatus done) {
  std::string object = absl::StrCat("t", name);
  Change(
      std::move(object),
      [this, name = std::move(name)](DefinitionCounters& counters) {
        kShardThread.AssertHeld(env_.shard);
        return PlanDeleteTopic(name, counters);
      },
      std::move(done));
}

absl::StatusOr<std::optional<OffsetCore::Planned>> OffsetCore::PlanDeleteTopic(const std::string& name,
                                                                               DefinitionCounters& counters) {
  const TopicDefinition* topic = state_.FindTopic(name);
  if (topic == nullptr) return NoSuchTopic(name);
  Deletion deletion{
      .kind = Deletion::Kind::kTopic, .name = name, .topic_id = topic->topic_id, .version = ++counters.version};
  return Planned{log::RecordType::kTopicDefinitionDeleted,
                 Encode(DeletionRecord{.counters = counters, .deletion = std::move(deletion)})};
}

void OffsetCore::GetTopic(std::string name, index::Done<TopicDefinition> done) {
  WhenLeading(AnswerTopic(std::move(name), std::move(done)));
}

void OffsetCore::ListTopics(index::Done<std::vector<TopicDefinition>> done) {
  WhenLeading([this, done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (!status.ok()) return std::move(done)(std::move(status));
    std::move(done)(state_.Topics());
  });
}

// --- Groups.

OffsetCore::WithStatus OffsetCore::AnswerGroup(std::string name, index::Done<GroupDefinition> done) {
  return [this, name = std::move(name), done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (!status.ok()) return std::move(done)(std::move(status));
    const GroupDefinition* group = state_.FindGroup(name);
    if (group == nullptr) return std::move(done)(NoSuchGroup(name));
    std::move(done)(*group);
  };
}

void OffsetCore::EnsureGroup(GroupDefinition group, index::Done<GroupDefinition> done) {
  std::string object = absl::StrCat("g", group.name), name = group.name;
  Change(
      std::move(object),
      [this, group = std::move(group)](DefinitionCounters& counters) {
        kShardThread.AssertHeld(env_.shard);
        return PlanEnsureGroup(group, counters);
      },
      AnswerGroup(std::move(name), std::move(done)));
}

absl::StatusOr<std::optional<OffsetCore::Planned>> OffsetCore::PlanEnsureGroup(GroupDefinition group,
                                                                               DefinitionCounters& counters) {
  FULMAR_RETURN_IF_ERROR(index::CheckGroup(group));
  if (state_.FindGroup(group.name) != nullptr) return std::nullopt;
  group.version = ++counters.version;
  group.created = Stamp(env_.clock);
  return Planned{log::RecordType::kGroupDefinition, Encode(GroupRecord{counters, std::move(group)})};
}

void OffsetCore::UpdateGroup(GroupDefinition group, index::Done<GroupDefinition> done) {
  std::string object = absl::StrCat("g", group.name), name = group.name;
  Change(
      std::move(object),
      [this, group = std::move(group)](DefinitionCounters& counters) {
        kShardThread.AssertHeld(env_.shard);
        return PlanUpdateGroup(group, counters);
      },
      AnswerGroup(std::move(name), std::move(done)));
}

absl::StatusOr<std::optional<OffsetCore::Planned>> OffsetCore::PlanUpdateGroup(GroupDefinition group,
                                                                               DefinitionCounters& counters) {
  FULMAR_RETURN_IF_ERROR(index::CheckGroup(group));
  const GroupDefinition* now = state_.FindGroup(group.name);
  if (now == nullptr) return NoSuchGroup(group.name);
  group.version = now->version;
  group.created = now->created;
  if (group == *now) return std::nullopt;
  group.version = ++counters.version;
  return Planned{log::RecordType::kGroupDefinition, Encode(GroupRecord{counters, std::move(group)})};
}

void OffsetCore::DeleteGroup(std::string name, index::DoneStatus done) {
  std::string object = absl::StrCat("g", name);
  Change(
      std::move(object),
      [this, name = std::move(name)](DefinitionCounters& counters) {
        kShardThread.AssertHeld(env_.shard);
        return PlanDeleteGroup(name, counters);
      },
      std::move(done));
}

absl::StatusOr<std::optional<OffsetCore::Planned>> OffsetCore::PlanDeleteGroup(const std::string& name,
                                                                               DefinitionCounters& counters) {
  if (state_.FindGroup(name) == nullptr) return NoSuchGroup(name);
  Deletion deletion{.kind = Deletion::Kind::kGroup, .name = name, .version = ++counters.version};
  return Planned{log::RecordType::kGroupDefinitionDeleted,
                 Encode(DeletionRecord{.counters = counters, .deletion = std::move(deletion)})};
}

void OffsetCore::GetGroup(std::string name, index::Done<GroupDefinition> done) {
  WhenLeading(AnswerGroup(std::move(name), std::move(done)));
}

void OffsetCore::ListGroups(index::Done<std::vector<GroupDefinition>> done) {
  WhenLeading([this, done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (!status.ok()) return std::move(done)(std::move(status));
    std::move(done)(state_.Groups());
  });
}

// --- Watches.

std::unique_ptr<index::DefinitionStore::Watch> OffsetCore::WatchDefinitions(
    uint64_t since_version, absl::AnyInvocable<void(DefinitionEvent)> on_event) {
  auto watcher = std::make_shared<DefinitionWatcher>(std::move(on_event));
  // Not while the log is replayed: what it says then may be old. A follower has watchers as well, so the status does not matter.
  WhenLeading([this, since_version, weak = std::weak_ptr<DefinitionWatcher>(watcher)](absl::Status) {
    kShardThread.AssertHeld(env_.shard);
    const std::shared_ptr<DefinitionWatcher> watcher = weak.lock();
    if (watcher == nullptr) return;
    for (const DefinitionEvent& event : state_.Events(since_version)) watcher->Send(event);
    watches_.Add(watcher);
  });
  return std::make_unique<WatchHandle>(std::move(watcher));
}

}  // namespace fulmar::offset
