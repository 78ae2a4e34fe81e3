#ifndef FULMAR_BROKER_DEAD_LETTERS_H_
#define FULMAR_BROKER_DEAD_LETTERS_H_

#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/any_invocable.h"
#include "services/broker/auto_create.h"
#include "services/broker/consumers.h"
#include "services/broker/progress_flusher.h"
#include "services/broker/retry.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Moves a message of which a group has no attempt left into the group's dead-letter topic, %DLQ%<group>: an ordinary topic of one queue,
// made when first needed. First the copy becomes durable, then the original counts as acknowledged; a crash between them leaves a
// second copy, never none. What has expired ends without a copy. The copy keeps id, tag, keys, properties and body, and says where it came from.
class DeadLetters {
 public:
  // `on_room`: the group has one message less in flight.
  using OnRoom = absl::AnyInvocable<void(Subscription&)>;
  DeadLetters(ShardContext& context, Consumers& consumers, AutoCreate& definitions, ProgressFlusher& progress, RetryTimes& retry,
              OnRoom on_room)
      : context_(context), consumers_(consumers), definitions_(definitions), progress_(progress), retry_(retry),
        on_room_(std::move(on_room)) {}

  // The message, which must not be done, is out of everybody's reach from now on. `done` when it is moved; on an error it is tried
  // again later by itself. Asked twice, it is moved once and both are answered.
  void Move(SubscribedQueue& queue, int64_t offset, DoneStatus done);
  bool Moving(const SubscribedQueue& queue, int64_t offset) const;
  void Clear(const absl::Status& why);

 private:
  using Key = std::tuple<uint64_t, int32_t, int64_t>;  // subscription, queue, offset
  struct Moved {
    uint32_t hold = 0;
    int64_t visible_since_ms = 0;
    std::vector<DoneStatus> waiting;
  };
  static Key KeyOf(const SubscribedQueue& queue, int64_t offset);
  SubscribedQueue* Find(const Key& key);
  void OnBody(const Key& key, absl::StatusOr<common::SharedBytes> body);
  void Append(const Key& key, const common::SharedBytes& body, Topic& topic);
  enum class End { kMoved, kGone /* retention was faster */, kExpired, kFailed };
  void Finish(const Key& key, End end, const absl::Status& status);

  ShardContext& context_;
  Consumers& consumers_;
  AutoCreate& definitions_;
  ProgressFlusher& progress_;
  RetryTimes& retry_;
  OnRoom on_room_;
  absl::btree_map<Key, Moved> moving_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_DEAD_LETTERS_H_
