#include "services/broker/timers.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "services/common/log.h"

namespace fulmar::broker {
namespace {

// How long a step of the wall clock may stay unnoticed.
constexpr absl::Duration kLook = absl::Seconds(1);
constexpr absl::Duration kRetryDelay = absl::Seconds(1);
constexpr absl::Duration kShortest = absl::Microseconds(100);

}  // namespace

void HeldTimers::Start() {
  ++life_;
  running_ = true;
  ahead_.clear();
  known_to_ = {};
  all_known_ = false;
  under_way_ = 0;
  refused_ = false;
  Run();
}

void HeldTimers::Stop() {
  ++life_;
  running_ = false;
  ahead_.clear();
  if (timer_ != 0) context_.env.shard.Cancel(std::exchange(timer_, 0));
  armed_ms_ = INT64_MAX;
}

void HeldTimers::Add(HeldDue due) {
  if (!running_) return;
  if (all_known_ && ahead_.size() < kAhead) {
    known_to_ = std::max(known_to_, due);
  } else if (due > known_to_) {
    all_known_ = false;
    return;
  }
  ahead_.insert(due);
  if (ahead_.size() > 2 * kAhead) {  // the far ones are found again in the index
    while (ahead_.size() > kAhead) ahead_.erase(std::prev(ahead_.end()));
    known_to_ = *ahead_.rbegin();
    all_known_ = false;
  }
  if (*ahead_.begin() == due) PostRun();  // behind the other records of its entry
}

void HeldTimers::PostRun() {
  if (turn_posted_) return;
  turn_posted_ = true;
  context_.Post([this] {
    turn_posted_ = false;
    if (running_) Run();
  });
}

void HeldTimers::ReadAhead() {
  if (all_known_ || !ahead_.empty()) return;
  const std::vector<HeldDue> next = context_.state.held().Read(line_, known_to_, kAhead);
  all_known_ = next.size() < kAhead;
  if (next.empty()) return;
  ahead_.insert(next.begin(), next.end());
  known_to_ = next.back();
}

void HeldTimers::Run() {
  while (under_way_ < kMaxUnderWay && !refused_) {
    ReadAhead();
    if (ahead_.empty() || ahead_.begin()->due_ms > absl::ToUnixMillis(context_.env.clock.Now())) break;
    const HeldDue due = *ahead_.begin();
    ahead_.erase(ahead_.begin());
    ++under_way_;
    fire_(due, [this, due, life = life_](bool settled) {
      if (life == life_) OnFired(due, settled);
    });
  }
  Arm();
}

void HeldTimers::OnFired(HeldDue due, bool settled) {
  --under_way_;
  if (!settled) {
    ahead_.insert(due);
    if (std::exchange(refused_, true)) return;
    context_.After(kRetryDelay, [this, life = life_] {
      if (life != life_) return;
      refused_ = false;
      Run();
    });
    return;
  }
  // The others have their turn when half of the room is free: then many go in one batch of the log.
  if (under_way_ <= kMaxUnderWay / 2) PostRun();
}

void HeldTimers::Arm() {
  if (ahead_.empty() || under_way_ >= kMaxUnderWay || refused_) return;
  const int64_t due_ms = ahead_.begin()->due_ms;
  if (timer_ != 0 && armed_ms_ <= due_ms) return;
  if (timer_ != 0) context_.env.shard.Cancel(std::exchange(timer_, 0));
  armed_ms_ = due_ms;
  const absl::Duration wait = absl::FromUnixMillis(due_ms) - context_.env.clock.Now();
  timer_ = context_.After(std::clamp(wait, kShortest, kLook), [this] {
    timer_ = 0;
    armed_ms_ = INT64_MAX;
    if (running_) Run();
  });
}

Timers::Timers(ShardContext& context, HeldEnds& ends)
    : context_(context), ends_(ends), line_(context, HeldLine::kTimers, [this](HeldDue due, HeldTimers::Fired done) { Fire(due, std::move(done)); }) {}

void Timers::Fire(HeldDue due, HeldTimers::Fired done) {
  ends_.With(due.id, [this, due, done = std::move(done)](absl::StatusOr<HeldEnds::Turn> turn) mutable {
    if (!turn.ok()) return std::move(done)(false);
    const std::optional<HeldState> state = context_.state.held().Find(due.id);
    if (!state || state->stage != HeldStage::kWaiting || state->due_ms != due.due_ms) return std::move(done)(true);  // recalled
    ends_.Release(*std::move(turn), *state, [this, done = std::move(done)](const absl::Status& status) mutable {
      if (!status.ok() && !absl::IsNotFound(status)) {
        FULMAR_LOG_EVERY(absl::Seconds(10), kWarn, "timer_late", {{"shard", context_.options.name}, {"why", status}});
      }
      std::move(done)(status.ok() || absl::IsNotFound(status));
    });
  });
}

}  // namespace fulmar::broker
