#include "services/broker/progress_flusher.h"

#include <algorithm>

#include "services/broker/records.h"
#include "services/common/errors.h"
#include "services/common/log.h"

namespace fulmar::broker {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(50);

void AnswerAll(std::vector<DoneStatus> waiting, const absl::Status& status) {
  for (DoneStatus& done : waiting) std::move(done)(status);
}

}  // namespace

ProgressFlusher::ProgressFlusher(ShardContext& context, Consumers& consumers, absl::AnyInvocable<void(absl::Status)> on_fenced)
    : context_(context), consumers_(consumers), on_fenced_(std::move(on_fenced)), backoff_(kFirstBackoff) {}

void ProgressFlusher::MarkChanged(SubscribedQueue& queue) {
  if (queue.marked) return;
  queue.kept = queue.marked = true;
  changed_.emplace(queue.subscription.id, queue.queue.id.queue);
  Arm();
}

void ProgressFlusher::MarkLacking(SubscribedQueue& queue) {
  lacking_.emplace(queue.subscription.id, queue.queue.id.queue);
  Arm();
}

void ProgressFlusher::Forget(std::vector<index::QueueProgress> deleted) {
  deleted_.insert(deleted_.end(), std::make_move_iterator(deleted.begin()), std::make_move_iterator(deleted.end()));
  if (!deleted_.empty()) Arm();
}

void ProgressFlusher::WhenKept(DoneStatus done) {
  waiting_.push_back(std::move(done));
  Arm();
}

void ProgressFlusher::Clear(const absl::Status& why) {
  changed_.clear();
  lacking_.clear();
  deleted_.clear();
  fresh_.clear();
  in_write_.clear();
  written_.clear();
  writing_ = away_ = false;
  ++epoch_;
  for (common::Executor::TimerId* timer : {&timer_, &slow_timer_, &retry_timer_}) {
    if (*timer != 0) context_.env.shard.Cancel(std::exchange(*timer, 0));
  }
  AnswerAll(std::exchange(waiting_, {}), why);
  AnswerAll(std::exchange(waiting_in_write_, {}), why);
}

void ProgressFlusher::Arm() {
  if (timer_ != 0) return;
  timer_ = context_.After(context_.options.progress_flush_interval, [this] { OnTimer(); });
}

void ProgressFlusher::OnTimer() {
  timer_ = 0;
  if (away_) {
    if (changed_.empty()) {
      if (!waiting_.empty()) WriteToLog({}, std::exchange(waiting_, {}));
      return;
    }
    std::vector<Written> written;
    const std::vector<index::QueueProgress> entries = Take(changed_, written);
    lacking_.insert(changed_.begin(), changed_.end());
    changed_.clear();
    WriteToLog(entries, std::exchange(waiting_, {}));
    return;
  }
  if (writing_) return;  // its answer arms the next
  WriteToService();
}

std::vector<index::QueueProgress> ProgressFlusher::Take(const absl::btree_set<QueueKey>& keys, std::vector<Written>& written) {
  std::vector<index::QueueProgress> entries;
  entries.reserve(keys.size());
  const absl::Duration wall_minus_steady = context_.WallMinusSteady();
  for (const QueueKey& key : keys) {
    SubscribedQueue* queue = Find(key);
    if (queue == nullptr) continue;  // its topic or group was deleted
    queue->marked = false;
    index::QueueProgress& entry = entries.emplace_back();
    entry.group = queue->subscription.group_name();
    entry.topic_id = queue->queue.id.topic_id;
    entry.queue = queue->queue.id.queue;
    queue->progress.Save(wall_minus_steady, entry);
    entry.sequence = ++queue->sequence;
    written.push_back({key, entry.sequence});
  }
  return entries;
}

void ProgressFlusher::WriteToService() {
  fresh_ = std::exchange(changed_, {});
  absl::btree_set<QueueKey> keys = fresh_;
  keys.insert(lacking_.begin(), lacking_.end());
  waiting_in_write_ = std::exchange(waiting_, {});
  written_.clear();
  // What was deleted goes first: a group that was made again at once has new progress under the same name.
  in_write_ = std::exchange(deleted_, {});
  std::vector<index::QueueProgress> entries = Take(keys, written_);
  in_write_.insert(in_write_.end(), std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end()));
  if (in_write_.empty()) {
    AnswerAll(std::exchange(waiting_in_write_, {}), absl::OkStatus());
    return;
  }
  writing_ = true;
  started_ = context_.env.clock.Now();
  const uint64_t epoch = ++epoch_;
  slow_timer_ = context_.After(context_.options.progress_write_timeout, [this, epoch] { OnServiceSlow(epoch); });
  context_.env.progress.Write(context_.options.name, context_.term, in_write_,
                              context_.OnShard<absl::Status>([this, epoch](const absl::Status& status) { OnServiceAnswer(epoch, status); }));
}

void ProgressFlusher::OnServiceAnswer(uint64_t epoch, const absl::Status& status) {
  if (epoch != epoch_ || !writing_) return;
  writing_ = false;
  if (slow_timer_ != 0) context_.env.shard.Cancel(std::exchange(slow_timer_, 0));
  const absl::Duration took = context_.env.clock.Now() - started_;
  if (status.ok()) {
    context_.observer().OnProgressWritten(ShardObserver::ProgressResult::kStored, took, in_write_.size());
    for (const Written& written : written_) {
      lacking_.erase(written.key);
      if (SubscribedQueue* queue = Find(written.key); queue != nullptr) {
        queue->confirmed = written.sequence;
        if (away_ && queue->sequence > written.sequence) lacking_.insert(written.key);  // logged since
      }
    }
    in_write_.clear();
    if (away_) FULMAR_LOG(kInfo, "offset_service_back", {{"shard", context_.options.name}});
    away_ = false;
    backoff_ = kFirstBackoff;
    AnswerAll(std::exchange(waiting_in_write_, {}), absl::OkStatus());
    if (!changed_.empty() || !lacking_.empty() || !deleted_.empty() || !waiting_.empty()) Arm();
    return;
  }
  context_.observer().OnProgressWritten(ShardObserver::ProgressResult::kFailed, took, in_write_.size());
  if (absl::IsFailedPrecondition(status)) {
    AnswerAll(std::exchange(waiting_in_write_, {}), errors::HaNotAvailable(status.message()));
    on_fenced_(status);
    return;
  }
  for (index::QueueProgress& entry : in_write_) {
    if (entry.deleted) deleted_.push_back(std::move(entry));
  }
  std::erase_if(in_write_, [](const index::QueueProgress& entry) { return entry.deleted; });
  GoAway(status);
  in_write_.clear();
  backoff_ = std::min(backoff_ * 2, context_.options.progress_max_backoff);
  retry_timer_ = context_.After(backoff_, [this] {
    retry_timer_ = 0;
    if (!writing_) WriteToService();
  });
}

// The write may still succeed; until it answers no other is started, but acknowledgements do not wait for it.
void ProgressFlusher::OnServiceSlow(uint64_t epoch) {
  slow_timer_ = 0;
  if (epoch == epoch_ && writing_) GoAway(absl::DeadlineExceededError("no answer in time"));
}

void ProgressFlusher::GoAway(const absl::Status& why) {
  for (const Written& written : written_) lacking_.insert(written.key);
  if (!away_) {
    FULMAR_LOG(kWarn, "offset_service_away", {{"shard", context_.options.name}, {"error", why}});
    std::vector<index::QueueProgress> entries = in_write_;
    std::erase_if(entries, [](const index::QueueProgress& entry) { return entry.deleted; });
    WriteToLog(entries, std::exchange(waiting_in_write_, {}));
  } else {
    // It was away already: what the log has not seen goes there with the next tick.
    changed_.insert(fresh_.begin(), fresh_.end());
    waiting_.insert(waiting_.begin(), std::make_move_iterator(waiting_in_write_.begin()), std::make_move_iterator(waiting_in_write_.end()));
    waiting_in_write_.clear();
  }
  fresh_.clear();
  away_ = true;
  if (!changed_.empty() || !waiting_.empty()) Arm();
}

void ProgressFlusher::WriteToLog(const std::vector<index::QueueProgress>& entries, std::vector<DoneStatus> waiting) {
  std::vector<std::string> encoded;
  encoded.reserve(entries.size());
  for (const index::QueueProgress& entry : entries) encoded.push_back(index::Encode(entry));
  context_.observer().OnProgressWritten(ShardObserver::ProgressResult::kLogged, absl::ZeroDuration(), entries.size());
  context_.log->Append(log::RecordType::kProgressBatch, EncodeProgressBatch(encoded), log::Durability::kSync,
                       log::AppendClass::kInternal,
                       [waiting = std::move(waiting)](absl::StatusOr<log::RecordPlace> place) mutable {
                         AnswerAll(std::move(waiting), place.ok() ? absl::OkStatus()
                                                                  : errors::HaNotAvailable(place.status().message()));
                       });
}

SubscribedQueue* ProgressFlusher::Find(const QueueKey& key) {
  Subscription* subscription = consumers_.Find(key.first);
  if (subscription == nullptr || key.second >= static_cast<int32_t>(subscription->queues.size())) return nullptr;
  return subscription->queues[static_cast<size_t>(key.second)].get();
}

}  // namespace fulmar::broker
