#include "services/log/raft_core_test_group.h"

#include <algorithm>
#include <utility>

#include "services/common/status.h"

namespace fulmar::log {

TestReplica::TestReplica(RaftOptions options, std::vector<uint64_t> voters) : options_(options) {
  disk_.stored.conf_state.voters = std::move(voters);
  Open();
}

void TestReplica::Open() {
  options_.applied = disk_.applied;
  absl::StatusOr<std::unique_ptr<RaftCore>> core = RaftCore::Open(options_, disk_.stored);
  FULMAR_CHECK(core.ok(), core.status().ToString());
  core_ = *std::move(core);
}

std::vector<uint64_t> TestReplica::AppliedValues() const {
  std::vector<uint64_t> values;
  for (const RaftEntry& entry : disk_.applied_entries) {
    if (entry.kind == RaftEntryKind::kPayload) values.push_back(entry.handle.extra);
  }
  return values;
}

std::vector<RaftMessage> TestReplica::Work() {
  std::vector<RaftMessage> messages;
  while (core_->HasReady()) {
    RaftReady ready = core_->TakeReady();
    if (ready.must_persist) writes_.push_back({ready.number, ready.hard_state, ready.snapshot, ready.entries});
    for (const RaftEntry& entry : ready.committed) Apply(entry);
    std::move(ready.messages.begin(), ready.messages.end(), std::back_inserter(messages));
    ready.messages.clear();
    seen.push_back(std::move(ready));
  }
  return messages;
}

void TestReplica::Apply(const RaftEntry& entry) {
  FULMAR_CHECK(entry.index.value == disk_.applied.value + 1, "entries are applied in order, each once");
  disk_.applied = entry.index;
  disk_.applied_entries.push_back(entry);
  if (entry.kind == RaftEntryKind::kConfChange) {
    absl::StatusOr<RaftConfState> conf_state = core_->ApplyConfChange(entry.conf_change);
    if (conf_state.ok()) disk_.stored.conf_state = *std::move(conf_state);
  }
  core_->AdvanceApplied(entry.index);
}

void TestReplica::Persist(size_t count) {
  for (; count > 0 && !writes_.empty(); --count) {
    const Write write = std::move(writes_.front());
    writes_.pop_front();
    Store(write);
    core_->OnPersistReady(write.number);
    if (write.snapshot) core_->AdvanceApplied(write.snapshot->index);
  }
}

void TestReplica::Store(const Write& write) {
  RaftStored& stored = disk_.stored;
  if (write.hard_state) stored.hard_state = *write.hard_state;
  stored.hard_state.commit = {};  // as our log does: found again after a start
  if (write.snapshot) {
    const Disk& source = fetch_snapshot(write.snapshot->index);
    stored.compacted = write.snapshot->index;
    stored.compacted_term = write.snapshot->term;
    stored.conf_state = write.snapshot->conf_state;
    stored.entries.clear();
    disk_.applied = write.snapshot->index;
    disk_.applied_entries.assign(source.applied_entries.begin(),
                                 source.applied_entries.begin() + write.snapshot->index.value);
  }
  if (write.entries.empty()) return;
  const int64_t keep = write.entries.front().index.value - stored.compacted.value - 1;
  FULMAR_CHECK(keep >= 0 && keep <= static_cast<int64_t>(stored.entries.size()), "a gap on disk");
  stored.entries.resize(keep);
  stored.entries.insert(stored.entries.end(), write.entries.begin(), write.entries.end());
}

void TestReplica::Crash(uint64_t election_seed) {
  writes_.clear();
  options_.election_seed = election_seed;
  core_.reset();
  Open();
}

void TestReplica::Compact(LogIndex index) {
  RaftStored& stored = disk_.stored;
  if (index <= stored.compacted) return;
  const auto end = stored.entries.begin() + (index.value - stored.compacted.value);
  stored.compacted_term = std::prev(end)->term;
  stored.entries.erase(stored.entries.begin(), end);
  stored.compacted = index;
  core_->Compact(index);
}

absl::StatusOr<RaftCore::Place> TestReplica::Propose(uint64_t value) {
  return core_->Propose({.payload_bytes = 100, .payload_crc = 7, .extra = value});
}

TestGroup::TestGroup(int replicas, std::function<void(RaftOptions&)> tune) : tune_(std::move(tune)) {
  for (int id = 1; id <= replicas; ++id) voters_.push_back(id);
  for (uint64_t id : std::vector<uint64_t>(voters_)) AddReplica(id);
}

TestReplica& TestGroup::AddReplica(uint64_t id) {
  RaftOptions options{.node_id = id, .election_seed = 1000 + id};
  if (tune_) tune_(options);
  auto& replica = replicas_[id] = std::make_unique<TestReplica>(options, voters_);
  replica->fetch_snapshot = [this, id](LogIndex index) -> const TestReplica::Disk& {
    for (const auto& [other, source] : replicas_) {
      if (other != id && source->disk().applied >= index) return source->disk();
    }
    FULMAR_CHECK(false, "nobody has the snapshot");
    return replicas_.begin()->second->disk();
  };
  return *replica;
}

std::vector<uint64_t> TestGroup::ids() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, replica] : replicas_) ids.push_back(id);
  return ids;
}

bool TestGroup::IsCut(uint64_t id) const { return std::count(cut_.begin(), cut_.end(), id) > 0; }

void TestGroup::Collect(uint64_t id) {
  TestReplica& replica = *replicas_.at(id);
  const size_t before = replica.seen.size();
  for (RaftMessage& message : replica.Work()) network.emplace_back(id, std::move(message));
  for (size_t i = before; i < replica.seen.size(); ++i) {
    if (!serve_snapshots || replica.seen[i].snapshots_wanted.empty()) continue;
    replica.core().ProvideSnapshot(replica.disk().applied, replica.core().ConfState());
  }
}

void TestGroup::Settle() {
  for (bool moved = true; moved;) {
    moved = false;
    for (const auto& [id, replica] : replicas_) {
      Collect(id);
      moved |= replica->unpersisted() > 0;
      replica->Persist();
      moved |= replica->core().HasReady();
    }
    while (!network.empty()) {
      const auto [from, message] = std::move(network.front());
      network.pop_front();
      if (IsCut(from) || IsCut(message.to) || !replicas_.contains(message.to)) continue;
      replicas_.at(message.to)->core().Step(message.bytes).IgnoreError();
      if (message.snapshot_index.value != 0) replicas_.at(from)->core().ReportSnapshot(message.to, true);
      moved = true;
    }
  }
}

void TestGroup::Tick(int ticks) {
  for (; ticks > 0; --ticks) {
    for (const auto& [id, replica] : replicas_) replica->core().Tick();
    Settle();
  }
}

void TestGroup::Elect(uint64_t id) {
  FULMAR_CHECK(replicas_.at(id)->core().Campaign().ok(), "cannot campaign");
  Settle();
  FULMAR_CHECK(Leader() == id, "the campaign was lost");
}

uint64_t TestGroup::Leader() {
  uint64_t leader = 0;
  Term term;
  for (const auto& [id, replica] : replicas_) {
    const RaftStatus status = replica->core().Status();
    if (status.role != RaftRole::kLeader || status.term < term) continue;
    FULMAR_CHECK(status.term > term, "two leaders in one term");
    leader = id;
    term = status.term;
  }
  return leader;
}

}  // namespace fulmar::log
