#include "services/broker/auto_create.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/broker/records.h"
#include "services/common/errors.h"
#include "services/common/log.h"

namespace fulmar::broker {
namespace {

constexpr absl::Duration kDeletionRetry = absl::Seconds(1);

// What the log's refusal means to a client.
absl::Status AppendError(const absl::Status& status) {
  if (absl::IsResourceExhausted(status)) return errors::TooManyRequests(status.message());
  if (absl::IsDataLoss(status)) return errors::InternalServerError(status.message());
  return errors::HaNotAvailable(status.message());
}

absl::Status StoreError(std::string_view what, std::string_view name, const absl::Status& status) {
  // The store's own word on names and limits reaches the client as it is.
  if (absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status)) return status;
  return errors::HaNotAvailable(absl::StrCat(what, " '", name, "' cannot be looked up: ", status.message()));
}

}  // namespace

void AutoCreate::Start() {
  watch_ = context_.env.definitions.WatchDefinitions(
      context_.state.definitions_version(), context_.OnShardRepeatedly<index::DefinitionEvent>(
                                                [this](index::DefinitionEvent event) { OnEvent(std::move(event)); }));
}

void AutoCreate::Stop(const absl::Status& why) {
  watch_.reset();
  for (auto& [name, waiting] : std::exchange(waiting_topics_, {})) {
    for (UseTopic& use : waiting) std::move(use)(why);
  }
  for (auto& [name, waiting] : std::exchange(waiting_groups_, {})) {
    for (UseGroup& use : waiting) std::move(use)(why);
  }
}

void AutoCreate::WithTopic(const std::string& name, UseTopic use) { ResolveTopic(name, Creation::kAsAllowed, std::move(use)); }

void AutoCreate::WithDeadLetterTopic(const std::string& group, UseTopic use) {
  ResolveTopic(index::DeadLetterTopicOf(group), Creation::kAlways, std::move(use));
}

void AutoCreate::WithCurrentTopic(const std::string& name, UseTopic use) {
  const auto answer = [this, name](UseTopic waiting, const absl::Status& status) {
    Topic* topic = context_.state.FindTopic(name);
    if (topic != nullptr && !topic->deleting) return std::move(waiting)(topic);
    std::move(waiting)(status.ok() ? errors::TopicNotFound(absl::StrCat("topic '", name, "' does not exist")) : status);
  };
  context_.env.definitions.GetTopic(
      name, context_.OnShard<absl::StatusOr<index::TopicDefinition>>([this, name, answer, use = std::move(use)](absl::StatusOr<index::TopicDefinition> topic) mutable {
        if (absl::IsNotFound(topic.status())) return std::move(use)(errors::TopicNotFound(absl::StrCat("topic '", name, "' does not exist")));
        if (!topic.ok()) return answer(std::move(use), StoreError("topic", name, topic.status()));
        const Topic* known = context_.state.FindTopic(name);
        const bool news = known == nullptr || known->definition.version < topic->version;
        if (!news || !HeldHere(*topic)) return answer(std::move(use), absl::OkStatus());
        Copy(*topic, [answer, use = std::move(use)](const absl::Status& status) mutable { answer(std::move(use), status); });
      }));
}

void AutoCreate::WithCurrentGroup(const std::string& name, UseGroup use) {
  const auto answer = [this, name](UseGroup waiting, const absl::Status& status) {
    Group* group = context_.state.FindGroup(name);
    if (group != nullptr && !group->deleting) return std::move(waiting)(group);
    std::move(waiting)(status.ok() ? errors::ConsumerGroupNotFound(absl::StrCat("group '", name, "' does not exist")) : status);
  };
  context_.env.definitions.GetGroup(
      name, context_.OnShard<absl::StatusOr<index::GroupDefinition>>([this, name, answer, use = std::move(use)](absl::StatusOr<index::GroupDefinition> group) mutable {
        if (absl::IsNotFound(group.status())) return std::move(use)(errors::ConsumerGroupNotFound(absl::StrCat("group '", name, "' does not exist")));
        if (!group.ok()) return answer(std::move(use), StoreError("group", name, group.status()));
        const Group* known = context_.state.FindGroup(name);
        if (known != nullptr && known->definition.version >= group->version) return answer(std::move(use), absl::OkStatus());
        Copy(*group, [answer, use = std::move(use)](const absl::Status& status) mutable { answer(std::move(use), status); });
      }));
}

void AutoCreate::ResolveTopic(const std::string& name, Creation creation, UseTopic use) {
  if (Topic* topic = context_.state.FindTopic(name); topic != nullptr) {
    if (topic->deleting) return std::move(use)(errors::TopicNotFound(absl::StrCat("topic '", name, "' is being deleted")));
    return std::move(use)(topic);
  }
  if (creation == Creation::kAsAllowed) {
    if (absl::Status status = index::CheckTopicName(name); !status.ok()) return std::move(use)(status);
  }
  std::vector<UseTopic>& waiting = waiting_topics_[name];
  waiting.push_back(std::move(use));
  if (waiting.size() > 1) return;
  context_.env.definitions.GetTopic(
      name, context_.OnShard<absl::StatusOr<index::TopicDefinition>>([this, name, creation](absl::StatusOr<index::TopicDefinition> topic) {
        OnTopic(name, creation, /*made=*/false, std::move(topic));
      }));
}

void AutoCreate::OnTopic(const std::string& name, Creation creation, bool made, absl::StatusOr<index::TopicDefinition> topic, bool joined) {
  if (!waiting_topics_.contains(name)) return;  // stopped meanwhile
  if (absl::IsNotFound(topic.status()) && !made) {
    if (creation == Creation::kAsAllowed && !context_.options.auto_create_topics) {
      return AnswerTopic(name, errors::TopicNotFound(absl::StrCat("topic '", name, "' does not exist")));
    }
    index::TopicDefinition wanted;
    wanted.name = name;
    wanted.queues = name.starts_with(index::kDeadLetterPrefix) ? 1 : context_.options.auto_create_queues;
    context_.env.definitions.EnsureTopic(
        std::move(wanted),
        context_.OnShard<absl::StatusOr<index::TopicDefinition>>([this, name, creation](absl::StatusOr<index::TopicDefinition> ensured) {
          OnTopic(name, creation, /*made=*/true, std::move(ensured));
        }));
    return;
  }
  if (!topic.ok()) return AnswerTopic(name, StoreError("topic", name, topic.status()));
  // A dead-letter topic may be older than this shard.
  if (!HeldHere(*topic) && creation == Creation::kAlways && !joined) return JoinTopic(name, *std::move(topic));
  if (!HeldHere(*topic)) {
    return AnswerTopic(name, errors::TopicNotFound(absl::StrCat("topic '", name, "' is not on shard '", context_.options.name, "'")));
  }
  if (made) FULMAR_LOG(kInfo, "topic_created", {{"topic", name}, {"queues", topic->queues}});
  Copy(*topic, [this, name](const absl::Status& status) { AnswerTopic(name, status); });
}

// Two shards that join at once: one of them may be overwritten, and joins when it is asked again.
void AutoCreate::JoinTopic(const std::string& name, index::TopicDefinition topic) {
  topic.shards.push_back(context_.options.name);
  context_.env.definitions.UpdateTopic(
      std::move(topic), context_.OnShard<absl::StatusOr<index::TopicDefinition>>([this, name](absl::StatusOr<index::TopicDefinition> updated) {
        OnTopic(name, Creation::kAlways, /*made=*/true, std::move(updated), /*joined=*/true);
      }));
}

void AutoCreate::AnswerTopic(const std::string& name, const absl::Status& status) {
  auto it = waiting_topics_.find(name);
  if (it == waiting_topics_.end()) return;
  std::vector<UseTopic> waiting = std::move(it->second);
  waiting_topics_.erase(it);
  for (UseTopic& use : waiting) {
    Topic* topic = status.ok() ? context_.state.FindTopic(name) : nullptr;
    if (topic != nullptr && !topic->deleting) {
      std::move(use)(topic);
    } else {
      std::move(use)(status.ok() ? errors::TopicNotFound(absl::StrCat("topic '", name, "' was deleted")) : status);
    }
  }
}

void AutoCreate::WithGroup(const std::string& name, UseGroup use) {
  if (Group* group = context_.state.FindGroup(name); group != nullptr) {
    if (group->deleting) {
      return std::move(use)(errors::ConsumerGroupNotFound(absl::StrCat("group '", name, "' is being deleted")));
    }
    return std::move(use)(group);
  }
  if (absl::Status status = index::CheckGroupName(name); !status.ok()) return std::move(use)(status);
  std::vector<UseGroup>& waiting = waiting_groups_[name];
  waiting.push_back(std::move(use));
  if (waiting.size() > 1) return;
  context_.env.definitions.GetGroup(
      name, context_.OnShard<absl::StatusOr<index::GroupDefinition>>(
                [this, name](absl::StatusOr<index::GroupDefinition> group) { OnGroup(name, /*made=*/false, std::move(group)); }));
}

void AutoCreate::OnGroup(const std::string& name, bool made, absl::StatusOr<index::GroupDefinition> group) {
  if (!waiting_groups_.contains(name)) return;
  if (absl::IsNotFound(group.status()) && !made) {
    if (!context_.options.auto_create_groups) {
      return AnswerGroup(name, errors::ConsumerGroupNotFound(absl::StrCat("group '", name, "' does not exist")));
    }
    index::GroupDefinition wanted;
    wanted.name = name;
    context_.env.definitions.EnsureGroup(
        std::move(wanted), context_.OnShard<absl::StatusOr<index::GroupDefinition>>(
                               [this, name](absl::StatusOr<index::GroupDefinition> ensured) { OnGroup(name, /*made=*/true, std::move(ensured)); }));
    return;
  }
  if (!group.ok()) return AnswerGroup(name, StoreError("group", name, group.status()));
  if (made) FULMAR_LOG(kInfo, "group_created", {{"group", name}});
  Copy(*group, [this, name](const absl::Status& status) { AnswerGroup(name, status); });
}

void AutoCreate::AnswerGroup(const std::string& name, const absl::Status& status) {
  auto it = waiting_groups_.find(name);
  if (it == waiting_groups_.end()) return;
  std::vector<UseGroup> waiting = std::move(it->second);
  waiting_groups_.erase(it);
  for (UseGroup& use : waiting) {
    Group* group = status.ok() ? context_.state.FindGroup(name) : nullptr;
    if (group != nullptr && !group->deleting) {
      std::move(use)(group);
    } else {
      std::move(use)(status.ok() ? errors::ConsumerGroupNotFound(absl::StrCat("group '", name, "' was deleted")) : status);
    }
  }
}

void AutoCreate::OnEvent(index::DefinitionEvent event) {
  if (watch_ == nullptr) return;  // an event of before Stop()
  switch (event.kind) {
    case index::DefinitionEvent::kTopic: {
      const Topic* known = context_.state.FindTopic(event.topic.name);
      if (!HeldHere(event.topic) || (known != nullptr && known->definition.version >= event.topic.version)) return;
      return Copy(event.topic, [](const absl::Status&) {});
    }
    case index::DefinitionEvent::kTopicDeleted: return DeleteTopic(event.topic);
    case index::DefinitionEvent::kGroup: {
      const Group* known = context_.state.FindGroup(event.group.name);
      if (known != nullptr && known->definition.version >= event.group.version) return;
      return Copy(event.group, [](const absl::Status&) {});
    }
    case index::DefinitionEvent::kGroupDeleted: return DeleteGroup(event.group);
  }
}

// From here on nothing is appended to the topic, so that its last message stands before its deletion in the log.
void AutoCreate::DeleteTopic(const index::TopicDefinition& gone) {
  Topic* topic = context_.state.FindTopic(gone.name);
  const bool known = topic != nullptr && topic->definition.topic_id == gone.topic_id;
  const auto coming = coming_topics_.find(gone.name);
  if (coming != coming_topics_.end() && coming->second.version <= gone.version) {
    coming->second.deleted = true;  // its copy is applied before the record that is appended now
  } else if (!known || topic->deleting) {
    return;
  }
  if (known) topic->deleting = true;
  AppendDeletion(log::RecordType::kTopicDeleted, EncodeTopicDeleted({gone.topic_id, gone.version, gone.name}));
}

// The authority does not say it twice: what the log refuses is repeated as long as this replica leads. The next leader hears of every
// deletion again when it begins to watch.
void AutoCreate::AppendDeletion(log::RecordType type, const std::string& body) {
  context_.log->Append(type, body, log::Durability::kSync, log::AppendClass::kInternal,
                       [this, type, body, term = context_.term](const absl::StatusOr<log::RecordPlace>& place) {
                         if (place.ok()) return;
                         FULMAR_LOG_EVERY(absl::Seconds(10), kWarn, "deletion_not_logged",
                                          {{"shard", context_.options.name}, {"error", place.status()}});
                         context_.After(kDeletionRetry, [this, type, body, term] {
                           if (watch_ != nullptr && context_.term == term) AppendDeletion(type, body);
                         });
                       });
}

void AutoCreate::DeleteGroup(const index::GroupDefinition& gone) {
  Group* group = context_.state.FindGroup(gone.name);
  // A group that was made again has a higher version than the deletion.
  const bool known = group != nullptr && group->definition.version <= gone.version;
  const auto coming = coming_groups_.find(gone.name);
  if (coming != coming_groups_.end()) {
    if (coming->second.version > gone.version) return;
    coming->second.deleted = true;
  } else if (!known || group->deleting) {
    return;
  }
  if (known) group->deleting = true;
  AppendDeletion(log::RecordType::kGroupDeleted, EncodeGroupDeleted({gone.version, gone.name}));
}

void AutoCreate::Copy(const index::TopicDefinition& topic, absl::AnyInvocable<void(absl::Status) &&> done) {
  Topic* known = context_.state.FindTopic(topic.name);
  if (known != nullptr && known->definition == topic && !known->deleting) return std::move(done)(absl::OkStatus());
  // Made again under its name: the copy of the new one also deletes the old one.
  if (known != nullptr && known->definition.topic_id != topic.topic_id) known->deleting = true;
  Coming& coming = coming_topics_[topic.name];
  ++coming.copies;
  if (topic.version > coming.version) coming = {coming.copies, topic.version, false};
  context_.log->Append(log::RecordType::kTopicCopy, EncodeTopicCopy(topic), log::Durability::kSync, log::AppendClass::kInternal,
                       [this, name = topic.name, done = std::move(done)](const absl::StatusOr<log::RecordPlace>& place) mutable {
                         if (Topic* made = context_.state.FindTopic(name); Arrived(coming_topics_, name) && made != nullptr) made->deleting = true;
                         std::move(done)(place.ok() ? absl::OkStatus() : AppendError(place.status()));
                       });
}

void AutoCreate::Copy(const index::GroupDefinition& group, absl::AnyInvocable<void(absl::Status) &&> done) {
  const Group* known = context_.state.FindGroup(group.name);
  if (known != nullptr && known->definition == group && !known->deleting) return std::move(done)(absl::OkStatus());
  Coming& coming = coming_groups_[group.name];
  ++coming.copies;
  if (group.version > coming.version) coming = {coming.copies, group.version, false};
  context_.log->Append(log::RecordType::kGroupCopy, EncodeGroupCopy(group), log::Durability::kSync, log::AppendClass::kInternal,
                       [this, name = group.name, done = std::move(done)](const absl::StatusOr<log::RecordPlace>& place) mutable {
                         if (Group* made = context_.state.FindGroup(name); Arrived(coming_groups_, name) && made != nullptr) made->deleting = true;
                         std::move(done)(place.ok() ? absl::OkStatus() : AppendError(place.status()));
                       });
}

// True when what was copied is to be deleted: the record that says so is on its way behind the copy.
bool AutoCreate::Arrived(absl::btree_map<std::string, Coming>& coming, const std::string& name) {
  const auto it = coming.find(name);
  const bool deleted = it->second.deleted;
  if (--it->second.copies == 0) coming.erase(it);
  return deleted;
}

bool AutoCreate::HeldHere(const index::TopicDefinition& topic) const {
  return topic.shards.empty() || std::find(topic.shards.begin(), topic.shards.end(), context_.options.name) != topic.shards.end();
}

}  // namespace fulmar::broker
