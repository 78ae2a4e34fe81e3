// Records per second, latency and CPU of the log against real files: 1 KiB records, a number of them in flight, sync or async.
//   log_bench [--benchmark_filter=...]        FULMAR_BENCH_DIR: where the files go (default: the current folder)
// shard_us: CPU time of the shard thread per record, the driver's own included; cpu_us: of the whole process.

#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/common/posix_files.h"
#include "services/common/status.h"
#include "services/common/system_clock.h"
#include "services/common/system_random.h"
#include "services/common/thread_executor.h"
#include "services/log/replicated_log.h"

namespace fulmar::log {
namespace {

double ProcessCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double ThreadCpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

class NullMachine final : public StateMachine {
 public:
  void Apply(const AppliedEntry& entry) override { records += entry.records.size(); }
  void OnLeader(Term) override { leader.set_value(); }
  void OnFollower(Term) override {}
  void OnFault(const absl::Status& why) override { FULMAR_CHECK(false, why.ToString()); }
  void OnSpace(bool) override {}

  std::promise<void> leader;
  uint64_t records = 0;
};

// A log on real files with its three threads.
class BenchLog {
 public:
  explicit BenchLog(int64_t segment_bytes) {
    const char* base = std::getenv("FULMAR_BENCH_DIR");
    dir_ = absl::StrCat(base != nullptr ? base : ".", "/log_bench.tmp");
    std::filesystem::remove_all(dir_);
    Open(segment_bytes);
  }
  ~BenchLog() {
    Close();
    std::filesystem::remove_all(dir_);
  }

  void Open(int64_t segment_bytes) {
    LogOptions options;
    options.dir = dir_;
    options.shard_name = "bench";
    options.segment_bytes = segment_bytes;
    shard_ = std::make_unique<common::ThreadExecutor>("shard");
    writer_ = std::make_unique<common::ThreadExecutor>("log-writer");
    reader_ = std::make_unique<common::ThreadExecutor>("cold-read");
    machine_ = std::make_unique<NullMachine>();
    auto log = ReplicatedLog::Open(options, {files_, clock_, random_, *shard_, *writer_, *reader_}, *machine_, {});
    FULMAR_CHECK(log.ok(), log.status().ToString());
    log_ = *std::move(log);
  }
  void Start() {
    shard_->Post([this] { log_->Start(); });
    machine_->leader.get_future().wait();
  }
  void Close() {
    std::promise<void> stopped;
    shard_->Post([&] { log_->Stop([&] { stopped.set_value(); }); });
    stopped.get_future().wait();
    shard_->Stop();
    writer_->Stop();
    reader_->Stop();
    log_.reset();
  }

  // Until the spare segment is filled: it would take CPU and disk from what is measured.
  void AwaitSpare(int64_t segment_bytes) {
    uint64_t wanted = 0, have = 0;
    do {
      std::promise<void> looked;
      shard_->Post([&] {
        have = log_->Stats().disk_bytes;
        wanted = static_cast<uint64_t>(segment_bytes);
        for (const SegmentInfo& segment : log_->Segments()) wanted += segment.file_bytes;
        looked.set_value();
      });
      looked.get_future().wait();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    } while (have < wanted);
  }

  common::ThreadExecutor& shard() { return *shard_; }
  ReplicatedLog& log() { return *log_; }
  NullMachine& machine() { return *machine_; }

 private:
  std::string dir_;
  common::PosixFiles files_;
  common::SystemClock clock_;
  common::SystemRandom random_;
  std::unique_ptr<common::ThreadExecutor> shard_, writer_, reader_;
  std::unique_ptr<NullMachine> machine_;
  std::unique_ptr<ReplicatedLog> log_;
};

constexpr int64_t kSegmentBytes = 256 << 20;

using SteadyClock = std::chrono::steady_clock;

// Keeps `in_flight` appends under way until `count` are answered. Lives on the shard thread.
class Driver {
 public:
  Driver(BenchLog& log, int64_t count, int in_flight, Durability durability)
      : log_(log), left_(count), unanswered_(count), in_flight_(in_flight), durability_(durability) {
    latencies_us_.reserve(static_cast<size_t>(count));
  }

  void Run() {
    std::future<void> done = done_.get_future();
    log_.shard().Post([this] {
      cpu_seconds_ = ThreadCpuSeconds();
      for (int i = 0; i < in_flight_; ++i) Next();
    });
    done.wait();
  }
  double LatencyUs(double quantile) {
    std::sort(latencies_us_.begin(), latencies_us_.end());
    return latencies_us_[static_cast<size_t>(quantile * static_cast<double>(latencies_us_.size() - 1))];
  }
  double shard_cpu_seconds() const { return cpu_seconds_; }

 private:
  void Next() {
    if (left_-- <= 0) return;
    log_.log().Append(RecordType::kMessage, body_, durability_, AppendClass::kUser,
                      [this, begin = SteadyClock::now()](absl::StatusOr<RecordPlace> place) {
                        FULMAR_CHECK(place.ok(), place.status().ToString());
                        latencies_us_.push_back(
                            std::chrono::duration<double, std::micro>(SteadyClock::now() - begin).count());
                        Next();
                        if (--unanswered_ > 0) return;
                        cpu_seconds_ = ThreadCpuSeconds() - cpu_seconds_;
                        done_.set_value();
                      });
  }

  BenchLog& log_;
  int64_t left_, unanswered_;
  const int in_flight_;
  const Durability durability_;
  const std::string body_ = std::string(1024, 'x');
  std::vector<double> latencies_us_;
  double cpu_seconds_ = 0;
  std::promise<void> done_;
};

void Append(benchmark::State& state, Durability durability) {
  const int in_flight = static_cast<int>(state.range(0));
  const int64_t count = std::clamp<int64_t>(in_flight * int64_t{1000}, 3000, 100000);
  BenchLog log(kSegmentBytes);
  log.Start();
  log.AwaitSpare(kSegmentBytes);
  Driver(log, 20000, 256, durability).Run();  // fills the small first segment
  log.AwaitSpare(kSegmentBytes);
  for (auto _ : state) {
    Driver driver(log, count, in_flight, durability);
    const double cpu = ProcessCpuSeconds();
    const auto begin = SteadyClock::now();
    driver.Run();
    const double seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
    state.SetIterationTime(seconds);
    const double records = static_cast<double>(count);
    state.counters["records_per_s"] = records / seconds;
    state.counters["p50_us"] = driver.LatencyUs(0.5);
    state.counters["p99_us"] = driver.LatencyUs(0.99);
    state.counters["shard_us"] = driver.shard_cpu_seconds() / records * 1e6;
    state.counters["cpu_us"] = (ProcessCpuSeconds() - cpu) / records * 1e6;
  }
}
BENCHMARK_CAPTURE(Append, sync, Durability::kSync)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Append, async, Durability::kAsync)->Arg(1)->Arg(16)->Arg(64)->Arg(256)->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);

// A log of 1 GiB is opened and replayed from its beginning.
void Recover(benchmark::State& state) {
  constexpr int64_t kRecords = 1 << 20;
  BenchLog log(kSegmentBytes);
  log.Start();
  Driver(log, kRecords, 256, Durability::kSync).Run();
  log.Close();
  for (auto _ : state) {
    const auto begin = SteadyClock::now();
    log.Open(kSegmentBytes);
    const auto opened = SteadyClock::now();
    log.Start();  // leads when everything is applied
    const auto leads = SteadyClock::now();
    FULMAR_CHECK(log.machine().records == static_cast<uint64_t>(kRecords));
    state.counters["open_ms"] = std::chrono::duration<double, std::milli>(opened - begin).count();
    state.counters["replay_ms"] = std::chrono::duration<double, std::milli>(leads - opened).count();
    state.SetIterationTime(std::chrono::duration<double>(leads - begin).count());
  }
}
BENCHMARK(Recover)->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fulmar::log
