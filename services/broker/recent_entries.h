#ifndef FULMAR_BROKER_RECENT_ENTRIES_H_
#define FULMAR_BROKER_RECENT_ENTRIES_H_

#include <cstdint>
#include <vector>

#include "services/index/queue_index.h"

namespace fulmar::broker {

// The newest index entries of one queue, so that consumers at its end never ask RocksDB. A ring that grows with use.
class RecentEntries {
 public:
  void Add(const index::QueueEntry& entry) {
    if (entry.offset != end_) count_ = 0;
    if (count_ == ring_.size() && count_ < kMax) Grow();
    ring_[static_cast<size_t>(entry.offset) & (ring_.size() - 1)] = entry;
    if (count_ < ring_.size()) ++count_;
    end_ = entry.offset + 1;
  }
  const index::QueueEntry* Find(int64_t offset) const {
    if (offset >= end_ || offset < end_ - static_cast<int64_t>(count_)) return nullptr;
    return &ring_[static_cast<size_t>(offset) & (ring_.size() - 1)];
  }
  bool empty() const { return count_ == 0; }
  void Clear() {
    ring_ = {};
    count_ = 0;
  }

 private:
  static constexpr size_t kMin = 16, kMax = 1024;  // 768 B .. 48 KiB
  void Grow() {
    std::vector<index::QueueEntry> larger(ring_.empty() ? kMin : ring_.size() * 2);
    for (const index::QueueEntry& entry : ring_) larger[static_cast<size_t>(entry.offset) & (larger.size() - 1)] = entry;
    ring_ = std::move(larger);
  }
  std::vector<index::QueueEntry> ring_;
  size_t count_ = 0;  // offsets [end_ - count_, end_) are there
  int64_t end_ = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_RECENT_ENTRIES_H_
