// What the shard and the log pay for the seams: a post, a wake-up, a timer, a checksum.
#include <benchmark/benchmark.h>

#include <string>

#include "absl/synchronization/notification.h"
#include "services/common/crc32c.h"
#include "services/common/metrics.h"
#include "services/common/system_clock.h"
#include "services/common/thread_executor.h"

namespace fulmar::common {
namespace {

// Tasks posted back to back: the thread is awake, so no system call per task.
void BM_PostBurst(benchmark::State& state) {
  ThreadExecutor executor("bench");
  int64_t count = 0;
  for (auto _ : state) {
    absl::Notification done;
    for (int i = 0; i < 1000; ++i) executor.Post([&count] { ++count; });
    executor.Post([&done] { done.Notify(); });
    done.WaitForNotification();
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_PostBurst)->UseRealTime();

// Each task wakes the other thread: shard -> log-writer -> shard, the path of a lone synced append.
void BM_PingPong(benchmark::State& state) {
  ThreadExecutor shard("shard");
  ThreadExecutor writer("writer");
  for (auto _ : state) {
    absl::Notification done;
    shard.Post([&] { writer.Post([&] { shard.Post([&] { done.Notify(); }); }); });
    done.WaitForNotification();
  }
}
BENCHMARK(BM_PingPong)->UseRealTime();

void BM_SetAndCancelTimer(benchmark::State& state) {
  ThreadExecutor executor("bench");
  for (auto _ : state) {
    absl::Notification done;
    executor.Post([&] {
      for (int i = 0; i < 1000; ++i) executor.Cancel(executor.After(absl::Seconds(30), [] {}));
      done.Notify();
    });
    done.WaitForNotification();
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_SetAndCancelTimer)->UseRealTime();

void BM_Crc32c(benchmark::State& state) {
  const std::string data(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(Crc32c(data));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Crc32c)->Arg(64)->Arg(1024)->Arg(65536);

void BM_HistogramObserve(benchmark::State& state) {
  Histogram histogram(LatencyBuckets());
  double value = 0;
  for (auto _ : state) histogram.Observe(value += 0.00001);
}
BENCHMARK(BM_HistogramObserve);

void BM_SteadyClock(benchmark::State& state) {
  const SystemClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(clock.Steady());
}
BENCHMARK(BM_SteadyClock);

}  // namespace
}  // namespace fulmar::common
