#include "services/broker/progress_flusher.h"

#include <algorithm>

#include "services/broker/records.h"
#include "services/common/errors.h"
#include "services/common/log.h"

namespace fulmar::broker {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(50);
// Of one write to the service, and of one record: far below what a request or a record may have, and some milliseconds of work.
constexpr size_t kMaxPieceEntries = 4096;
constexpr size_t kMaxPieceBytes = 1 << 20;

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
  in_write_ = {};
  writing_ = away_ = logging_ = false;
  ++epoch_;
  ++log_epoch_;
  for (common::Executor::TimerId* timer : {&timer_, &slow_timer_, &retry_timer_}) {
    if (*timer != 0) context_.env.shard.Cancel(std::exchange(*timer, 0));
  }
  AnswerAll(std::exchange(waiting_, {}), why);
  AnswerAll(std::exchange(round_, {}).waiting, why);
  AnswerAll(std::exchange(log_round_, {}).waiting, why);
}

void ProgressFlusher::Arm() {
  if (timer_ != 0) return;
  timer_ = context_.After(context_.options.progress_flush_interval, [this] { OnTimer(); });
}

void ProgressFlusher::OnTimer() {
  timer_ = 0;
  if (away_) {
    if (logging_ || (changed_.empty() && waiting_.empty())) return;  // the end of the round arms the next
    lacking_.insert(changed_.begin(), changed_.end());
    log_round_ = {.changed = std::exchange(changed_, {}), .waiting = std::exchange(waiting_, {})};
    logged_ = std::make_shared<absl::Status>();
    logging_ = true;
    WriteNextToLog();
    return;
  }
  if (writing_) return;  // its answer arms the next
  WriteToService();
}

ProgressFlusher::Piece ProgressFlusher::TakePiece(Round& round) {
  Piece piece;
  size_t bytes = 0;
  const auto fits = [&] { return piece.entries.size() < kMaxPieceEntries && bytes < kMaxPieceBytes; };
  // What was deleted goes first: a group that was made again at once has new progress under the same name.
  size_t deleted = 0;
  for (; deleted < round.deleted.size() && fits(); ++deleted) {
    bytes += index::MaxEncodedBytes(round.deleted[deleted]);
    piece.entries.push_back(std::move(round.deleted[deleted]));
  }
  round.deleted.erase(round.deleted.begin(), round.deleted.begin() + static_cast<std::ptrdiff_t>(deleted));
  const absl::Duration wall_minus_steady = context_.WallMinusSteady();
  for (absl::btree_set<QueueKey>* keys : {&round.changed, &round.lacking}) {
    auto key = keys->begin();
    for (; key != keys->end() && fits(); ++key) {
      SubscribedQueue* queue = Find(*key);
      if (queue == nullptr) continue;  // its topic or group was deleted
      queue->marked = false;
      index::QueueProgress& entry = piece.entries.emplace_back();
      entry.group = queue->subscription.group_name();
      entry.topic_id = queue->queue.id.topic_id;
      entry.queue = queue->queue.id.queue;
      queue->progress.Save(wall_minus_steady, entry);
      entry.sequence = ++queue->sequence;
      bytes += index::MaxEncodedBytes(entry);
      piece.written.push_back({*key, entry.sequence});
      if (keys == &round.changed) piece.fresh.insert(*key);
    }
    keys->erase(keys->begin(), key);
  }
  return piece;
}

void ProgressFlusher::WriteToService() {
  if (round_.empty()) {
    round_.deleted = std::exchange(deleted_, {});
    round_.changed = std::exchange(changed_, {});
    for (const QueueKey& key : lacking_) {
      if (!round_.changed.contains(key)) round_.lacking.insert(round_.lacking.end(), key);
    }
    round_.waiting.insert(round_.waiting.end(), std::make_move_iterator(waiting_.begin()), std::make_move_iterator(waiting_.end()));
    waiting_.clear();
  }
  in_write_ = TakePiece(round_);
  if (in_write_.entries.empty()) {
    AnswerAll(std::exchange(round_.waiting, {}), absl::OkStatus());
    return;
  }
  writing_ = true;
  started_ = context_.env.clock.Now();
  const uint64_t epoch = ++epoch_;
  slow_timer_ = context_.After(context_.options.progress_write_timeout, [this, epoch] { OnServiceSlow(epoch); });
  context_.env.progress.Write(context_.options.name, context_.term, in_write_.entries,
                              context_.OnShard<absl::Status>([this, epoch](const absl::Status& status) { OnServiceAnswer(epoch, status); }));
}

void ProgressFlusher::OnServiceAnswer(uint64_t epoch, const absl::Status& status) {
  if (epoch != epoch_ || !writing_) return;
  writing_ = false;
  if (slow_timer_ != 0) context_.env.shard.Cancel(std::exchange(slow_timer_, 0));
  const absl::Duration took = context_.env.clock.Now() - started_;
  if (status.ok()) {
    context_.observer().OnProgressWritten(ShardObserver::ProgressResult::kStored, took, in_write_.entries.size());
    for (const Written& written : in_write_.written) {
      lacking_.erase(written.key);
      if (SubscribedQueue* queue = Find(written.key); queue != nullptr) {
        queue->confirmed = written.sequence;
        if (queue->sequence > written.sequence) lacking_.insert(written.key);  // logged since
      }
    }
    in_write_ = {};
    if (away_) FULMAR_LOG(kInfo, "offset_service_back", {{"shard", context_.options.name}});
    away_ = false;
    backoff_ = kFirstBackoff;
    if (!round_.empty()) return WriteToService();
    AnswerAll(std::exchange(round_.waiting, {}), absl::OkStatus());
    if (!changed_.empty() || !lacking_.empty() || !deleted_.empty() || !waiting_.empty()) Arm();
    return;
  }
  context_.observer().OnProgressWritten(ShardObserver::ProgressResult::kFailed, took, in_write_.entries.size());
  if (absl::IsFailedPrecondition(status)) {
    AnswerAll(std::exchange(round_.waiting, {}), errors::HaNotAvailable(status.message()));
    on_fenced_(status);
    return;
  }
  std::vector<index::QueueProgress> deleted;
  for (index::QueueProgress& entry : in_write_.entries) {
    if (entry.deleted) deleted.push_back(std::move(entry));
  }
  std::erase_if(in_write_.entries, [](const index::QueueProgress& entry) { return entry.deleted; });
  GoAway(status);
  deleted_.insert(deleted_.begin(), std::make_move_iterator(deleted.begin()), std::make_move_iterator(deleted.end()));
  in_write_ = {};
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

void ProgressFlusher::EndRound() {
  Round round = std::exchange(round_, {});
  deleted_.insert(deleted_.begin(), std::make_move_iterator(round.deleted.begin()), std::make_move_iterator(round.deleted.end()));
  changed_.insert(round.changed.begin(), round.changed.end());
  waiting_.insert(waiting_.begin(), std::make_move_iterator(round.waiting.begin()), std::make_move_iterator(round.waiting.end()));
}

void ProgressFlusher::GoAway(const absl::Status& why) {
  for (const Written& written : in_write_.written) lacking_.insert(written.key);
  if (!away_) FULMAR_LOG(kWarn, "offset_service_away", {{"shard", context_.options.name}, {"error", why}});
  if (!away_ && !in_write_.fresh.empty()) {
    // As it was when it was sent: it may still arrive there, and the log then has the same.
    std::vector<index::QueueProgress> entries = in_write_.entries;
    std::erase_if(entries, [](const index::QueueProgress& entry) { return entry.deleted; });
    const bool last = round_.empty();
    std::vector<DoneStatus> waiting;
    if (last) waiting = std::exchange(round_.waiting, {});
    AppendToLog(entries, [waiting = std::move(waiting)](const absl::Status& status) mutable { AnswerAll(std::move(waiting), status); });
  } else {
    // It was away already: what the log has not seen goes there with the next tick.
    changed_.insert(in_write_.fresh.begin(), in_write_.fresh.end());
  }
  in_write_.fresh.clear();
  EndRound();
  away_ = true;
  if (!changed_.empty() || !waiting_.empty()) Arm();
}

// A piece at a time, so that the shard is not held for long.
void ProgressFlusher::WriteNextToLog() {
  const Piece piece = TakePiece(log_round_);
  logging_ = !log_round_.empty();
  std::vector<DoneStatus> waiting;
  if (!logging_) waiting = std::exchange(log_round_.waiting, {});
  AppendToLog(piece.entries, [logged = logged_, waiting = std::move(waiting)](const absl::Status& status) mutable {
    logged->Update(status);
    AnswerAll(std::move(waiting), *logged);
  });
  if (!logging_) {
    if (!changed_.empty() || !waiting_.empty()) Arm();
    return;
  }
  context_.Post([this, epoch = log_epoch_] {
    if (epoch == log_epoch_) WriteNextToLog();
  });
}

void ProgressFlusher::AppendToLog(const std::vector<index::QueueProgress>& entries, DoneStatus done) {
  std::vector<std::string> encoded;
  encoded.reserve(entries.size());
  for (const index::QueueProgress& entry : entries) encoded.push_back(index::Encode(entry));
  context_.observer().OnProgressWritten(ShardObserver::ProgressResult::kLogged, absl::ZeroDuration(), entries.size());
  context_.log->Append(log::RecordType::kProgressBatch, EncodeProgressBatch(encoded), log::Durability::kSync,
                       log::AppendClass::kInternal, [done = std::move(done)](const absl::StatusOr<log::RecordPlace>& place) mutable {
                         std::move(done)(place.ok() ? absl::OkStatus() : errors::HaNotAvailable(place.status().message()));
                       });
}

SubscribedQueue* ProgressFlusher::Find(const QueueKey& key) {
  Subscription* subscription = consumers_.Find(key.first);
  if (subscription == nullptr || key.second >= static_cast<int32_t>(subscription->queues.size())) return nullptr;
  return subscription->queues[static_cast<size_t>(key.second)].get();
}

}  // namespace fulmar::broker
