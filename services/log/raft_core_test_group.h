#ifndef FULMAR_LOG_RAFT_CORE_TEST_GROUP_H_
#define FULMAR_LOG_RAFT_CORE_TEST_GROUP_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "services/log/raft_core.h"

namespace fulmar::log {

// One replica as its owner would run it: a RaftCore, a disk in memory, a state machine that remembers what it applied.
// Time, delivery and the moment of durability are the test's.
class TestReplica {
 public:
  struct Write {
    uint64_t number = 0;
    std::optional<RaftHardState> hard_state;
    std::optional<RaftSnapshot> snapshot;
    std::vector<RaftEntry> entries;
  };
  // What survives a crash.
  struct Disk {
    RaftStored stored;  // conf_state: as of `applied`
    LogIndex applied;
    std::vector<RaftEntry> applied_entries;
  };

  TestReplica(RaftOptions options, std::vector<uint64_t> voters);

  RaftCore& core() { return *core_; }
  const Disk& disk() const { return disk_; }
  // The `extra` of every applied payload entry.
  std::vector<uint64_t> AppliedValues() const;

  // Takes every Ready: queues writes, applies what is committed, returns messages.
  std::vector<RaftMessage> Work();
  // Makes the oldest `count` queued writes durable.
  void Persist(size_t count = SIZE_MAX);
  size_t unpersisted() const { return writes_.size(); }

  // Loses what is not durable and starts from the disk.
  void Crash(uint64_t election_seed);
  void Compact(LogIndex index);

  absl::StatusOr<RaftCore::Place> Propose(uint64_t value);

  // What the last Readys said, for assertions; the test clears it.
  std::vector<RaftReady> seen;
  // Where a peer's snapshot comes from; set by the group.
  std::function<const Disk&(LogIndex)> fetch_snapshot;

 private:
  void Open();
  void Store(const Write& write);
  void Apply(const RaftEntry& entry);

  RaftOptions options_;
  Disk disk_;
  std::deque<Write> writes_;
  std::unique_ptr<RaftCore> core_;
};

// Replicas 1..n on a network in memory. Delivery is in order unless the test takes messages out of `network`.
class TestGroup {
 public:
  explicit TestGroup(int replicas, std::function<void(RaftOptions&)> tune = {});

  TestReplica& operator[](uint64_t id) { return *replicas_.at(id); }
  TestReplica& AddReplica(uint64_t id);
  std::vector<uint64_t> ids() const;

  // Collects and delivers until nothing moves; persists everything at once. Cut replicas neither send nor receive.
  void Settle();
  void Tick(int ticks = 1);  // each: every replica ticks once, then Settle
  void Cut(uint64_t id) { cut_.push_back(id); }
  void Heal() { cut_.clear(); }
  // Makes `id` lead by its own campaign.
  void Elect(uint64_t id);
  // The one leader of the highest term; 0: none.
  uint64_t Leader();

  // Offers a snapshot of the replica's own state to whoever wants one.
  bool serve_snapshots = true;
  std::deque<std::pair<uint64_t, RaftMessage>> network;  // with the sender

 private:
  bool IsCut(uint64_t id) const;
  void Collect(uint64_t id);

  std::map<uint64_t, std::unique_ptr<TestReplica>> replicas_;
  std::function<void(RaftOptions&)> tune_;
  std::vector<uint64_t> voters_;
  std::vector<uint64_t> cut_;
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_RAFT_CORE_TEST_GROUP_H_
