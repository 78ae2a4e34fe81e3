// The log on real files and threads: what the simulation cannot show.

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "services/common/posix_files.h"
#include "services/common/system_clock.h"
#include "services/common/system_random.h"
#include "services/common/thread_executor.h"
#include "services/log/log_test_node.h"
#include "services/log/replicated_log.h"

namespace fulmar::log {
namespace {

class LogPosixTest : public ::testing::Test {
 protected:
  LogPosixTest() : dir_(absl::StrCat(::testing::TempDir(), "/log_posix_test.", random_.Next())) {}
  ~LogPosixTest() override { std::filesystem::remove_all(dir_); }

  struct Machine final : StateMachine {
    void Apply(const AppliedEntry& entry) override {
      for (const AppliedRecord& record : entry.records) bodies.emplace_back(record.body.view());
    }
    void OnLeader(Term) override { leads.set_value(); }
    void OnFollower(Term) override {}
    void OnFault(const absl::Status& why) override { ADD_FAILURE() << why; }
    void OnSpace(bool) override {}
    std::vector<std::string> bodies;
    std::promise<void> leads;
  };
  // One process: threads, state machine, log.
  struct Process {
    common::ThreadExecutor shard{"shard"}, writer{"writer"}, reader{"reader"};
    Machine machine;
    std::unique_ptr<ReplicatedLog> log;
  };

  std::unique_ptr<Process> Start() {
    auto process = std::make_unique<Process>();
    LogOptions options;
    options.dir = dir_;
    options.shard_name = "shard-0";
    options.segment_bytes = 1 << 20;
    options.cache_bytes = 100 << 10;
    auto log = ReplicatedLog::Open(
        options, {files_, clock_, random_, process->shard, process->writer, process->reader}, process->machine, {});
    EXPECT_TRUE(log.ok()) << log.status();
    process->log = *std::move(log);
    process->shard.Post([&log = *process->log] { log.Start(); });
    process->machine.leads.get_future().wait();
    return process;
  }
  static void Stop(Process& process) {
    std::promise<void> stopped;
    process.shard.Post([&] { process.log->Stop([&] { stopped.set_value(); }); });
    stopped.get_future().wait();
    process.shard.Stop();
    process.writer.Stop();
    process.reader.Stop();
  }

  common::PosixFiles files_;
  common::SystemClock clock_;
  common::SystemRandom random_;
  const std::string dir_;
};

TEST_F(LogPosixTest, RecordsOfManyAppendersSurviveRollsAndRestarts) {
  constexpr int kRecords = 5000;
  std::vector<std::string> expected;
  {
    const std::unique_ptr<Process> process = Start();
    std::promise<void> all;
    int answered = 0;
    for (int i = 0; i < kRecords; ++i) {
      expected.push_back(BodyOf(i, 1000));
      process->shard.Post([&, i] {
        process->log->Append(RecordType::kMessage, BodyOf(i, 1000), i % 3 == 0 ? Durability::kAsync : Durability::kSync,
                             AppendClass::kUser, [&](absl::StatusOr<RecordPlace> place) {
                               EXPECT_TRUE(place.ok()) << place.status();
                               if (++answered == kRecords) all.set_value();
                             });
      });
    }
    all.get_future().wait();
    Stop(*process);
    EXPECT_EQ(process->machine.bodies, expected);
  }
  {
    const std::unique_ptr<Process> process = Start();
    Stop(*process);
    EXPECT_EQ(process->machine.bodies, expected);
  }
  std::vector<std::string> scanned;
  ASSERT_TRUE(ScanLog(files_, dir_, [&](const AppliedEntry& entry) {
                for (const AppliedRecord& record : entry.records) scanned.emplace_back(record.body.view());
                return true;
              }).ok());
  EXPECT_EQ(scanned, expected);
}

TEST_F(LogPosixTest, ColdReadsAndRemovalRunBesideAppends) {
  const std::unique_ptr<Process> process = Start();
  constexpr int kRecords = 4000;
  std::promise<void> all;
  int answered = 0, read = 0, gone = 0;
  std::vector<RecordPlace> places;
  const auto count = [&] {
    if (++answered == 2 * kRecords) all.set_value();
  };
  for (int i = 0; i < kRecords; ++i)
    process->shard.Post([&, i] {
      process->log->Append(
          RecordType::kMessage, BodyOf(i, 1000), Durability::kSync, AppendClass::kUser,
          [&, i](absl::StatusOr<RecordPlace> place) {
            ASSERT_TRUE(place.ok()) << place.status();
            places.push_back(*place);
            count();
            // An old one; retention is behind it.
            const size_t old = places.size() / 2;
            process->log->Read(places[old].position, 1000, [&, old](absl::StatusOr<common::SharedBytes> body) {
              if (body.ok()) {
                EXPECT_EQ(body->view(), BodyOf(static_cast<int>(old), 1000));
                ++read;
              } else {
                EXPECT_TRUE(absl::IsNotFound(body.status())) << body.status();
                ++gone;
              }
              count();
            });
            if (i % 500 == 499) process->log->RemoveSegmentsBelow(places[old].position);
          });
    });
  all.get_future().wait();
  Stop(*process);

  EXPECT_GT(read, kRecords / 2);
  EXPECT_EQ(read + gone, kRecords);
}

}  // namespace
}  // namespace fulmar::log
