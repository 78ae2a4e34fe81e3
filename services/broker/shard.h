#ifndef FULMAR_BROKER_SHARD_H_
#define FULMAR_BROKER_SHARD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/broker/filter.h"
#include "services/broker/found_message.h"
#include "services/broker/message_record.h"
#include "services/broker/shard_metrics.h"
#include "services/broker/trace.h"
#include "services/common/bytes.h"
#include "services/common/clock.h"
#include "services/common/executor.h"
#include "services/common/files.h"
#include "services/common/random.h"
#include "services/index/definitions.h"
#include "services/index/kv_store.h"
#include "services/index/ports.h"
#include "services/log/replicated_log.h"

namespace fulmar::broker {

// All names are whole ("namespace%name"). All callbacks run exactly once, on the shard executor, never inside the call.
template <class T>
using Done = index::Done<T>;
using DoneStatus = index::DoneStatus;

// Who calls, as the edge learnt it from metadata and telemetry.
struct ClientRef {
  std::string client_id;      // not empty
  bool slow_heartbeat = false;  // language RUST: alive for 90 s without a call instead of 25 s
};

struct NewMessage {
  std::string record;      // EncodeMessageRecord(), not placed yet
  std::string message_id;
  uint32_t tag_hash = 0;
  int64_t delivery_ms = 0;             // DELAY: wall clock, ms since 1970, rounded up; the past counts as now
  absl::Duration recovery;             // TRANSACTION: before the first check; 0: the default
  int32_t priority = 0;    // PRIORITY only
  std::string body_digest;  // names the body among those of one message id; for dedup windows
  uint64_t group_hash = 0;  // MessageGroupHash() of its message group; FIFO messages need one
};
struct SendCommand {
  ClientRef client;
  std::string topic;
  uint8_t type = 1;  // v2 MessageType number; anything but NORMAL, FIFO and PRIORITY is refused with NotImplemented until it is built
  std::vector<NewMessage> messages;
  absl::Duration remaining = absl::InfiniteDuration();  // until the caller's deadline: nothing is stored behind it
  absl::Duration arrived;                               // on the steady clock; set by Shard::Send()
};
struct SendOutcome {
  absl::Status status;
  std::string message_id;
  int32_t queue = 0;
  int64_t offset = 0;
  std::string recall_handle;   // DELAY; it has no queue and offset yet
  std::string transaction_id;  // TRANSACTION; the same
};

struct ReceiveCommand {
  ClientRef client;
  std::string topic, group;
  Filter filter;
  int32_t max_messages = 32;          // capped by receive.max_batch
  bool auto_renew = false;            // then invisible_duration is ignored
  absl::Duration invisible_duration;  // checked against the limits of the options
  absl::Duration wait;                // how long to park when nothing is there (the edge applied the rules of polling time)
  std::string attempt_id;             // "": none
};
struct Delivered {
  common::SharedBytes record;         // ParseMessageRecord()
  int32_t queue = 0;
  int64_t offset = 0;
  int32_t attempt = 1;
  std::string receipt_handle;
  absl::Duration invisible_duration;
};
using ReceiveId = uint64_t;

struct AckEntry { std::string receipt_handle, message_id; };
struct AckCommand { ClientRef client; std::string topic, group; std::vector<AckEntry> entries; };

struct ChangeInvisibleCommand {
  ClientRef client;
  std::string topic, group, receipt_handle, message_id;
  absl::Duration invisible_duration;  // 0 .. 12 h; below receive.min_retry_delay (1 s) counts as that
};
struct DeadLetterCommand { ClientRef client; std::string topic, group, receipt_handle, message_id; int32_t delivery_attempt = 0; };

struct PullCommand {
  ClientRef client;
  std::string topic, group;  // group may be empty
  int32_t queue = 0;
  int64_t offset = 0;
  int32_t max_messages = 32;
  Filter filter;
  absl::Duration wait;
};
struct PullOutcome { std::vector<Delivered> messages; int64_t next_offset = 0; };

enum class OffsetPolicy { kBeginning, kEnd, kTime };

struct QueueState { int32_t queue = 0; int64_t min_offset = 0, next_offset = 0; };
struct TopicState { index::TopicDefinition definition; std::vector<QueueState> queues; uint64_t messages_in = 0, bytes_in = 0; };
struct GroupQueueState {
  std::string topic;
  int32_t queue = 0;
  int64_t min_offset = 0, next_offset = 0, cursor = 0;
  int64_t lag = 0;           // not yet acknowledged, in flight included
  int64_t in_flight = 0;     // out at a client
  int64_t waiting_retry = 0;
  std::optional<absl::Time> oldest_unconsumed;  // store time
};
struct GroupState { index::GroupDefinition definition; std::vector<GroupQueueState> queues; std::vector<std::string> clients; };
struct ResetOffset { OffsetPolicy policy = OffsetPolicy::kBeginning; absl::Time time; std::optional<int64_t> offset; };

struct ShardStatus {
  std::string name;
  bool serving = false;        // leader, progress claimed, log healthy
  absl::Status health;         // why not
  Term term;
  log::LogStats log;
  index::KvStore::Stats index;
  int64_t topics = 0, groups = 0, queues = 0, parked_receives = 0, in_flight = 0, clients = 0;
};

struct ShardOptions;  // shard_options.h

// One shard of a broker: the log's state machine and every rule of delivery.
// Owns:    the log, queues, groups, parked receives, timers. Borrows: Env (outlives it).
// Threads: any thread may call the commands; each posts to the shard executor and answers from there.
// Crash:   nothing acknowledged is lost; what progress.flush_interval covers may be delivered again.
class Shard {
 public:
  struct Env {
    common::Files& files;
    common::Clock& clock;
    common::Random& random;
    common::Executor& shard;
    common::Executor& writer;
    common::Executor& reader;
    index::KvStore& kv;
    index::ProgressStore& progress;
    index::DefinitionStore& definitions;
    ShardObserver* observer = nullptr;
    log::LogObserver* log_observer = nullptr;
  };
  // Blocking recovery of the log; nothing runs until Start().
  static absl::StatusOr<std::unique_ptr<Shard>> Open(const ShardOptions& options, Env env);
  virtual ~Shard() = default;
  // Replays, leads, claims progress, then serves. Commands that come before that wait for it up to options.start_grace.
  virtual void Start() = 0;

  // Stored and answered as the topic's durability says; one outcome per message, in order. The StatusOr fails only when all failed alike.
  virtual void Send(SendCommand command, Done<std::vector<SendOutcome>> done) = 0;

  // Takes a delayed message back; answers its id, again when it was recalled before. MessageNotFound: it was delivered.
  virtual void Recall(std::string topic, std::string recall_handle, Done<std::string> done) {
    std::move(done)(absl::UnimplementedError("brokers hold delayed messages: QueryRoute names the broker to use"));
  }

  // Answers as soon as something is there, or with MessageNotFound after `wait`. The id is for CancelReceive.
  virtual ReceiveId Receive(ReceiveCommand command, Done<std::vector<Delivered>> done) = 0;
  // The stream is gone: a parked receive is answered with Cancelled and forgotten; unknown ids are ignored.
  virtual void CancelReceive(ReceiveId id) = 0;
  // These were never handed to the transport: visible again at once, the attempt does not count.
  virtual void ReturnUndelivered(std::string group, std::vector<std::string> receipt_handles) = 0;

  // One status per entry; InvalidReceiptHandle for everything stale, unknown or foreign, and while the message is being moved to the
  // dead letters: a message is acknowledged or a dead letter, never both.
  virtual void Ack(AckCommand command, Done<std::vector<absl::Status>> done) = 0;
  virtual void ChangeInvisible(ChangeInvisibleCommand command, Done<std::string /* new handle */> done) = 0;
  virtual void ForwardToDeadLetter(DeadLetterCommand command, DoneStatus done) = 0;

  // No messages when none came in time; next_offset says where to go on all the same.
  // The id is for CancelPull.
  virtual ReceiveId Pull(PullCommand command, Done<PullOutcome> done) = 0;
  // The call is gone: a parked pull is answered with Cancelled and forgotten; unknown ids are ignored.
  virtual void CancelPull(ReceiveId /*id*/) {}
  virtual void UpdateOffset(std::string topic, std::string group, int32_t queue, int64_t offset, DoneStatus done) = 0;
  virtual void GetOffset(std::string topic, std::string group, int32_t queue, Done<int64_t> done) = 0;
  virtual void QueryOffset(std::string topic, int32_t queue, OffsetPolicy policy, absl::Time time, Done<int64_t> done) = 0;

  // Client life. Touch: any call with this id. A client with open streams is alive; without, for 25 s (90 s) after its last call.
  virtual void TouchClient(const ClientRef& client, const std::string& group) = 0;
  virtual void ClientStream(const ClientRef& client, int delta /* +1 opened, -1 ended */) = 0;
  virtual void ClientTerminated(const std::string& client_id, const std::string& group) = 0;

  // The topic or group as this shard holds it, made first where the switch for automatic creation allows.
  // Errors: TopicNotFound / ConsumerGroupNotFound / Illegal... (checked before), Unavailable.
  virtual void ResolveTopic(std::string topic, Done<index::TopicDefinition> done) = 0;
  virtual void ResolveGroup(std::string group, Done<index::GroupDefinition> done) = 0;

  virtual void DescribeTopic(std::string topic, Done<TopicState> done) = 0;
  virtual void DescribeGroup(std::string group, Done<GroupState> done) = 0;
  virtual void ResetGroupOffset(std::string group, std::string topic, ResetOffset reset, DoneStatus done) = 0;
  virtual void Status(Done<ShardStatus> done) = 0;
  // Lag per group and topic, for metrics; sorted by group, then topic.
  virtual void CollectLag(Done<std::vector<GroupLag>> done) { std::move(done)(std::vector<GroupLag>()); }

  // Look-ups for people; they never hold up messages. Errors: TopicNotFound, TooManyRequests (too many at once), InternalServerError.
  virtual void FindMessages(FindCommand /*command*/, Done<FindOutcome> done) { std::move(done)(FindOutcome()); }
  // What became of a message that FindMessages() gave, from records of bounded life; PreconditionFailed when none are kept (trace_bytes).
  virtual void TraceMessage(std::string /*topic*/, FoundMessage /*message*/, Done<std::vector<TraceEvent>> done) { std::move(done)(std::vector<TraceEvent>()); }

  // Refuses new work, answers the parked, flushes progress, drains and syncs; `done` on the shard executor.
  virtual void Stop(absl::AnyInvocable<void() &&> done) = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SHARD_H_
