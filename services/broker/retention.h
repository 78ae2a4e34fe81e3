#ifndef FULMAR_BROKER_RETENTION_H_
#define FULMAR_BROKER_RETENTION_H_

#include <cstdint>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "services/broker/consumers.h"
#include "services/broker/held_ends.h"
#include "services/broker/progress_flusher.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Removes whole segments that are older than the retention time or beyond the size. Whatever lives only there (definitions, the key of
// receipt handles, the counters of queues without newer messages, progress that the offset service lacks) is appended again first, and
// nothing goes before the index has durably applied it: so the segments that remain always rebuild the same index.
//
//   doomed segments? ─► index durable beyond them? ─► append again what lives only there ─► trim the index, remove the segments
//                        no: flush, look again soon      refused: at the next check
class Retention {
 public:
  // `on_room`: messages that the group had in flight are gone.
  using OnRoom = absl::AnyInvocable<void(SubscribedQueue&, int64_t ended)>;
  Retention(ShardContext& context, Consumers& consumers, ProgressFlusher& progress, OnRoom on_room, HeldEnds& held)
      : context_(context), consumers_(consumers), progress_(progress), on_room_(std::move(on_room)), held_(held) {}

  void Start();
  void Stop();
 private:
  void Arm(absl::Duration delay);
  void Check();
  LogPosition DoomedEnd() const;
  // Starts to copy bodies of held messages that are still needed and lie below `end` to the head of the log, some at a time; AppendSnapshots()
  // follows them. False: none is left.
  bool CarryHeld(LogPosition end);
  void CarryOne(int64_t id, LogPosition end);
  void AppendSnapshots(LogPosition end);
  void OnAppended(const absl::Status& status, LogPosition end);
  // Some queues; the rest in tasks of their own, then the segments go.
  void TrimSome(LogPosition end, uint64_t round);

  ShardContext& context_;
  Consumers& consumers_;
  ProgressFlusher& progress_;
  OnRoom on_room_;
  HeldEnds& held_;
  common::Executor::TimerId timer_ = 0;
  bool running_ = false;
  int64_t appending_ = 0;
  LogPosition carried_to_;  // of this round: nothing needed lies below
  bool append_failed_ = false;
  bool trimming_ = false;
  uint64_t trim_round_ = 0;  // steps of earlier ones do nothing
  ShardState::TrimPlace trim_place_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_RETENTION_H_
