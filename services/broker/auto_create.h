#ifndef FULMAR_BROKER_AUTO_CREATE_H_
#define FULMAR_BROKER_AUTO_CREATE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/any_invocable.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Keeps the shard's copies of topic and group definitions in step with their authority: a name that the shard does not know is asked
// for (and made, where the switch allows), a change or deletion that the authority reports is written into the log. Everybody who
// needs the same unknown name waits for one answer. Leader only.
class AutoCreate {
 public:
  explicit AutoCreate(ShardContext& context) : context_(context) {}

  // Follows the definitions from now on. The copies of this shard serve meanwhile.
  void Start();
  void Stop(const absl::Status& why);

  // Known: `use` runs at once. Unknown: when its copy is in the log. Errors: TopicNotFound, IllegalTopic, HaNotAvailable, TooManyRequests.
  using UseTopic = absl::AnyInvocable<void(absl::StatusOr<Topic*>) &&>;
  using UseGroup = absl::AnyInvocable<void(absl::StatusOr<Group*>) &&>;
  void WithTopic(const std::string& name, UseTopic use);
  void WithGroup(const std::string& name, UseGroup use);
  // The dead-letter topic of a group: one queue, made whatever the switch says.
  void WithDeadLetterTopic(const std::string& group, UseTopic use);
  // As the store holds it by now, also when the news of it has not come here yet; nothing is made. For those who look at what they just
  // made or changed. Without an answer of the store, what is known here. Errors: TopicNotFound or ConsumerGroupNotFound, the store's.
  void WithCurrentTopic(const std::string& name, UseTopic use);
  void WithCurrentGroup(const std::string& name, UseGroup use);

 private:
  enum class Creation { kAsAllowed, kAlways };
  void ResolveTopic(const std::string& name, Creation creation, UseTopic use);
  void OnTopic(const std::string& name, Creation creation, bool made, absl::StatusOr<index::TopicDefinition> topic, bool joined = false);
  void JoinTopic(const std::string& name, index::TopicDefinition topic);
  void OnGroup(const std::string& name, bool made, absl::StatusOr<index::GroupDefinition> group);
  void AnswerTopic(const std::string& name, const absl::Status& status);
  void AnswerGroup(const std::string& name, const absl::Status& status);
  void OnEvent(index::DefinitionEvent event);
  void AppendDeletion(log::RecordType type, const std::string& body);
  void DeleteTopic(const index::TopicDefinition& topic);
  void DeleteGroup(const index::GroupDefinition& group);
  void Copy(const index::TopicDefinition& topic, absl::AnyInvocable<void(absl::Status) &&> done);
  void Copy(const index::GroupDefinition& group, absl::AnyInvocable<void(absl::Status) &&> done);
  bool HeldHere(const index::TopicDefinition& topic) const;
  // Copies on their way through the log, by name: a deletion may come before they are applied.
  struct Coming {
    int copies = 0;
    uint64_t version = 0;  // of the newest
    bool deleted = false;  // and its deletion is on its way, too
  };
  static bool Arrived(absl::btree_map<std::string, Coming>& coming, const std::string& name);

  ShardContext& context_;
  std::unique_ptr<index::DefinitionStore::Watch> watch_;
  absl::btree_map<std::string, std::vector<UseTopic>> waiting_topics_;
  absl::btree_map<std::string, std::vector<UseGroup>> waiting_groups_;
  absl::btree_map<std::string, Coming> coming_topics_, coming_groups_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_AUTO_CREATE_H_
