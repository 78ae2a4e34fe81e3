#ifndef FULMAR_BROKER_QUEUE_CURSOR_H_
#define FULMAR_BROKER_QUEUE_CURSOR_H_

#include <cstdint>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/types/span.h"
#include "services/index/progress.h"

namespace fulmar::broker {

// What a group has finished in one queue: everything below the cursor and, above it, disjoint ranges. Pure data, no clock.
class QueueCursor {
 public:
  int64_t cursor() const { return cursor_; }
  bool Done(int64_t offset) const;
  // False when it was done before.
  bool MarkDone(int64_t offset);
  // The first offset at or behind `offset` that is not done.
  int64_t NextOpen(int64_t offset) const;
  // Everything below `to` is done from now on. Returns how many of these were not before. Never moves down.
  int64_t MoveUp(int64_t to);
  // Forgets everything: below `to` done, the rest open.
  void Reset(int64_t to, absl::Span<const index::OffsetRange> done_above = {});

  // First offset behind everything that is done.
  int64_t done_end() const { return ranges_.empty() ? cursor_ : ranges_.rbegin()->second; }
  int64_t done_above() const { return done_above_; }
  std::vector<index::OffsetRange> RangesAbove() const;

 private:
  void Absorb();

  int64_t cursor_ = 0;
  absl::btree_map<int64_t, int64_t> ranges_;  // begin -> end; neither touching each other nor the cursor
  int64_t done_above_ = 0;                    // sum of their lengths
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_QUEUE_CURSOR_H_
