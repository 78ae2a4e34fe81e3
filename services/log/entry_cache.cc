#include "services/log/entry_cache.h"

#include <algorithm>
#include <utility>

#include "services/common/status.h"

namespace fulmar::log {
namespace {

// What an entry costs beside its payload: the struct, the reference count.
constexpr int64_t kOverheadBytes = sizeof(Entry) + 32;

}  // namespace

void EntryCache::Add(Entry entry) {
  FULMAR_CHECK(entries_.empty() || entries_.back().index.value + 1 == entry.index.value);
  bytes_ += entry.memory_bytes + kOverheadBytes;
  entries_.push_back(std::move(entry));
}

void EntryCache::TruncateFrom(LogIndex index) {
  while (!entries_.empty() && entries_.back().index >= index) {
    bytes_ -= entries_.back().memory_bytes + kOverheadBytes;
    entries_.pop_back();
  }
}

const Entry* EntryCache::Find(LogIndex index) const {
  if (entries_.empty() || index < entries_.front().index || index > entries_.back().index) return nullptr;
  return &entries_[static_cast<size_t>(index.value - entries_.front().index.value)];
}

const Entry* EntryCache::FindAt(LogPosition position) const {
  const auto behind = std::upper_bound(entries_.begin(), entries_.end(), position,
                                       [](LogPosition at, const Entry& entry) { return at < entry.payload_begin(); });
  if (behind == entries_.begin()) return nullptr;
  const Entry& entry = *std::prev(behind);
  return position < entry.end() ? &entry : nullptr;
}

void EntryCache::Shrink(int64_t limit, LogIndex keep_from) {
  while (bytes_ > limit && !entries_.empty() && entries_.front().index < keep_from) {
    bytes_ -= entries_.front().memory_bytes + kOverheadBytes;
    entries_.pop_front();
  }
}

}  // namespace fulmar::log
