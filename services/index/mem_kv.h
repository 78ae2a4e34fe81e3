#ifndef FULMAR_INDEX_MEM_KV_H_
#define FULMAR_INDEX_MEM_KV_H_

#include <cstddef>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/common/executor.h"
#include "services/index/kv_store.h"

namespace fulmar::index {

// The index of the simulation and of unit tests. Outlives what uses it: Crash() is the power cut between two lives.
// Borrows: `background`, where FlushAsync does its work; without one it works at once.
class MemKv : public KvStore {
 public:
  explicit MemKv(common::Executor* background = nullptr) : background_(background) {}

  void Write(const KvBatch& batch) override;
  std::optional<std::string> Get(std::string_view key) const override;
  std::unique_ptr<Iterator> Scan(std::string_view begin, std::string_view end) const override;
  void FlushAsync() override;
  absl::Status Flush() override;  // ResourceExhausted while full
  std::optional<std::string> GetDurable(std::string_view key) const override;
  Stats GetStats() const override;

  // Forgets what was not flushed, but for the oldest `kept_batches` batches: a real store flushes by itself now and then,
  // so any prefix may survive. FlushAsync work that waits does nothing any more. Returns how many batches were forgotten.
  size_t Crash(size_t kept_batches = 0);
  size_t UnflushedBatches() const;
  // As if the disk were full: nothing becomes durable, writes go on in memory.
  void SetFull(bool full);
  // Full, and above `max_unflushed` batches it is crowded.
  void SetMaxUnflushed(size_t batches);
  bool crowded() const override;
  // Everything, for comparing two indexes.
  std::map<std::string, std::string> Contents() const;

 private:
  using Map = std::map<std::string, std::string, std::less<>>;
  static void Apply(const KvBatch& batch, Map& map);
  absl::Status FlushLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  common::Executor* const background_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for tasks that outlive this object
  mutable absl::Mutex mutex_;
  Map current_ ABSL_GUARDED_BY(mutex_);
  Map durable_ ABSL_GUARDED_BY(mutex_);
  std::vector<KvBatch> unflushed_ ABSL_GUARDED_BY(mutex_);
  bool full_ ABSL_GUARDED_BY(mutex_) = false;
  size_t max_unflushed_ ABSL_GUARDED_BY(mutex_) = std::numeric_limits<size_t>::max();
  size_t lives_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_MEM_KV_H_
