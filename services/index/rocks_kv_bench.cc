// What a message costs on the shard thread: rocks_kv_bench, CPU column. Aim: at most 2 µs per message.
#include <memory>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "services/index/manual_executor.h"
#include "services/index/queue_index.h"
#include "services/index/rocks_kv.h"
#include "services/index/temp_dir.h"

namespace fulmar::index {
namespace {

// Entries of `messages` messages over 64 queues in one batch, with the counters of the queues that it touches and the applied
// point: what one Raft entry makes of the index.
void AppendEntry(KvStore& kv, int64_t messages, int64_t& next) {
  constexpr int kQueues = 64;
  KvBatch batch;
  for (int64_t i = 0; i < messages; ++i, ++next) {
    QueueIndex::Append(batch, {1, static_cast<int32_t>(next % kQueues)},
                       {.offset = next / kQueues, .position = {next * 1100}, .length = 1024, .store_time_ms = next});
  }
  for (int64_t i = 0; i < std::min<int64_t>(messages, kQueues); ++i) {
    QueueIndex::PutCounters(batch, {1, static_cast<int32_t>((next - 1 - i) % kQueues)}, {.next = next / kQueues}, LogPosition{next});
  }
  PutApplied(batch, {.index = {next}, .term = {1}, .position = {next * 1100}});
  kv.Write(batch);
}

void BM_AppendEntry(benchmark::State& state) {
  TempDir dir;
  ManualExecutor background;
  auto kv = RocksKv::Open({.dir = dir.path()}, background).value();
  int64_t next = 0;
  for (auto _ : state) {
    AppendEntry(*kv, state.range(0), next);
    if (kv->GetStats().overlay_bytes > 0) background.Run(/*timers=*/true);
  }
  state.SetItemsProcessed(next);
}
BENCHMARK(BM_AppendEntry)->Arg(1)->Arg(16)->Arg(64)->Arg(256);

void BM_ReadQueue(benchmark::State& state) {
  TempDir dir;
  ManualExecutor background;
  auto kv = RocksKv::Open({.dir = dir.path()}, background).value();
  int64_t next = 0;
  while (next < 1'000'000) AppendEntry(*kv, 64, next);
  kv->Flush().IgnoreError();
  const QueueIndex index(*kv);
  int64_t offset = 0;
  for (auto _ : state) {
    offset = (offset + 4241) % (next / 64 - 100);
    benchmark::DoNotOptimize(index.Read({1, 7}, offset, offset + 1000, static_cast<size_t>(state.range(0))));
  }
}
BENCHMARK(BM_ReadQueue)->Arg(1)->Arg(32);

void BM_GetApplied(benchmark::State& state) {
  TempDir dir;
  ManualExecutor background;
  auto kv = RocksKv::Open({.dir = dir.path()}, background).value();
  int64_t next = 0;
  while (next < 100'000) AppendEntry(*kv, 16, next);
  for (auto _ : state) benchmark::DoNotOptimize(ReadApplied(*kv));
}
BENCHMARK(BM_GetApplied);

}  // namespace
}  // namespace fulmar::index
