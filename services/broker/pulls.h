#ifndef FULMAR_BROKER_PULLS_H_
#define FULMAR_BROKER_PULLS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "services/broker/auto_create.h"
#include "services/broker/client_table.h"
#include "services/broker/consumers.h"
#include "services/broker/delivery.h"
#include "services/broker/progress_flusher.h"
#include "services/broker/shard_context.h"

namespace fulmar::broker {

// Consumption by offset: the client reads where it likes and keeps its place itself or here. No attempts, no handles, no invisibility.
class Pulls {
 public:
  Pulls(ShardContext& context, Consumers& consumers, AutoCreate& definitions, ProgressFlusher& progress, Delivery& delivery,
        ClientTable& clients)
      : context_(context), consumers_(consumers), definitions_(definitions), progress_(progress), delivery_(delivery),
        clients_(clients) {}

  // Errors: IllegalOffset (negative), BadRequest (no such queue), MessageNotFound (nothing until `wait` was over), TooManyRequests.
  void Pull(ReceiveId id, PullCommand command, Done<PullOutcome> done);
  // Nobody waits for it any more: answered with Cancelled. An unknown id is ignored.
  void Cancel(ReceiveId id);
  void UpdateOffset(const std::string& topic, const std::string& group, int32_t queue, int64_t offset, DoneStatus done);
  void GetOffset(const std::string& topic, const std::string& group, int32_t queue, Done<int64_t> done);
  void QueryOffset(const std::string& topic, int32_t queue, OffsetPolicy policy, absl::Time time, Done<int64_t> done);
  // Every queue of the topic, or of all topics of the group when `topic` is empty.
  void ResetGroupOffset(const std::string& group, const std::string& topic, const ResetOffset& reset, DoneStatus done);

  // More can be read from these queues.
  void Wake(const std::vector<Queue*>& grown);
  // The group may pull again.
  void WakeGroup(const std::string& group);
  void EndAll(const absl::Status& why);
  int64_t parked() const { return static_cast<int64_t>(pulls_.size()); }

 private:
  struct Waiting {
    PullCommand command;
    Done<PullOutcome> done;
    index::QueueId queue;
    int64_t next = 0;      // where reading goes on
    int64_t deadline_ms = 0;
    bool reading = false;
    int32_t pending_reads = 0;
    PullOutcome outcome;
    std::vector<absl::Status> reads;
    std::vector<int64_t> visible_since_ms;  // wall clock: when each came into its queue
    common::Executor::TimerId timer = 0;
  };
  absl::StatusOr<Queue*> FindQueue(const std::string& topic, int32_t queue);
  void Read(uint64_t id);
  void Finish(uint64_t id);
  // Waits for more, or answers when its time is over.
  void Park(uint64_t id);
  void Answer(uint64_t id);
  // Where a group that is told `reset` stands in `queue`.
  absl::StatusOr<int64_t> Target(const Queue& queue, const ResetOffset& reset) const;

  ShardContext& context_;
  Consumers& consumers_;
  AutoCreate& definitions_;
  ProgressFlusher& progress_;
  Delivery& delivery_;
  ClientTable& clients_;
  absl::btree_map<uint64_t, std::unique_ptr<Waiting>> pulls_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_PULLS_H_
