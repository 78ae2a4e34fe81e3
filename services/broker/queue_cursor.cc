#include "services/broker/queue_cursor.h"

#include <algorithm>

namespace fulmar::broker {

bool QueueCursor::Done(int64_t offset) const {
  if (offset < cursor_) return true;
  if (ranges_.empty()) return false;
  auto it = ranges_.upper_bound(offset);
  return it != ranges_.begin() && offset < std::prev(it)->second;
}

bool QueueCursor::MarkDone(int64_t offset) {
  if (offset == cursor_) {  // the way of a consumer that acknowledges in order: no allocation
    ++cursor_;
    Absorb();
    return true;
  }
  if (Done(offset)) return false;
  auto next = ranges_.upper_bound(offset);
  int64_t end = offset + 1;
  ++done_above_;
  if (next != ranges_.end() && next->first == end) {
    end = next->second;
    next = ranges_.erase(next);
  }
  if (next != ranges_.begin() && std::prev(next)->second == offset) {
    std::prev(next)->second = end;
  } else {
    ranges_.emplace_hint(next, offset, end);
  }
  return true;
}

int64_t QueueCursor::NextOpen(int64_t offset) const {
  if (offset < cursor_) offset = cursor_;
  auto it = ranges_.upper_bound(offset);
  if (it != ranges_.begin() && offset < std::prev(it)->second) return std::prev(it)->second;
  return offset;
}

int64_t QueueCursor::MoveUp(int64_t to) {
  if (to <= cursor_) return 0;
  int64_t open = to - cursor_;
  cursor_ = to;
  while (!ranges_.empty() && ranges_.begin()->first < to) {
    const auto [begin, end] = *ranges_.begin();
    open -= std::min(end, to) - begin;
    done_above_ -= end - begin;
    ranges_.erase(ranges_.begin());
    if (end > to) {
      ranges_.emplace(to, end);
      done_above_ += end - to;
    }
  }
  Absorb();
  return open;
}

void QueueCursor::Reset(int64_t to, absl::Span<const index::OffsetRange> done_above) {
  cursor_ = to;
  ranges_.clear();
  done_above_ = 0;
  for (const index::OffsetRange& range : done_above) {
    const int64_t begin = std::max(range.begin, done_end());
    if (range.end <= begin) continue;
    done_above_ += range.end - begin;
    if (!ranges_.empty() && ranges_.rbegin()->second == begin) {
      ranges_.rbegin()->second = range.end;
    } else {
      ranges_.emplace(begin, range.end);
    }
  }
  Absorb();
}

std::vector<index::OffsetRange> QueueCursor::RangesAbove() const {
  std::vector<index::OffsetRange> out;
  out.reserve(ranges_.size());
  for (const auto& [begin, end] : ranges_) out.push_back({begin, end});
  return out;
}

// Ranges that the cursor has reached become part of what lies below it.
void QueueCursor::Absorb() {
  while (!ranges_.empty() && ranges_.begin()->first <= cursor_) {
    const auto [begin, end] = *ranges_.begin();
    done_above_ -= end - begin;
    cursor_ = std::max(cursor_, end);
    ranges_.erase(ranges_.begin());
  }
}

}  // namespace fulmar::broker
