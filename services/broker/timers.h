#ifndef FULMAR_BROKER_TIMERS_H_
#define FULMAR_BROKER_TIMERS_H_

#include <cstdint>

#include "absl/container/btree_set.h"
#include "absl/functional/any_invocable.h"
#include "services/broker/held_ends.h"
#include "services/broker/held_messages.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Hands out the messages of one line (timers, or half messages to be checked) when their time has come by the wall clock; never before,
// whatever steps that clock takes, and after a step forward within a second. Leader only.
//
// Only the next ones are in memory; the rest waits in the index, which is read on from behind the last one that was seen, so that the
// tombstones of what has been handed out are not walked over again:
//
//   ended, gone │ under way │ ahead_: up to kAhead known ones │ known_to_ ... in the index only
class HeldTimers {
 public:
  // `fire` takes one whose time has come and tells, once, whether that is settled. When it is not (the log refuses), it comes again after a
  // second, and none is handed out before.
  using Fired = absl::AnyInvocable<void(bool settled) &&>;
  using Fire = absl::AnyInvocable<void(HeldDue due, Fired done)>;
  HeldTimers(ShardContext& context, HeldLine line, Fire fire) : context_(context), line_(line), fire_(std::move(fire)) {}

  void Start();
  void Stop();
  // One that came to wait, or waits for another time from now on.
  void Add(HeldDue due);

  static constexpr size_t kAhead = 1000;
  static constexpr int64_t kMaxUnderWay = 2000;

 private:
  void Run();
  void PostRun();
  void OnFired(HeldDue due, bool settled);
  void ReadAhead();
  void Arm();

  ShardContext& context_;
  const HeldLine line_;
  Fire fire_;
  bool running_ = false;
  uint64_t life_ = 0;                 // answers of an earlier one are not ours
  absl::btree_set<HeldDue> ahead_;    // everything before known_to_ that is not under way
  HeldDue known_to_;
  bool all_known_ = false;            // nothing waits behind known_to_
  int64_t under_way_ = 0;
  bool turn_posted_ = false;
  bool refused_ = false;
  common::Executor::TimerId timer_ = 0;
  int64_t armed_ms_ = INT64_MAX;      // wall clock
};

// Delayed messages: releases each when its time has come.
class Timers {
 public:
  Timers(ShardContext& context, HeldEnds& ends);
  void Start() { line_.Start(); }
  void Stop() { line_.Stop(); }
  void Add(HeldDue due) { line_.Add(due); }

 private:
  void Fire(HeldDue due, HeldTimers::Fired done);

  ShardContext& context_;
  HeldEnds& ends_;
  HeldTimers line_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_TIMERS_H_
