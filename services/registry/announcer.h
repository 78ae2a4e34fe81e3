#ifndef FULMAR_REGISTRY_ANNOUNCER_H_
#define FULMAR_REGISTRY_ANNOUNCER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "services/common/executor.h"
#include "services/index/ports.h"
#include "services/registry/route_table.h"

namespace fulmar::registry {

// One registry as an announcing broker sees it. Calls come from the announcer's executor.
class AnnounceSink {
 public:
  virtual ~AnnounceSink() = default;
  // True once after each (re)connection: the other side knows nothing, the next announcement must be whole.
  virtual bool TakeFresh() = 0;
  // Best effort; a lost announcement is made good by the next one on a fresh connection.
  virtual void Send(const Announcement& announcement) = 0;
  // Good-bye; nothing follows.
  virtual void Leave(const std::string& shard, uint64_t replica) = 0;
};

// The registry of the same process.
class LocalAnnounceSink : public AnnounceSink {
 public:
  explicit LocalAnnounceSink(RouteTable& table) : table_(table) {}
  bool TakeFresh() override { return std::exchange(fresh_, false); }
  void Send(const Announcement& announcement) override { table_.Announce(announcement); }
  void Leave(const std::string& shard, uint64_t replica) override { table_.Withdraw(shard, replica); }

 private:
  RouteTable& table_;
  bool fresh_ = true;
};

// Tells every registry, every period and at once on a change, what this broker is. A full period without any announcement
// (process frozen, network cut) lets the lease run out and the registry stops naming the broker.
// Owns:    the watch of definitions. Borrows: executor, definitions, the status source; all outlive it.
// Threads: created, started and stopped from any thread; works on `executor`.
class Announcer {
 public:
  struct Options {
    std::string shard;
    uint64_t replica = 1;
    Endpoint endpoint;
    std::string version;
    absl::Duration period = absl::Seconds(2);
    absl::Duration lease = absl::Seconds(10);
  };
  struct State {
    uint64_t term = 0;
    bool leader = false;
    bool serving = false;
  };
  // Asks the shard; the answer may come on any thread.
  using AskState = absl::AnyInvocable<void(absl::AnyInvocable<void(State) &&>)>;

  Announcer(Options options, common::Executor& executor, AskState ask_state, index::DefinitionStore& definitions,
            std::vector<std::unique_ptr<AnnounceSink>> sinks);
  ~Announcer();

  void Start();
  // Says good-bye to every registry; returns at once, `done` runs on the executor. Nothing is announced after it.
  void Stop(absl::AnyInvocable<void() &&> done);

 private:
  struct Shared;  // outlives the object inside callbacks under way
  std::shared_ptr<Shared> shared_;
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ANNOUNCER_H_
