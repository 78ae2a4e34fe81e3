#ifndef FULMAR_BROKER_LOOKUPS_H_
#define FULMAR_BROKER_LOOKUPS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "services/broker/found_message.h"
#include "services/broker/held_messages.h"
#include "services/broker/shard_context.h"
#include "services/index/key_index.h"

namespace fulmar::broker {

// Finds messages by id, key and time, for people. Never on the path of messages: the index is read in slices on the reader threads, records come
// one after the other, and only a few look-ups run at once.
// Threads: the shard; slices of the index are read on env.reader and touch nothing but the store.
class Lookups {
 public:
  explicit Lookups(ShardContext& context) : context_(context) {}
  static constexpr size_t kMaxRunning = 16;
  static constexpr int32_t kMaxMessages = 1000;

  // Errors: TopicNotFound, TooManyRequests (kMaxRunning), InternalServerError (damage). Nothing found is an empty answer.
  void Find(FindCommand command, Done<FindOutcome> done);
  // Errors: TopicNotFound, TooManyRequests, PreconditionFailed (no trace is kept).
  void TraceOf(const std::string& topic, const FoundMessage& message, Done<std::vector<TraceEvent>> done);
  void EndAll(const absl::Status& why);

 private:
  struct Candidate {
    index::QueueId queue;  // of a list by time
    index::QueueEntry entry;
    index::KeyIndex::Hit hit;  // of the others
  };
  struct Slice {
    std::vector<Candidate> candidates;
    bool finished = false;
    int64_t looked = 0;
    std::optional<FindPlace> reached;  // of a list by time: everything up to here was looked at
    LogPosition below;                 // of the others: where the next slice goes on
  };
  struct Search {
    FindCommand command;
    Done<FindOutcome> done;
    uint32_t topic_id = 0;
    bool by_time = false;
    std::vector<std::pair<index::QueueId, index::QueueCounters>> queues;
    index::KeyIndex::Query query;
    bool near_its_time = false;  // the first pass: only blocks of about the time in the message id
    Slice slice;
    size_t next = 0;             // of the slice's candidates
    int64_t looked = 0;
    uint64_t bytes = 0;
    FindOutcome outcome;
    std::vector<int64_t> held;   // ids of held messages that were met: their records may lie in the log more than once
  };

  static absl::StatusOr<Slice> ListByTime(const index::KvStore& kv, const Search& search, const std::string& shard);
  static absl::StatusOr<Slice> FindByHash(const index::KvStore& kv, const Search& search);
  Search* Get(uint64_t id);
  void ReadSlice(uint64_t id);
  void OnSlice(uint64_t id, absl::StatusOr<Slice> slice);
  // The next candidate, the next slice, or the end.
  void Next(uint64_t id);
  void ReadHit(uint64_t id, index::KeyIndex::Hit hit);
  void OnHeldBody(uint64_t id, FoundMessage found);
  // In the end of each candidate.
  void Take(uint64_t id, FoundMessage found);
  void Finish(uint64_t id, absl::Status status, bool more);

  ShardContext& context_;
  uint64_t last_ = 0;
  size_t tracing_ = 0;
  absl::btree_map<uint64_t, std::shared_ptr<Search>> running_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_LOOKUPS_H_
