#ifndef FULMAR_OFFSET_OFFSET_TESTING_H_
#define FULMAR_OFFSET_OFFSET_TESTING_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/common/sim/seeded_random.h"
#include "services/common/sim/sim_clock.h"
#include "services/common/sim/sim_executor.h"
#include "services/common/sim/sim_files.h"
#include "services/common/status.h"
#include "services/index/keys.h"
#include "services/index/mem_kv.h"
#include "services/offset/offset_core.h"

namespace fulmar::offset {

// An answer that a test waits for.
template <class T>
using Answer = std::shared_ptr<std::optional<T>>;

// One simulated offset service: disk and index survive its lives.
class OffsetNode {
 public:
  explicit OffsetNode(uint64_t seed, int64_t segment_bytes = 1 << 20)
      : random_(seed), scheduler_(clock_, &random_), files_(seed) {
    options_.log.dir = "/offset";
    options_.log.shard_name = "offset";
    options_.log.segment_bytes = segment_bytes;
    kv_ = std::make_unique<index::MemKv>();
  }
  ~OffsetNode() { Kill(); }

  // Begins a life; the error of opening it.
  absl::Status Start() {
    shard_ = std::make_unique<sim::SimExecutor>(scheduler_, "shard");
    writer_ = std::make_unique<sim::SimExecutor>(scheduler_, "writer");
    reader_ = std::make_unique<sim::SimExecutor>(scheduler_, "reader");
    FULMAR_ASSIGN_OR_RETURN(core_, OffsetCore::Open(options_, {.files = files_,
                                                               .clock = clock_,
                                                               .random = random_,
                                                               .shard = *shard_,
                                                               .writer = *writer_,
                                                               .reader = *reader_,
                                                               .kv = *kv_}));
    core_->Start();
    return absl::OkStatus();
  }
  // The process ends here and now.
  void Kill() {
    for (sim::SimExecutor* executor : {shard_.get(), writer_.get(), reader_.get()}) {
      if (executor != nullptr) executor->Stop();
    }
    core_.reset();
  }
  void StopAndClose() {
    bool stopped = false;
    core_->Stop([&stopped] { stopped = true; });
    FULMAR_CHECK(scheduler_.RunUntil([&stopped] { return stopped; }, absl::Seconds(30)));
    FULMAR_CHECK(kv_->Flush().ok());
    Kill();
  }
  void LosePower() {
    Kill();
    files_.LosePower();
    kv_->Crash(kv_->UnflushedBatches() == 0 ? 0 : random_.Next() % (kv_->UnflushedBatches() + 1));
  }
  // The index is gone, as by rm -r.
  void ForgetIndex() { kv_ = std::make_unique<index::MemKv>(); }

  // Runs until `answer` is there.
  template <class T>
  T Wait(const Answer<T>& answer) {
    FULMAR_CHECK(scheduler_.RunUntil([&answer] { return answer->has_value(); }, absl::Seconds(30)));
    return std::move(**answer);
  }
  // A callback that fills an answer, once.
  template <class T>
  static auto Into(const Answer<T>& answer) {
    return [answer](T value) {
      FULMAR_CHECK(!answer->has_value());
      *answer = std::move(value);
    };
  }
  template <class T>
  static Answer<T> NewAnswer() {
    return std::make_shared<std::optional<T>>();
  }

  // Calls and waits.
  using Progress = std::vector<index::QueueProgress>;
  absl::StatusOr<index::TopicDefinition> EnsureTopic(std::string name, int32_t queues = 4) {
    auto answer = NewAnswer<absl::StatusOr<index::TopicDefinition>>();
    core_->EnsureTopic({.name = std::move(name), .queues = queues}, Into(answer));
    return Wait(answer);
  }
  absl::StatusOr<index::TopicDefinition> UpdateTopic(index::TopicDefinition topic) {
    auto answer = NewAnswer<absl::StatusOr<index::TopicDefinition>>();
    core_->UpdateTopic(std::move(topic), Into(answer));
    return Wait(answer);
  }
  absl::StatusOr<index::TopicDefinition> GetTopic(std::string name) {
    auto answer = NewAnswer<absl::StatusOr<index::TopicDefinition>>();
    core_->GetTopic(std::move(name), Into(answer));
    return Wait(answer);
  }
  absl::StatusOr<index::GroupDefinition> EnsureGroup(std::string name) {
    auto answer = NewAnswer<absl::StatusOr<index::GroupDefinition>>();
    core_->EnsureGroup({.name = std::move(name)}, Into(answer));
    return Wait(answer);
  }
  absl::StatusOr<index::GroupDefinition> UpdateGroup(index::GroupDefinition group) {
    auto answer = NewAnswer<absl::StatusOr<index::GroupDefinition>>();
    core_->UpdateGroup(std::move(group), Into(answer));
    return Wait(answer);
  }
  absl::Status DeleteTopic(std::string name) {
    auto answer = NewAnswer<absl::Status>();
    core_->DeleteTopic(std::move(name), Into(answer));
    return Wait(answer);
  }
  absl::Status DeleteGroup(std::string name) {
    auto answer = NewAnswer<absl::Status>();
    core_->DeleteGroup(std::move(name), Into(answer));
    return Wait(answer);
  }
  absl::StatusOr<Progress> Claim(std::string shard, int64_t term) {
    auto answer = NewAnswer<absl::StatusOr<Progress>>();
    core_->Claim(std::move(shard), Term{term}, Into(answer));
    return Wait(answer);
  }
  absl::Status Write(std::string shard, int64_t term, Progress entries) {
    auto answer = NewAnswer<absl::Status>();
    core_->Write(std::move(shard), Term{term}, std::move(entries), Into(answer));
    return Wait(answer);
  }
  OffsetStatus Status() {
    auto answer = NewAnswer<OffsetStatus>();
    core_->GetStatus(Into(answer));
    return Wait(answer);
  }

  OffsetCore& core() { return *core_; }
  index::MemKv& kv() { return *kv_; }
  sim::SimFiles& files() { return files_; }
  sim::SimScheduler& scheduler() { return scheduler_; }
  sim::SimClock& clock() { return clock_; }
  sim::SeededRandom& random() { return random_; }
  OffsetCoreOptions& options() { return options_; }

  // What the index holds, without how far it was applied.
  std::map<std::string, std::string> IndexContents() const {
    std::map<std::string, std::string> contents = kv_->Contents();
    contents.erase(std::string(index::kAppliedKey));
    return contents;
  }

 private:
  sim::SimClock clock_;
  sim::SeededRandom random_;
  sim::SimScheduler scheduler_;
  sim::SimFiles files_;
  OffsetCoreOptions options_;
  std::unique_ptr<index::MemKv> kv_;
  std::unique_ptr<sim::SimExecutor> shard_, writer_, reader_;
  std::unique_ptr<OffsetCore> core_;
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_OFFSET_TESTING_H_
