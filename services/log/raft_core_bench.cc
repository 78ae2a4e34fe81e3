// What the Raft core costs the shard thread per entry.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>

#include "services/log/raft_core.h"

namespace fulmar::log {
namespace {

std::unique_ptr<RaftCore> OpenSingle() {
  RaftStored stored;
  stored.conf_state.voters = {1};
  auto core = RaftCore::Open({}, stored);
  if (!core.ok() || !(*core)->Campaign().ok()) std::abort();
  const RaftReady elected = (*core)->TakeReady();
  (*core)->OnPersistReady(elected.number);
  (*core)->AdvanceApplied((*core)->TakeReady().committed.back().index);
  return *std::move(core);
}

// Propose, write, durable, commit, apply: one entry at a time through a single voter.
void BM_SingleVoterEntry(benchmark::State& state) {
  const std::unique_ptr<RaftCore> core = OpenSingle();
  int64_t since_compaction = 0;
  for (auto _ : state) {
    if (!core->Propose({.payload_bytes = 1000}).ok()) std::abort();
    const RaftReady write = core->TakeReady();
    core->OnPersistReady(write.number);
    if (!core->HasReady()) std::abort();
    const RaftReady commit = core->TakeReady();
    core->AdvanceApplied(commit.committed.back().index);
    if (++since_compaction == 100'000) {
      core->Compact(commit.committed.back().index);
      since_compaction = 0;
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_SingleVoterEntry);

void BM_HasReadyWhenIdle(benchmark::State& state) {
  const std::unique_ptr<RaftCore> core = OpenSingle();
  for (auto _ : state) benchmark::DoNotOptimize(core->HasReady());
}
BENCHMARK(BM_HasReadyWhenIdle);

void BM_Open(benchmark::State& state) {
  RaftStored stored;
  stored.conf_state.voters = {1};
  stored.hard_state.term = {1};
  for (int64_t index = 1; index <= state.range(0); ++index) {
    stored.entries.push_back({{index}, {1}, RaftEntryKind::kPayload, {.payload_bytes = 1000}, ""});
  }
  for (auto _ : state) benchmark::DoNotOptimize(RaftCore::Open({}, stored));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Open)->Arg(100'000);

}  // namespace
}  // namespace fulmar::log
