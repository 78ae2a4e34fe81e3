#include "services/broker/ordered_queue.h"

#include <algorithm>

namespace fulmar::broker {
namespace {

// A handle of an earlier leader may name a message that this one has not looked at. How far ahead that can be: what can be delivered
// between two writes of progress.
constexpr int64_t kMaxAhead = 200'000;

}  // namespace

// A message without a group is a group of its own: it waits for nobody. (splitmix64: spreads the offsets.)
uint64_t OrderedQueue::LineOf(uint64_t group, int64_t offset) {
  if (group != 0) return group;
  uint64_t x = static_cast<uint64_t>(offset) + 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// The line that the message belongs to, if it is not done.
std::optional<uint64_t> OrderedQueue::FindLine(int64_t offset) const {
  if (const Flight* flight = Find(offset); flight != nullptr) return flight->group;
  if (offset >= front()) return std::nullopt;
  if (const auto head = heads_.find(offset); head != heads_.end()) return head->second;
  const absl::StatusOr<uint64_t> group = groups_.GroupOf(offset);
  if (!group.ok()) return std::nullopt;
  const auto line = lines_.find(LineOf(*group, offset));
  if (line == lines_.end() || offset < line->second.head) return std::nullopt;
  return line->first;
}

// ---- taking

bool OrderedQueue::Pass(uint64_t group) {
  const int64_t offset = front();
  cursor_.MoveUp(offset + 1);
  next_new_ = front();
  const uint64_t id = LineOf(group, offset);
  const auto [it, free] = lines_.try_emplace(id);
  Line& line = it->second;
  ++line.behind;
  ++waiting_;
  if (line.waiting == kNone) line.waiting = offset;
  if (free) Settle(id);
  return free;
}

bool OrderedQueue::PassUpTo(int64_t end) {
  if (end > front() + kMaxAhead) return false;
  while (front() < end) {
    const absl::StatusOr<uint64_t> group = groups_.GroupOf(front());
    if (!group.ok() && !absl::IsNotFound(group.status())) return false;
    if (group.ok()) Pass(*group);
    else cursor_.MoveUp(front() + 1);  // retention was faster
  }
  return true;
}

std::optional<int64_t> OrderedQueue::NextBehind(int64_t taken) {
  const Flight* flight = Find(taken);
  if (flight == nullptr) return std::nullopt;
  const Line& line = lines_.find(flight->group)->second;
  for (auto it = std::upper_bound(line.flights.begin(), line.flights.end(), taken); it != line.flights.end() && *it < line.waiting; ++it) {
    const Flight& next = flights_.find(*it)->second;
    if (next.state == Flight::State::kHeld && next.acked) continue;  // it is over already
    if (!next.ready) return std::nullopt;
    return *it;
  }
  return line.waiting > taken && line.waiting != kNone ? std::optional<int64_t>(line.waiting) : std::nullopt;
}

uint32_t OrderedQueue::Hold(int64_t offset) {
  const std::optional<uint64_t> id = FindLine(offset);
  if (!id) return ++last_hold_;  // done: nothing is held
  if (Find(offset) == nullptr) AddFlight(*id, lines_.find(*id)->second, offset);
  const uint32_t hold = GroupQueue::Hold(offset);
  flights_.find(offset)->second.acked = false;
  Settle(*id);
  return hold;
}

// ---- ending

bool OrderedQueue::MarkDone(int64_t offset) {
  const std::optional<uint64_t> id = FindLine(offset);
  if (!id) return false;
  Line& line = lines_.find(*id)->second;
  if (offset != line.head) {
    const bool known = Find(offset) != nullptr;
    // Delivered by an earlier leader that had no time to say so: done for good.
    Flight& flight = known ? flights_.find(offset)->second : AddFlight(*id, line, offset);
    return !std::exchange(flight.acked, true);
  }
  int64_t counts_from = kNone;  // notes whose time ended before this one are void
  if (const auto it = flights_.find(offset); it != flights_.end()) {
    if (it->second.state == Flight::State::kHeld) counts_from = it->second.until_ms;
    RemoveFlight(line, offset);
  } else {
    StopWaiting(*id, line, offset);
  }
  while (!line.flights.empty() && line.flights.front() < line.waiting) {
    const int64_t next = line.flights.front();
    const Flight& flight = flights_.find(next)->second;
    if (!flight.acked || (flight.ready && flight.until_ms < counts_from)) break;
    RemoveFlight(line, next);
  }
  Settle(*id);
  return true;
}

bool OrderedQueue::IsNext(int64_t offset) const { return heads_.contains(offset); }

bool OrderedQueue::Done(int64_t offset) const { return offset < front() && !FindLine(offset).has_value(); }

GroupQueue::Handle OrderedQueue::Check(int64_t offset, int32_t attempt, uint32_t serial, bool own_term) {
  if (offset >= front() && (own_term || !PassUpTo(offset + 1))) return Handle::kStale;
  if (const Flight* flight = Find(offset); flight != nullptr) {
    if (flight->acked && !flight->ready) return Handle::kDone;
    // Its time is over and it cannot come before its predecessors: it will be handed out again with them or behind them.
    if (flight->ready && !IsNext(offset)) return Handle::kStale;
  }
  return GroupQueue::Check(offset, attempt, serial, own_term);
}

void OrderedQueue::Reschedule(int64_t offset, int32_t attempt, int64_t now_ms, int64_t until_ms, uint32_t serial) {
  const std::optional<uint64_t> id = FindLine(offset);
  if (!id) return;
  Line& line = lines_.find(*id)->second;
  if (Find(offset) == nullptr) AddFlight(*id, line, offset);
  flights_.find(offset)->second.acked = false;
  GroupQueue::Reschedule(offset, attempt, now_ms, until_ms, serial);
  Settle(*id);
}

// ---- lines

void OrderedQueue::OnReady(int64_t offset, bool ready) {
  if (!heads_.contains(offset)) return;
  if (ready) {
    ready_heads_.insert(offset);
  } else {
    ready_heads_.erase(offset);
  }
}

void OrderedQueue::StopWaiting(uint64_t id, Line& line, int64_t offset) {
  --line.behind;
  --waiting_;
  if (line.waiting != offset) return;
  line.waiting = kNone;
  if (line.behind == 0) return;
  groups_.ForEachOf(id, offset + 1, front(), [&](int64_t next) {
    if (std::binary_search(line.flights.begin(), line.flights.end(), next)) return true;
    line.waiting = next;
    return false;
  });
  if (line.waiting != kNone) return;
  waiting_ -= line.behind;  // retention was faster
  line.behind = 0;
}

// A new flight is held and belongs to nobody yet.
Flight& OrderedQueue::AddFlight(uint64_t id, Line& line, int64_t offset) {
  Flight& flight = flights_.try_emplace(offset).first->second;
  flight.group = id;
  line.flights.insert(std::upper_bound(line.flights.begin(), line.flights.end(), offset), offset);
  StopWaiting(id, line, offset);
  return flight;
}

void OrderedQueue::RemoveFlight(Line& line, int64_t offset) {
  const auto it = flights_.find(offset);
  ClearTime(offset, it->second);
  flights_.erase(it);
  line.flights.erase(std::lower_bound(line.flights.begin(), line.flights.end(), offset));
}

void OrderedQueue::Settle(uint64_t id) {
  const auto it = lines_.find(id);
  Line& line = it->second;
  const int64_t head = std::min(line.waiting, line.flights.empty() ? kNone : line.flights.front());
  if (line.head != kNone && line.head != head) {
    heads_.erase(line.head);
    ready_heads_.erase(line.head);
    waiting_heads_.erase(line.head);
  }
  if (head == kNone) {
    lines_.erase(it);
    return;
  }
  const bool changed = line.head != head;
  line.head = head;
  heads_[head] = id;
  const Flight* flight = Find(head);
  if (flight == nullptr) {
    waiting_heads_.insert(head);
    return;
  }
  waiting_heads_.erase(head);
  if (!flight->ready) return;
  ready_heads_.insert(head);
  if (changed) new_heads_.push_back(head);
}

// ---- moving

void OrderedQueue::ResetTo(int64_t cursor) {
  GroupQueue::ResetTo(cursor);
  lines_.clear();
  heads_.clear();
  ready_heads_.clear();
  waiting_heads_.clear();
  new_heads_.clear();
  waiting_ = 0;
}

int64_t OrderedQueue::MoveUp(int64_t to) {
  int64_t lost = 0;
  while (!heads_.empty() && heads_.begin()->first < to) {
    const uint64_t id = heads_.begin()->second;
    Line& line = lines_.find(id)->second;
    if (line.waiting < to) {
      int64_t gone = 1, next = kNone;
      groups_.ForEachOf(id, line.waiting + 1, front(), [&](int64_t offset) {
        if (std::binary_search(line.flights.begin(), line.flights.end(), offset)) return true;
        if (offset >= to) next = offset;
        else ++gone;
        return offset < to;
      });
      gone = next == kNone ? line.behind : std::min(gone, line.behind);
      lost += gone;
      line.behind -= gone;
      waiting_ -= gone;
      line.waiting = next;
    }
    while (!line.flights.empty() && line.flights.front() < to) {
      if (!flights_.find(line.flights.front())->second.acked) ++lost;
      RemoveFlight(line, line.flights.front());
    }
    Settle(id);
  }
  const int64_t untouched = std::max<int64_t>(0, to - front());
  cursor_.MoveUp(to);
  next_new_ = std::max(next_new_, front());
  return lost + untouched;
}

// ---- keeping

void OrderedQueue::Save(absl::Duration wall_minus_steady, index::QueueProgress& out) const {
  GroupQueue::Save(wall_minus_steady, out);
  out.ordered = true;
  out.acked.clear();
  for (index::InFlight& saved : out.in_flight) {
    const Flight& flight = *Find(saved.offset);
    if (!flight.acked) continue;
    // A note whose time is over is void.
    saved.acknowledged = !flight.ready;
    if (flight.state == Flight::State::kHeld) saved.waiting_retry = true;
  }
  for (const auto& [head, id] : heads_) {
    const Flight* flight = Find(head);
    if (flight == nullptr || flight->attempt == 0) out.open.push_back(head);
  }
}

void OrderedQueue::Restore(const index::QueueProgress& progress, const RestoreTimes& times) {
  ResetTo(progress.cursor);
  if (!progress.ordered) return;  // the group was concurrent when it was saved: what it acknowledged out of order comes again
  int64_t lowest = progress.cursor;
  const auto line_of = [&](int64_t offset) -> std::optional<uint64_t> {
    const absl::StatusOr<uint64_t> group = groups_.GroupOf(offset);
    if (group.ok()) return LineOf(*group, offset);
    if (!absl::IsNotFound(group.status())) lowest = std::min(lowest, offset);  // not gone, but unreadable
    return std::nullopt;
  };
  for (const index::InFlight& saved : progress.in_flight) {
    const std::optional<uint64_t> id = line_of(saved.offset);
    if (!id) continue;
    Flight& flight = flights_[saved.offset];
    flight.group = *id;
    flight.acked = saved.acknowledged;
    lines_[*id].flights.push_back(saved.offset);
    if (saved.acknowledged && saved.waiting_retry) {
      flight.attempt = saved.attempt;  // stays held: for good
    } else {
      AddRestored(saved, times, flight);
    }
  }
  for (const int64_t open : progress.open) {
    const std::optional<uint64_t> id = line_of(open);
    if (!id) continue;
    Line& line = lines_[*id];
    line.waiting = open;
    line.behind = 1;
    ++waiting_;
  }
  if (lowest < progress.cursor) return ResetTo(lowest);  // in order all the same, but all of it once more
  std::vector<uint64_t> ids;
  ids.reserve(lines_.size());
  for (auto& [id, line] : lines_) {
    ids.push_back(id);
    const int64_t from = std::min(line.waiting, line.flights.empty() ? kNone : line.flights.front()) + 1;
    groups_.ForEachOf(id, from, front(), [&, &its = line](int64_t offset) {
      if (std::binary_search(its.flights.begin(), its.flights.end(), offset)) return true;
      if (its.waiting == kNone) its.waiting = offset;
      ++its.behind;
      ++waiting_;
      return true;
    });
  }
  for (const uint64_t id : ids) Settle(id);
}

}  // namespace fulmar::broker
