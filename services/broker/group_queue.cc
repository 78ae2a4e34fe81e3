#include "services/broker/group_queue.h"

#include <algorithm>

#include "services/common/status.h"

namespace fulmar::broker {

std::optional<int64_t> GroupQueue::NextNew(int64_t end) {
  if (next_new_ < cursor_.cursor()) next_new_ = cursor_.cursor();
  while (next_new_ < end) {
    if (next_new_ < cursor_.done_end()) {
      const int64_t open = cursor_.NextOpen(next_new_);
      if (open != next_new_) {
        next_new_ = open;
        continue;
      }
    }
    // Only after a restore or an acknowledgement of an earlier leader's delivery does a flight lie above next_new_.
    if (!flights_.empty() && next_new_ <= flights_.rbegin()->first && flights_.contains(next_new_)) {
      ++next_new_;
      continue;
    }
    return next_new_;
  }
  return std::nullopt;
}

std::optional<int64_t> GroupQueue::NextReady() const {
  if (ready_.empty()) return std::nullopt;
  return *ready_.begin();
}

uint32_t GroupQueue::Hold(int64_t offset) {
  if (++last_hold_ == 0) ++last_hold_;
  // A new message is usually behind all others: the hint saves the search.
  Flight& flight = flights_.try_emplace(flights_.end(), offset)->second;
  ClearTime(offset, flight);
  flight.state = Flight::State::kHeld;
  flight.hold = last_hold_;
  if (offset == next_new_) ++next_new_;
  return last_hold_;
}

bool GroupQueue::IsHeld(int64_t offset, uint32_t hold) const {
  const Flight* flight = Find(offset);
  return flight != nullptr && flight->state == Flight::State::kHeld && flight->hold == hold;
}

const Flight& GroupQueue::Deliver(int64_t offset, const Delivery& delivery) {
  Flight& flight = flights_.find(offset)->second;
  flight.state = Flight::State::kOut;
  flight.auto_renew = delivery.auto_renew;
  flight.nacked = false;
  flight.client = delivery.client;
  flight.serial = delivery.serial;
  flight.since_ms = delivery.now_ms;
  if (!delivery.again) ++flight.attempt;
  ++out_;
  SetTime(offset, flight, delivery.now_ms, delivery.until_ms);
  return flight;
}

void GroupQueue::Release(int64_t offset, int64_t now_ms, int64_t at_ms, OldHandle old_handle) {
  Flight& flight = flights_.find(offset)->second;
  const bool keep = old_handle == OldHandle::kKeep && flight.attempt > 0;
  flight.state = keep ? Flight::State::kOut : Flight::State::kWaiting;
  flight.auto_renew = false;
  flight.nacked = true;
  SetTime(offset, flight, now_ms, at_ms);
}

bool GroupQueue::MarkDone(int64_t offset) {
  if (!cursor_.MarkDone(offset)) return false;
  auto it = flights_.find(offset);
  if (it != flights_.end()) {
    ClearTime(offset, it->second);
    flights_.erase(it);
  }
  return true;
}

bool GroupQueue::Return(int64_t offset, uint32_t serial, int64_t now_ms) {
  auto it = flights_.find(offset);
  if (it == flights_.end() || it->second.state != Flight::State::kOut || it->second.serial != serial) return false;
  Flight& flight = it->second;
  ClearTime(offset, flight);
  flight.state = Flight::State::kWaiting;
  flight.auto_renew = false;
  --flight.attempt;
  flight.until_ms = now_ms;
  SetReady(offset, flight);
  return true;
}

GroupQueue::Handle GroupQueue::Check(int64_t offset, int32_t attempt, uint32_t serial, bool own_term) {
  if (Done(offset)) return Handle::kDone;
  const Flight* flight = Find(offset);
  // Delivered by an earlier leader whose progress had not been written yet: honoured.
  if (flight == nullptr) return own_term ? Handle::kStale : Handle::kCurrent;
  if (flight->serial != 0) {
    if (!own_term || flight->state == Flight::State::kWaiting) return Handle::kStale;
    return flight->serial == serial ? Handle::kCurrent : Handle::kStale;
  }
  if (own_term) return Handle::kStale;
  // Restored: the earlier leader may have delivered it once more after it last wrote.
  if (flight->state == Flight::State::kWaiting && attempt == flight->attempt) return Handle::kStale;
  return attempt >= flight->attempt ? Handle::kCurrent : Handle::kStale;
}

void GroupQueue::Reschedule(int64_t offset, int32_t attempt, int64_t now_ms, int64_t until_ms, uint32_t serial) {
  Flight& flight = flights_[offset];  // made here when an earlier leader delivered it
  ClearTime(offset, flight);
  flight.state = Flight::State::kOut;
  flight.nacked = flight.auto_renew;
  flight.auto_renew = false;
  flight.attempt = std::max(flight.attempt, attempt);
  flight.serial = serial;
  if (!flight.nacked) ++out_;
  SetTime(offset, flight, now_ms, until_ms);
}

void GroupQueue::OnTime(int64_t now_ms,
                        absl::FunctionRef<std::optional<int64_t>(int64_t offset, const Flight&)> decide) {
  while (!times_.empty() && times_.begin()->first <= now_ms) {
    const int64_t offset = times_.begin()->second;
    times_.erase(times_.begin());
    Flight& flight = flights_.find(offset)->second;
    const std::optional<int64_t> later = decide(offset, flight);
    if (later && *later > now_ms) {
      flight.until_ms = *later;
      flight.given_ms = *later - now_ms;
      times_.emplace(*later, offset);
    } else {
      if (CountsAsOut(flight)) --out_;
      SetReady(offset, flight);
    }
  }
}

std::optional<int64_t> GroupQueue::next_time_ms() const {
  if (times_.empty()) return std::nullopt;
  return times_.begin()->first;
}

int64_t GroupQueue::GiveBack(absl::FunctionRef<bool(uint64_t client)> gone, int64_t now_ms, int64_t at_ms) {
  int64_t given = 0;
  for (auto& [offset, flight] : flights_) {
    if (flight.state != Flight::State::kOut || !flight.auto_renew || !gone(flight.client)) continue;
    flight.auto_renew = false;
    ++given;
    if (flight.ready || flight.until_ms <= at_ms) continue;
    times_.erase({flight.until_ms, offset});
    flight.until_ms = std::max(at_ms, now_ms);
    times_.emplace(flight.until_ms, offset);
  }
  return given;
}

void GroupQueue::ResetTo(int64_t cursor) {
  cursor_.Reset(cursor);
  flights_.clear();
  times_.clear();
  ready_.clear();
  out_ = 0;
  next_new_ = cursor;
}

int64_t GroupQueue::MoveUp(int64_t to) {
  const int64_t lost = cursor_.MoveUp(to);
  while (!flights_.empty() && flights_.begin()->first < cursor_.cursor()) {
    ClearTime(flights_.begin()->first, flights_.begin()->second);
    flights_.erase(flights_.begin());
  }
  return lost;
}

void GroupQueue::Save(absl::Duration wall_minus_steady, index::QueueProgress& out) const {
  out.cursor = cursor_.cursor();
  out.acked = cursor_.RangesAbove();
  out.in_flight.clear();
  out.in_flight.reserve(flights_.size());
  for (const auto& [offset, flight] : flights_) {
    if (flight.attempt == 0) continue;  // never delivered: the same as open
    index::InFlight& saved = out.in_flight.emplace_back();
    saved.offset = offset;
    saved.attempt = flight.attempt;
    saved.invisible_until = absl::UnixEpoch() + wall_minus_steady + absl::Milliseconds(flight.until_ms);
    saved.given = absl::Milliseconds(flight.given_ms);
    saved.auto_renew = flight.auto_renew;
    saved.waiting_retry = flight.state == Flight::State::kWaiting;
  }
}

void GroupQueue::Restore(const index::QueueProgress& progress, const RestoreTimes& times) {
  if (progress.ordered) {  // the group was ordered when it was saved: everything from its first open message on comes again
    int64_t lowest = progress.cursor;
    if (!progress.in_flight.empty()) lowest = std::min(lowest, progress.in_flight.front().offset);
    if (!progress.open.empty()) lowest = std::min(lowest, progress.open.front());
    return ResetTo(lowest);
  }
  ResetTo(progress.cursor);
  cursor_.Reset(progress.cursor, progress.acked);
  next_new_ = cursor_.cursor();
  for (const index::InFlight& saved : progress.in_flight) {
    if (!cursor_.Done(saved.offset)) AddRestored(saved, times, flights_[saved.offset]);
  }
}

void GroupQueue::AddRestored(const index::InFlight& saved, const RestoreTimes& times, Flight& flight) {
  flight.state = saved.waiting_retry ? Flight::State::kWaiting : Flight::State::kOut;
  flight.attempt = saved.attempt;
  flight.given_ms = saved.given > absl::ZeroDuration() ? absl::ToInt64Milliseconds(saved.given) : times.max_ms;
  const int64_t left_ms = absl::ToInt64Milliseconds(saved.invisible_until - absl::UnixEpoch() - times.wall_minus_steady -
                                                    absl::Milliseconds(times.now_ms));
  flight.until_ms = saved.auto_renew ? times.renew_until_ms : times.now_ms + std::clamp<int64_t>(left_ms, 0, flight.given_ms);
  if (CountsAsOut(flight)) ++out_;
  times_.emplace(flight.until_ms, saved.offset);
}

const Flight* GroupQueue::Find(int64_t offset) const {
  auto it = flights_.find(offset);
  return it == flights_.end() ? nullptr : &it->second;
}

// `flight` is kOut (already counted as out) or kWaiting and in neither set.
void GroupQueue::SetTime(int64_t offset, Flight& flight, int64_t now_ms, int64_t until_ms) {
  flight.until_ms = until_ms;
  flight.given_ms = std::max<int64_t>(1, until_ms - now_ms);  // 0 is for unknown
  if (until_ms > now_ms) {
    times_.emplace(until_ms, offset);
    return;
  }
  if (CountsAsOut(flight)) --out_;
  SetReady(offset, flight);
}

void GroupQueue::SetReady(int64_t offset, Flight& flight) {
  flight.ready = true;
  ready_.insert(offset);
  OnReady(offset, true);
}

// Takes the flight out of both sets and of the count; its state is to be set next.
void GroupQueue::ClearTime(int64_t offset, Flight& flight) {
  if (CountsAsOut(flight)) --out_;
  if (flight.ready) {
    ready_.erase(offset);
    flight.ready = false;
    OnReady(offset, false);
  } else if (flight.state != Flight::State::kHeld) {
    times_.erase({flight.until_ms, offset});
  }
}

}  // namespace fulmar::broker
