#ifndef FULMAR_BROKER_DEDUP_H_
#define FULMAR_BROKER_DEDUP_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "services/broker/dedup_index.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// In a topic with a dedup window a producer's repeat of a message is stored once and answered like the first: the same message id, queue
// and offset. A repeat has the same client id, message id and body. The key travels in the message's record, so the window survives
// restarts, new leaders and rebuilds of the index; it counts from the store time of the first. Sends to such a topic are answered when
// they are durable and applied, whatever the topic's durability: earlier, a repeat could meet neither of the two books below.
//
//   Begin ──► in the index, inside the window ──► answered
//         ──► being appended ──► waits ──────────► answered with the first one
//         ──► neither: a key ──► the caller appends ──► End
//
// Leader only; what is kept in memory is bounded by what waits for the log, and kMaxWaiting repeats of each.
class Dedup {
 public:
  struct Place {
    int32_t queue = 0;
    int64_t offset = 0;
  };
  using Answer = absl::AnyInvocable<void(const absl::StatusOr<Place>&) &&>;
  static constexpr size_t kMaxWaiting = 16;

  explicit Dedup(ShardContext& context) : context_(context) {}

  // A key: the message is new, the caller appends it with AddDedupKey() and calls End(). Else `answer` has been called, or
  // will be when the first one is answered.
  // Errors in `answer`: TooManyRequests (too many repeats wait already), those of the first one.
  std::optional<DedupKey> Begin(const Topic& topic, const ClientRef& client, std::string_view message_id, std::string_view body_digest,
                                Answer answer);
  void End(uint32_t topic_id, const DedupKey& key, const absl::StatusOr<Place>& place);

  // Removes a slice of what is over from the index; to be called now and then.
  void Expire();

 private:
  ShardContext& context_;
  absl::btree_map<std::pair<uint32_t, DedupKey>, std::vector<Answer>> pending_;
};

DedupKey MakeDedupKey(std::string_view client_id, std::string_view message_id, std::string_view body_digest);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_DEDUP_H_
