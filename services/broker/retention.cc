#include "services/broker/retention.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "services/common/log.h"

namespace fulmar::broker {
namespace {

constexpr absl::Duration kSoon = absl::Seconds(1);
constexpr size_t kCarriedAtOnce = 256;
constexpr uint64_t kCarriedBytesAtOnce = 8 << 20;
// Some milliseconds each, for the shard does nothing else meanwhile.
constexpr size_t kTrimmedAtOnce = 64;
constexpr size_t kSnapshotsAtOnce = 1024;

}  // namespace

void Retention::Start() {
  running_ = true;
  append_failed_ = false;
  appending_ = 0;
  trimming_ = false;
  ++trim_round_;
  Arm(context_.options.retention_check_interval);
}

void Retention::Stop() {
  running_ = false;
  if (timer_ != 0) context_.env.shard.Cancel(std::exchange(timer_, 0));
}

void Retention::Arm(absl::Duration delay) {
  if (timer_ != 0) return;
  timer_ = context_.After(delay, [this] {
    timer_ = 0;
    if (running_) Check();
  });
}

LogPosition Retention::DoomedEnd() const {
  const std::vector<log::SegmentInfo> segments = context_.log->Segments();
  const ShardOptions& options = context_.options;
  const absl::Time oldest = context_.env.clock.Now() - options.retention_time;
  uint64_t bytes = 0;
  for (const log::SegmentInfo& segment : segments) bytes += segment.file_bytes;
  // What waits is carried forward, not removed: it does not count, else a full log would copy it round and round.
  bytes -= std::min(bytes, static_cast<uint64_t>(context_.state.held().counts().bytes));
  LogPosition end = segments.empty() ? LogPosition{} : segments.front().base;
  for (const log::SegmentInfo& segment : segments) {
    const bool too_old = segment.last_entry_time < oldest;
    const bool too_much = options.retention_bytes > 0 && bytes > options.retention_bytes;
    if (!segment.sealed || (!too_old && !too_much)) break;
    bytes -= std::min(bytes, segment.file_bytes);
    end = segment.end;
  }
  return end;
}

void Retention::Check() {
  Arm(context_.options.retention_check_interval);
  context_.state.DropIdleRings();
  if (appending_ > 0 || trimming_) return;
  const LogPosition end = DoomedEnd();
  if (end <= context_.log->Stats().begin) return;
  if (index::ReadDurableApplied(context_.env.kv).position < end) {
    context_.env.kv.FlushAsync();
    if (timer_ != 0) context_.env.shard.Cancel(std::exchange(timer_, 0));
    return Arm(std::min(kSoon, context_.options.retention_check_interval));
  }
  carried_to_ = {};
  append_failed_ = false;
  AppendSnapshots(end);
}

bool Retention::CarryHeld(LogPosition end) {
  std::vector<int64_t> needed;
  uint64_t bytes = 0;
  bool more = true;
  while (more && needed.size() < kCarriedAtOnce && bytes < kCarriedBytesAtOnce) {
    const std::vector<HeldMessages::BodyAt> bodies = context_.state.held().Bodies(carried_to_, end, kCarriedAtOnce);
    more = !bodies.empty();
    for (const HeldMessages::BodyAt& body : bodies) {
      carried_to_ = {body.position.value + 1};
      const std::optional<HeldState> state = context_.state.held().Find(body.id);
      // Nobody can ask for the body of one that was released below `end`, too.
      if (!state || (state->stage != HeldStage::kWaiting && state->end < end)) continue;
      needed.push_back(body.id);
      bytes += state->body_bytes;
      if (bytes >= kCarriedBytesAtOnce) break;
    }
  }
  appending_ += static_cast<int64_t>(needed.size());
  for (const int64_t id : needed) CarryOne(id, end);
  return !needed.empty();
}

void Retention::CarryOne(int64_t id, LogPosition end) {
  held_.With(id, [this, id, end](absl::StatusOr<HeldEnds::Turn> turn) {
    if (!turn.ok()) return OnAppended(turn.status(), end);
    const std::optional<HeldState> state = context_.state.held().Find(id);
    if (!state || state->stage == HeldStage::kDropped || state->body >= end) return OnAppended(absl::OkStatus(), end);
    held_.Carry(*std::move(turn), *state, [this, end](const absl::Status& status) { OnAppended(status, end); });
  });
}

void Retention::OnAppended(const absl::Status& status, LogPosition end) {
  if (!status.ok()) append_failed_ = true;
  if (--appending_ > 0 || !running_) return;
  // Looks again: nothing is left below unless something failed, which the next check repeats.
  if (append_failed_) return;
  context_.Post([this, end] {
    if (running_ && appending_ == 0) AppendSnapshots(end);
  });
}

void Retention::AppendSnapshots(LogPosition end) {
  if (CarryHeld(end)) return;
  auto records = context_.state.SnapshotsBelow(end, kSnapshotsAtOnce, [this](const ShardState::ProgressId& id, uint64_t sequence) {
    Subscription* subscription = consumers_.Find(id.first, id.second.topic_id);
    if (subscription == nullptr || static_cast<size_t>(id.second.queue) >= subscription->queues.size()) return false;
    return subscription->queues[static_cast<size_t>(id.second.queue)]->confirmed >= sequence;
  });
  if (records.empty()) {
    FULMAR_LOG(kInfo, "retention_removes_segments", {{"shard", context_.options.name}, {"below", end.value}});
    trim_place_ = {};
    return TrimSome(end, ++trim_round_);
  }
  appending_ = static_cast<int64_t>(records.size());
  append_failed_ = false;
  for (auto& [type, body] : records) {
    context_.log->Append(type, std::move(body), log::Durability::kSync, log::AppendClass::kInternal,
                         [this, end](const absl::StatusOr<log::RecordPlace>& place) { OnAppended(place.status(), end); });
  }
}

void Retention::TrimSome(LogPosition end, uint64_t round) {
  if (!running_ || round != trim_round_) return;
  const absl::StatusOr<bool> done = context_.state.Trim(end, trim_place_, kTrimmedAtOnce, [this](Queue& queue) {
    consumers_.ForEachOfTopic(queue.id.topic_id, [&](Subscription& subscription) {
      if (static_cast<size_t>(queue.id.queue) >= subscription.queues.size()) return;
      SubscribedQueue& subscribed = *subscription.queues[static_cast<size_t>(queue.id.queue)];
      const int64_t flights = subscribed.progress.flights();
      const int64_t lost = subscribed.progress.MoveUp(queue.counters.min);
      if (const int64_t ended = flights - subscribed.progress.flights(); ended > 0) on_room_(subscribed, ended);
      if (lost == 0) return;
      context_.observer().OnLost(subscription.topic_name(), subscription.group_name(), static_cast<uint64_t>(lost));
      progress_.MarkChanged(subscribed);
    });
  });
  trimming_ = done.ok() && !*done;
  if (trimming_) return context_.Post([this, end, round] { TrimSome(end, round); });
  // What the index cannot tell (it is damaged) may be needed for a new one.
  if (done.ok() && !context_.env.kv.GetStats().damaged) context_.log->RemoveSegmentsBelow(end);
}

}  // namespace fulmar::broker
