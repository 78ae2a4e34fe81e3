#ifndef FULMAR_BROKER_PROGRESS_FLUSHER_H_
#define FULMAR_BROKER_PROGRESS_FLUSHER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/functional/any_invocable.h"
#include "services/broker/consumers.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Carries progress to the offset service: all of each changed queue, all changed queues once per flush interval, in pieces of bounded
// size, one write at a time (so that writes cannot overtake each other). While the service is away, what changes goes into the shard's
// own log at the same pace, and everything the service lacks is offered to it again and again, with growing pauses.
//
//            write fails or takes too long
//   kThere ───────────────────────────────► kAway: changes → own log; everything lacking → service, by backoff
//          ◄───────────────────────────────
//            a write succeeds
class ProgressFlusher {
 public:
  // `on_fenced`: a higher term has claimed the shard; nothing may be served any more.
  ProgressFlusher(ShardContext& context, Consumers& consumers, absl::AnyInvocable<void(absl::Status)> on_fenced);

  void MarkChanged(SubscribedQueue& queue);
  // What an earlier leader left in the log only: the service lacks it.
  void MarkLacking(SubscribedQueue& queue);
  // The group is gone: the service forgets these.
  void Forget(std::vector<index::QueueProgress> deleted);
  // `done` when everything marked until now is durable, at the service or in the log. For acknowledgements with interval 0.
  void WhenKept(DoneStatus done);
  bool dirty() const { return !changed_.empty() || !lacking_.empty() || writing_ || logging_; }
  bool away() const { return away_; }
  // Forgets all; what waits gets `why`.
  void Clear(const absl::Status& why);

 private:
  using QueueKey = std::pair<uint64_t, int32_t>;  // Subscription::id, queue
  struct Written {
    QueueKey key;
    uint64_t sequence;
  };
  // What was to be written when a round began and has not been taken by one of its pieces.
  struct Round {
    std::vector<index::QueueProgress> deleted;
    absl::btree_set<QueueKey> changed, lacking;
    std::vector<DoneStatus> waiting;  // for all of it
    bool empty() const { return deleted.empty() && changed.empty() && lacking.empty(); }
  };
  struct Piece {
    std::vector<index::QueueProgress> entries;
    std::vector<Written> written;
    absl::btree_set<QueueKey> fresh;  // of those, the ones that were changed, and are not in the log
  };
  void Arm();
  void OnTimer();
  // As much as a piece may hold.
  Piece TakePiece(Round& round);
  void WriteToService();
  void WriteNextToLog();
  // What is left of the round waits as if it had never begun.
  void EndRound();
  void OnServiceAnswer(uint64_t epoch, const absl::Status& status);
  void OnServiceSlow(uint64_t epoch);
  void GoAway(const absl::Status& why);
  void AppendToLog(const std::vector<index::QueueProgress>& entries, DoneStatus done);
  SubscribedQueue* Find(const QueueKey& key);

  ShardContext& context_;
  Consumers& consumers_;
  absl::AnyInvocable<void(absl::Status)> on_fenced_;

  absl::btree_set<QueueKey> changed_;   // since they were last written anywhere
  absl::btree_set<QueueKey> lacking_;   // written to the log, not to the service
  std::vector<index::QueueProgress> deleted_;
  std::vector<DoneStatus> waiting_;     // for what is in changed_

  bool away_ = false;
  bool writing_ = false;                // a write to the service is under way
  uint64_t epoch_ = 0;                  // of that write; answers of others are late
  absl::Time started_;
  Piece in_write_;                      // that write
  Round round_;                         // what follows it
  bool logging_ = false;                // a round into the log is under way
  Round log_round_;                     // what is left of it
  uint64_t log_epoch_ = 0;              // posted steps of older ones do nothing
  std::shared_ptr<absl::Status> logged_;  // what became of its records so far
  common::Executor::TimerId timer_ = 0, slow_timer_ = 0, retry_timer_ = 0;
  absl::Duration backoff_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_PROGRESS_FLUSHER_H_
