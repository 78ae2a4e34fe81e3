#ifndef FULMAR_INDEX_PORTS_H_
#define FULMAR_INDEX_PORTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/ids.h"
#include "services/index/definitions.h"
#include "services/index/progress.h"

// What a shard needs of the offset service. In process: adapters over offset::OffsetCore; else clients of fulmar.offset.v1.
// Threads: any may call; callbacks run exactly once, on any thread, never inside the call.
namespace fulmar::index {

template <class T>
using Done = absl::AnyInvocable<void(absl::StatusOr<T>) &&>;
using DoneStatus = absl::AnyInvocable<void(absl::Status) &&>;

class ProgressStore {
 public:
  virtual ~ProgressStore() = default;
  // Claims `shard` for `term` and returns its whole progress. Errors: FailedPrecondition (a higher term has claimed it),
  // Unavailable (retry).
  virtual void Claim(std::string shard, Term term, Done<std::vector<QueueProgress>> done) = 0;
  // Replaces the given entries; OK when durable. Errors as Claim.
  virtual void Write(std::string shard, Term term, std::vector<QueueProgress> entries, DoneStatus done) = 0;
};

struct DefinitionEvent {
  enum Kind { kTopic, kTopicDeleted, kGroup, kGroupDeleted } kind = kTopic;
  TopicDefinition topic;  // kTopic; for kTopicDeleted: name, id and version only
  GroupDefinition group;  // kGroup; for kGroupDeleted: name and version only
};

class DefinitionStore {
 public:
  virtual ~DefinitionStore() = default;
  // Makes it, or returns the one that exists. `topic.topic_id`, `version`, `created` are set by the store; empty `shards` means:
  // all shards the store knows. AlreadyExists never; compare the answer.
  virtual void EnsureTopic(TopicDefinition topic, Done<TopicDefinition> done) = 0;
  // Replaces the settings of an existing topic (queues may only grow). NotFound, InvalidArgument.
  virtual void UpdateTopic(TopicDefinition topic, Done<TopicDefinition> done) = 0;
  virtual void DeleteTopic(std::string name, DoneStatus done) = 0;
  virtual void GetTopic(std::string name, Done<TopicDefinition> done) = 0;
  virtual void ListTopics(Done<std::vector<TopicDefinition>> done) = 0;
  virtual void EnsureGroup(GroupDefinition group, Done<GroupDefinition> done) = 0;
  virtual void UpdateGroup(GroupDefinition group, Done<GroupDefinition> done) = 0;
  virtual void DeleteGroup(std::string name, DoneStatus done) = 0;
  virtual void GetGroup(std::string name, Done<GroupDefinition> done) = 0;
  virtual void ListGroups(Done<std::vector<GroupDefinition>> done) = 0;

  // First every definition that exists (and deletions since `since_version`), then each change, until the watch is destroyed;
  // `on_event` runs on any thread, one call at a time. A remote store reconnects by itself and repeats what may be missed.
  class Watch { public: virtual ~Watch() = default; };
  virtual std::unique_ptr<Watch> WatchDefinitions(uint64_t since_version, absl::AnyInvocable<void(DefinitionEvent)> on_event) = 0;
};

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_PORTS_H_
