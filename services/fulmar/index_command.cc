#include "services/fulmar/index_command.h"

#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "services/common/status.h"
#include "services/fulmar/nodes.h"
#include "services/index/ports.h"

namespace fulmar {
namespace {

constexpr absl::Duration kLookPeriod = absl::Milliseconds(200);

// Stands where the offset service would: a shard applies its log without it.
class AbsentStores : public index::ProgressStore, public index::DefinitionStore {
 public:
  explicit AbsentStores(common::Executor& executor) : executor_(executor) {}

  void Claim(std::string, Term, index::Done<std::vector<index::QueueProgress>> done) override { Refuse(std::move(done)); }
  void Write(std::string, Term, std::vector<index::QueueProgress>, index::DoneStatus done) override { Refuse(std::move(done)); }
  void EnsureTopic(index::TopicDefinition, index::Done<index::TopicDefinition> done) override { Refuse(std::move(done)); }
  void UpdateTopic(index::TopicDefinition, index::Done<index::TopicDefinition> done) override { Refuse(std::move(done)); }
  void DeleteTopic(std::string, index::DoneStatus done) override { Refuse(std::move(done)); }
  void GetTopic(std::string, index::Done<index::TopicDefinition> done) override { Refuse(std::move(done)); }
  void ListTopics(index::Done<std::vector<index::TopicDefinition>> done) override { Refuse(std::move(done)); }
  void EnsureGroup(index::GroupDefinition, index::Done<index::GroupDefinition> done) override { Refuse(std::move(done)); }
  void UpdateGroup(index::GroupDefinition, index::Done<index::GroupDefinition> done) override { Refuse(std::move(done)); }
  void DeleteGroup(std::string, index::DoneStatus done) override { Refuse(std::move(done)); }
  void GetGroup(std::string, index::Done<index::GroupDefinition> done) override { Refuse(std::move(done)); }
  void ListGroups(index::Done<std::vector<index::GroupDefinition>> done) override { Refuse(std::move(done)); }
  std::unique_ptr<Watch> WatchDefinitions(uint64_t, absl::AnyInvocable<void(index::DefinitionEvent)>) override {
    return std::make_unique<Watch>();
  }

 private:
  template <class Callback>
  void Refuse(Callback done) {
    executor_.Post([done = std::move(done)]() mutable { std::move(done)(absl::UnavailableError("there is no offset service here")); });
  }
  common::Executor& executor_;
};

// Calls `ask` for the log's figures until everything that is in the log is applied; prints how far it is.
template <class Ask>
absl::Status WaitUntilApplied(const char* what, Ask ask) {
  log::LogStats last;
  for (;;) {
    absl::Notification answered;
    absl::StatusOr<log::LogStats> stats;
    ask([&](absl::StatusOr<log::LogStats> answer) {
      stats = std::move(answer);
      answered.Notify();
    });
    answered.WaitForNotification();
    FULMAR_RETURN_IF_ERROR(stats.status());
    if (!stats->fault.ok()) return stats->fault;
    if (stats->applied != last.applied) {
      std::cerr << what << ": applied " << stats->applied.value << " of " << stats->last_index.value << " entries\n";
    }
    if (stats->leader && stats->applied == stats->last_index) return absl::OkStatus();
    last = *stats;
    absl::Notification().WaitForNotificationWithTimeout(kLookPeriod);
  }
}

absl::Status RebuildOffset(const ProcessOptions& options, Machine& machine) {
  FULMAR_RETURN_IF_ERROR(index::RocksKv::Remove(OffsetIndexOptions(options).dir));
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<OffsetNode> node, OffsetNode::Open(options, machine));
  node->Start();
  const absl::Status applied = WaitUntilApplied("offset service", [&](auto answer) {
    node->core().GetStatus([answer = std::move(answer)](offset::OffsetStatus status) mutable { answer(std::move(status.log)); });
  });
  node->Stop();
  return applied;
}

absl::Status RebuildBroker(const ProcessOptions& options, Machine& machine) {
  FULMAR_RETURN_IF_ERROR(index::RocksKv::Remove(BrokerIndexOptions(options).dir));
  common::ThreadExecutor control("control");
  AbsentStores absent(control);
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<BrokerNode> node, BrokerNode::Open(options, machine, absent, absent));
  node->Start();
  const absl::Status applied = WaitUntilApplied("broker", [&](auto answer) {
    node->shard().Status([answer = std::move(answer)](absl::StatusOr<broker::ShardStatus> status) mutable {
      if (!status.ok()) return answer(status.status());
      answer(std::move(status->log));
    });
  });
  node->Stop();
  control.Stop();
  return applied;
}

}  // namespace

absl::Status RebuildIndexes(const ProcessOptions& options) {
  Machine machine;
  const DataDirs dirs(options.server.data);
  FULMAR_ASSIGN_OR_RETURN(const bool has_offset, machine.files.Exists(dirs.offset_log));
  FULMAR_ASSIGN_OR_RETURN(const bool has_broker, machine.files.Exists(dirs.broker_log));
  if (!has_offset && !has_broker) {
    return absl::NotFoundError(absl::StrCat("no log below ", options.server.data, "; name the data folder with --data"));
  }
  if (has_offset) FULMAR_RETURN_IF_ERROR(Annotate(RebuildOffset(options, machine), "offset service"));
  if (has_broker) FULMAR_RETURN_IF_ERROR(Annotate(RebuildBroker(options, machine), "broker"));
  std::cerr << "done\n";
  return absl::OkStatus();
}

}  // namespace fulmar
