#ifndef FULMAR_BROKER_SHARD_WORLD_H_
#define FULMAR_BROKER_SHARD_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "services/broker/shard.h"
#include "services/broker/shard_metrics.h"
#include "services/broker/shard_options.h"
#include "services/common/sim/seeded_random.h"
#include "services/common/sim/sim_clock.h"
#include "services/common/sim/sim_executor.h"
#include "services/common/sim/sim_files.h"
#include "services/index/mem_kv.h"
#include "services/index/ports.h"

namespace fulmar::broker {

// An offset service in memory, for tests: fences by term, and is away on demand. Answers through the executor.
class FakeProgressStore final : public index::ProgressStore {
 public:
  explicit FakeProgressStore(common::Executor& executor) : executor_(executor) {}
  void Claim(std::string shard, Term term, index::Done<std::vector<index::QueueProgress>> done) override;
  void Write(std::string shard, Term term, std::vector<index::QueueProgress> entries, index::DoneStatus done) override;

  using Key = std::tuple<std::string, uint32_t, int32_t>;
  std::map<Key, index::QueueProgress> kept;
  Term claimed;
  bool away = false;    // answers Unavailable
  bool silent = false;  // never answers
  int64_t writes = 0;
  size_t largest_write = 0;  // entries

 private:
  common::Executor& executor_;
};

// The authority of definitions in memory.
class FakeDefinitionStore final : public index::DefinitionStore {
 public:
  explicit FakeDefinitionStore(common::Executor& executor) : executor_(executor) {}
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
  std::unique_ptr<Watch> WatchDefinitions(uint64_t since_version, absl::AnyInvocable<void(index::DefinitionEvent)> on_event) override;

  std::map<std::string, index::TopicDefinition> topics;
  std::map<std::string, index::GroupDefinition> groups;
  bool away = false;
  bool hold = false;  // answers wait for Release()
  void Release();
  int64_t lookups = 0;

 private:
  struct Watcher;
  template <class T>
  void Answer(index::Done<T> done, absl::StatusOr<T> result);
  void Tell(index::DefinitionEvent event);

  common::Executor& executor_;
  uint64_t version_ = 0;
  uint32_t last_topic_id_ = 0;
  std::vector<index::DefinitionEvent> deletions_;
  std::vector<absl::AnyInvocable<void() &&>> held_;
  std::set<Watcher*> watchers_;
};

struct Counts : ShardObserver {
  void OnStored(std::string_view, uint64_t messages, uint64_t) override { stored += messages; }
  void OnDelivered(std::string_view, std::string_view, uint64_t messages, uint64_t, uint64_t again) override {
    delivered += messages;
    redelivered += again;
  }
  void OnAcknowledged(std::string_view, std::string_view, uint64_t messages) override { acknowledged += messages; }
  void OnDeadLettered(std::string_view, std::string_view) override { ++dead_lettered; }
  void OnLost(std::string_view, std::string_view, uint64_t messages) override { lost += messages; }
  void OnExpired(std::string_view, std::string_view, uint64_t messages) override { expired += messages; }
  void OnDeduplicated(std::string_view, uint64_t messages) override { deduplicated += messages; }
  void OnThrottled(Throttled) override { ++throttled; }
  void OnUnreadable() override { ++unreadable; }
  void OnSendRefused(uint64_t messages) override { refused += messages; }
  uint64_t stored = 0, delivered = 0, redelivered = 0, acknowledged = 0, dead_lettered = 0, lost = 0, expired = 0, throttled = 0, deduplicated = 0, unreadable = 0, refused = 0;
};

// One shard on simulated time, disk and stores, which outlive its process. Everything comes from one seed.
class ShardWorld {
 public:
  explicit ShardWorld(uint64_t seed);
  ~ShardWorld();

  // A process begins (and serves, unless the caller says not to wait).
  void Start(bool wait = true);
  absl::Status TryStart();
  // The process ends: with all that Stop() does; by kill -9; by power loss.
  void Stop();
  void Kill();
  void LosePower();

  // Commands that run the world until they are answered (at most `limit`).
  absl::StatusOr<std::vector<SendOutcome>> Send(const std::string& topic, const std::vector<std::string>& bodies, const std::string& tag = "");
  absl::StatusOr<std::vector<Delivered>> Receive(const std::string& topic, const std::string& group, ReceiveCommand command = {});
  absl::Status Ack(const std::string& topic, const std::string& group, const std::string& handle);
  absl::StatusOr<std::string> Change(const std::string& topic, const std::string& group, const std::string& handle, absl::Duration time);
  absl::Status Forward(const std::string& topic, const std::string& group, const std::string& handle);
  absl::StatusOr<GroupState> Group(const std::string& group);
  ShardStatus Status();
  // Everything that `group` can get now, acknowledged: bodies in the order of their coming.
  std::vector<std::string> Drain(const std::string& topic, const std::string& group);
  // Runs until `future` has a value.
  template <class T>
  absl::StatusOr<T> Await(const std::optional<absl::StatusOr<T>>& answer, absl::Duration limit = absl::Minutes(2)) {
    if (!scheduler.RunUntil([&] { return answer.has_value(); }, limit)) return absl::DeadlineExceededError("no answer");
    return *answer;
  }
  static std::string Body(const Delivered& delivered);
  static SendCommand MakeSend(const std::string& topic, const std::vector<std::string>& bodies, const std::string& tag);
  ReceiveCommand MakeReceive(const std::string& topic, const std::string& group, ReceiveCommand command = {});

  sim::SimClock clock;
  sim::SeededRandom random;
  sim::SimScheduler scheduler;
  sim::SimFiles files;
  common::Files* shard_files = &files;  // what the shard sees of them
  sim::SimExecutor stores_executor;
  std::unique_ptr<index::MemKv> kv;
  FakeProgressStore progress;
  FakeDefinitionStore definitions;
  Counts counts;
  ShardOptions options;
  std::unique_ptr<Shard> shard;

 private:
  struct Threads {
    explicit Threads(sim::SimScheduler& scheduler) : shard(scheduler, "shard"), writer(scheduler, "log-writer"), reader(scheduler, "cold-read") {}
    sim::SimExecutor shard, writer, reader;
  };
  void End();
  std::unique_ptr<Threads> threads_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SHARD_WORLD_H_
