// CPU of the shard per message: send, and receive + acknowledge, with index and files in memory.
// What it leaves out: gRPC, RocksDB (about 1 us per message, index/rocks_kv_bench.cc), the disk. Run: ninja shard_bench && bin/bench/shard_bench
#include <benchmark/benchmark.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/broker/shard_world.h"
#include "services/common/log.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

constexpr int kBatch = 32;

std::vector<std::string> Bodies() { return std::vector<std::string>(kBatch, std::string(1024, 'x')); }

struct BenchWorld : ShardWorld {
  BenchWorld() : ShardWorld(1) {
    common::SetLogLevel(common::LogLevel::kError);
    options.log.segment_bytes = 64 << 20;
    Start();
  }
};

void SendBatches(benchmark::State& state) {
  BenchWorld world;
  const SendCommand command = ShardWorld::MakeSend("t", Bodies(), "");
  for (auto _ : state) {
    for (int i = 0; i < 4; ++i) {
      SendCommand copy = command;
      world.shard->Send(std::move(copy), [](const auto& result) { FULMAR_CHECK(result.ok()); });
    }
    world.scheduler.RunUntilIdle();
    if (state.iterations() % 256 == 0) {  // the memory of a MemKv and of SimFiles is no part of the measurement
      state.PauseTiming();
      world.kv->FlushAsync();
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch * 4);
}
BENCHMARK(SendBatches);

void SendReceiveAck(benchmark::State& state) {
  BenchWorld world;
  const SendCommand command = ShardWorld::MakeSend("t", Bodies(), "");
  for (auto _ : state) {
    SendCommand copy = command;
    world.shard->Send(std::move(copy), [](const auto& result) { FULMAR_CHECK(result.ok()); });
    world.shard->Receive(world.MakeReceive("t", "g"), [&world](absl::StatusOr<std::vector<Delivered>> received) {
      if (!received.ok()) return;
      for (Delivered& message : *received) {  // one call each, as clients do
        world.shard->Ack({.client = {.client_id = "consumer"},
                          .topic = "t",
                          .group = "g",
                          .entries = {{std::move(message.receipt_handle), ""}}},
                         [](const absl::StatusOr<std::vector<absl::Status>>& statuses) { FULMAR_CHECK(statuses.ok() && statuses->front().ok()); });
      }
    });
    world.scheduler.RunUntilIdle();
    if (state.iterations() % 256 == 0) {
      state.PauseTiming();
      world.scheduler.RunFor(absl::Milliseconds(100));
      world.kv->FlushAsync();
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(SendReceiveAck);

}  // namespace
}  // namespace fulmar::broker
