#ifndef FULMAR_OFFSET_OFFSET_CLIENT_H_
#define FULMAR_OFFSET_OFFSET_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "services/common/executor.h"
#include "services/index/ports.h"

namespace grpc {
class Channel;
}
namespace fulmar::common {
class RpcClients;
}

namespace fulmar::offset {

struct OffsetClientOptions {
  absl::Duration call_timeout = absl::Seconds(5);  // then DeadlineExceeded
  absl::Duration min_backoff = absl::Milliseconds(100);  // before a watch that ended is opened again; doubles, without luck,
  absl::Duration max_backoff = absl::Seconds(3);         // up to this
};

// The offset service at the other end of a channel. Errors are those of OffsetCore, with their v2 codes; Unavailable or
// DeadlineExceeded when it cannot be reached. A call may have been carried out although its answer was lost: all of them may
// be repeated.
// Owns:    its calls; the destructor cancels them and waits until their callbacks have run. Watches must be gone by then.
// Borrows: `timers`, where watches wait before they reconnect.
// Threads: any, except the destructor: not the data plane's. Callbacks and events run on the data-plane thread behind `clients` and must not
//          block.
class OffsetClient final : public index::ProgressStore, public index::DefinitionStore {
 public:
  OffsetClient(common::RpcClients& clients, std::shared_ptr<grpc::Channel> channel, common::Executor& timers, OffsetClientOptions options = {});
  ~OffsetClient() override;

  void Claim(std::string shard, Term term, index::Done<std::vector<index::QueueProgress>> done) override;
  void Write(std::string shard, Term term, std::vector<index::QueueProgress> entries, index::DoneStatus done) override;

  void EnsureTopic(index::TopicDefinition topic, index::Done<index::TopicDefinition> done) override;
  void UpdateTopic(index::TopicDefinition topic, index::Done<index::TopicDefinition> done) override;
  void DeleteTopic(std::string name, index::DoneStatus done) override;
  void GetTopic(std::string name, index::Done<index::TopicDefinition> done) override;
  void ListTopics(index::Done<std::vector<index::TopicDefinition>> done) override;
  void EnsureGroup(index::GroupDefinition group, index::Done<index::GroupDefinition> done) override;
  void UpdateGroup(index::GroupDefinition group, index::Done<index::GroupDefinition> done) override;
  void DeleteGroup(std::string name, index::DoneStatus done) override;
  void GetGroup(std::string name, index::Done<index::GroupDefinition> done) override;
  void ListGroups(index::Done<std::vector<index::GroupDefinition>> done) override;
  std::unique_ptr<Watch> WatchDefinitions(uint64_t since_version,
                                          absl::AnyInvocable<void(index::DefinitionEvent)> on_event) override;

 private:
  class Calls;
  class RemoteWatch;
  const OffsetClientOptions options_;
  common::Executor& timers_;
  const std::shared_ptr<Calls> calls_;
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_OFFSET_CLIENT_H_
