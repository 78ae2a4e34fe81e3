#ifndef FULMAR_LOG_ENTRY_CACHE_H_
#define FULMAR_LOG_ENTRY_CACHE_H_

#include <cstdint>
#include <deque>

#include "services/common/ids.h"
#include "services/log/entry.h"

namespace fulmar::log {

// The newest entries of a log, without gaps, oldest first. Threads: one (the shard's).
class EntryCache {
 public:
  // `entry` follows the newest one.
  void Add(Entry entry);
  // Forgets the entries from `index` on.
  void TruncateFrom(LogIndex index);
  // Null when it is not here. Valid until the next change.
  const Entry* Find(LogIndex index) const;
  // The entry whose payload holds the byte at `position`.
  const Entry* FindAt(LogPosition position) const;
  // Forgets the oldest entries until at most `limit` bytes are held; never `keep_from` or a newer one.
  void Shrink(int64_t limit, LogIndex keep_from);

  int64_t bytes() const { return bytes_; }
  size_t size() const { return entries_.size(); }

 private:
  std::deque<Entry> entries_;
  int64_t bytes_ = 0;
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_ENTRY_CACHE_H_
