#ifndef FULMAR_LOG_LOG_TEST_NODE_H_
#define FULMAR_LOG_LOG_TEST_NODE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "services/common/sim/seeded_random.h"
#include "services/common/sim/sim_clock.h"
#include "services/common/sim/sim_executor.h"
#include "services/common/sim/sim_files.h"
#include "services/log/replicated_log.h"

namespace fulmar::log {

// A state machine that only remembers.
class RecordingMachine : public StateMachine {
 public:
  struct Record {
    LogIndex index;
    RecordType type;
    LogPosition position;
    std::string body;
    absl::Time time;
  };

  void Apply(const AppliedEntry& entry) override;
  void OnLeader(Term term) override { terms_led.push_back(term); }
  void OnFollower(Term) override { ++followed; }
  void OnFault(const absl::Status& why) override { faults.push_back(why); }
  void OnSpace(bool exhausted) override { space.push_back(exhausted); }
  absl::Status TakesUserRecords() const override { return takes_user_records; }

  std::vector<std::string> Bodies() const;

  std::vector<Record> records;
  AppliedPoint applied;
  bool applying = false;
  std::vector<Term> terms_led;
  int followed = 0;
  std::vector<absl::Status> faults;
  std::vector<bool> space;
  absl::Status takes_user_records;
};

// What became of one Append.
struct Outcome {
  std::optional<absl::StatusOr<RecordPlace>> result;
  size_t applied_records = 0;  // when it was answered
};

// One simulated node that runs one log: its threads, its disk (shared with its later lives), its state machine.
class LogNode {
 public:
  // Borrows everything; `files` may be a wrapper around a SimFiles.
  LogNode(common::Files& files, sim::SimScheduler& scheduler, common::Random& random, LogOptions options,
          LogTransport* transport = nullptr);
  ~LogNode();

  absl::Status Open(AppliedPoint applied = {});
  // Open, Start, and wait until it leads.
  absl::Status OpenAndLead(AppliedPoint applied = {});
  // The threads end here and now.
  void Crash();
  // Stop() and wait for it.
  void StopAndClose();

  std::shared_ptr<Outcome> Append(std::string body, Durability durability = Durability::kSync,
                                  AppendClass append_class = AppendClass::kUser);
  // Appends and waits; the error otherwise.
  absl::StatusOr<RecordPlace> AppendAndWait(std::string body, Durability durability = Durability::kSync,
                                            AppendClass append_class = AppendClass::kUser);
  absl::StatusOr<std::string> Read(LogPosition position, uint32_t length);
  LogStats Stats();
  std::vector<SegmentInfo> Segments();
  void RemoveSegmentsBelow(LogPosition position);
  absl::Status CanAppend(uint64_t bytes, AppendClass append_class = AppendClass::kUser);
  template <class Function>
  auto OnShard(Function function) {
    return shard_->Invoke(std::move(function));
  }

  ReplicatedLog& log() { return *log_; }
  bool open() const { return log_ != nullptr; }
  sim::SimScheduler& scheduler() { return scheduler_; }
  const LogOptions& options() const { return options_; }

  RecordingMachine machine;  // of this life

 private:
  common::Files& files_;
  sim::SimScheduler& scheduler_;
  common::Random& random_;
  const LogOptions options_;
  LogTransport* const transport_;
  std::unique_ptr<sim::SimExecutor> shard_, writer_, reader_;
  std::unique_ptr<ReplicatedLog> log_;
};

// Small files, so that tests roll often.
LogOptions SmallLog();
// `size` bytes that depend on `number` only.
std::string BodyOf(int number, size_t size = 40);

}  // namespace fulmar::log

#endif  // FULMAR_LOG_LOG_TEST_NODE_H_
