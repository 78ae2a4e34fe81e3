#include "services/index/mem_kv.h"

#include <algorithm>
#include <utility>

namespace fulmar::index {
namespace {

class MapIterator : public KvStore::Iterator {
 public:
  MapIterator(std::map<std::string, std::string> slice) : slice_(std::move(slice)), at_(slice_.begin()) {}
  void Seek(std::string_view key) override { at_ = slice_.lower_bound(std::string(key)); }
  bool Valid() const override { return at_ != slice_.end(); }
  void Next() override { ++at_; }
  std::string_view key() const override { return at_->first; }
  std::string_view value() const override { return at_->second; }

 private:
  const std::map<std::string, std::string> slice_;
  std::map<std::string, std::string>::const_iterator at_;
};

}  // namespace

void MemKv::Apply(const KvBatch& batch, Map& map) {
  for (const KvBatch::Op& op : batch.ops()) {
    switch (op.kind) {
      case KvBatch::Op::kPut: map.insert_or_assign(op.key, op.value); break;
      case KvBatch::Op::kDelete: map.erase(op.key); break;
      case KvBatch::Op::kDeleteRange:
        if (op.key < op.value) map.erase(map.lower_bound(op.key), map.lower_bound(op.value));
        break;
    }
  }
}

void MemKv::Write(const KvBatch& batch) {
  absl::MutexLock lock(&mutex_);
  Apply(batch, current_);
  unflushed_.push_back(batch);
}

std::optional<std::string> MemKv::Get(std::string_view key) const {
  absl::MutexLock lock(&mutex_);
  const auto it = current_.find(key);
  if (it == current_.end()) return std::nullopt;
  return it->second;
}

std::unique_ptr<KvStore::Iterator> MemKv::Scan(std::string_view begin, std::string_view end) const {
  absl::MutexLock lock(&mutex_);
  std::map<std::string, std::string> slice;
  if (begin < end) slice.insert(current_.lower_bound(begin), current_.lower_bound(end));
  return std::make_unique<MapIterator>(std::move(slice));
}

absl::Status MemKv::FlushLocked() {
  if (full_) return absl::ResourceExhaustedError("simulated index: no space left on device");
  for (const KvBatch& batch : unflushed_) Apply(batch, durable_);
  unflushed_.clear();
  return absl::OkStatus();
}

absl::Status MemKv::Flush() {
  absl::MutexLock lock(&mutex_);
  return FlushLocked();
}

void MemKv::FlushAsync() {
  absl::MutexLock lock(&mutex_);
  if (background_ == nullptr) {
    FlushLocked().IgnoreError();
    return;
  }
  background_->Post([this, life = lives_, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    absl::MutexLock task_lock(&mutex_);
    if (life == lives_) FlushLocked().IgnoreError();
  });
}

std::optional<std::string> MemKv::GetDurable(std::string_view key) const {
  absl::MutexLock lock(&mutex_);
  const auto it = durable_.find(key);
  if (it == durable_.end()) return std::nullopt;
  return it->second;
}

KvStore::Stats MemKv::GetStats() const {
  absl::MutexLock lock(&mutex_);
  Stats stats;
  for (const auto& [key, value] : durable_) stats.disk_bytes += key.size() + value.size();
  for (const auto& [key, value] : current_) stats.memtable_bytes += key.size() + value.size();
  stats.healthy = !full_;
  if (full_) stats.problem = "simulated index: no space left on device";
  return stats;
}

size_t MemKv::Crash(size_t kept_batches) {
  absl::MutexLock lock(&mutex_);
  const size_t kept = std::min(kept_batches, unflushed_.size());
  const size_t forgotten = unflushed_.size() - kept;
  for (size_t i = 0; i < kept; ++i) Apply(unflushed_[i], durable_);
  unflushed_.clear();
  current_ = durable_;
  ++lives_;
  return forgotten;
}

size_t MemKv::UnflushedBatches() const {
  absl::MutexLock lock(&mutex_);
  return unflushed_.size();
}

void MemKv::SetFull(bool full) {
  absl::MutexLock lock(&mutex_);
  full_ = full;
}

void MemKv::SetMaxUnflushed(size_t batches) {
  absl::MutexLock lock(&mutex_);
  max_unflushed_ = batches;
}

bool MemKv::crowded() const {
  absl::MutexLock lock(&mutex_);
  return full_ && unflushed_.size() > max_unflushed_;
}

std::map<std::string, std::string> MemKv::Contents() const {
  absl::MutexLock lock(&mutex_);
  return {current_.begin(), current_.end()};
}

}  // namespace fulmar::index
