#ifndef FULMAR_BROKER_SHARD_IMPL_H_
#define FULMAR_BROKER_SHARD_IMPL_H_

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "services/broker/acknowledgements.h"
#include "services/broker/auto_create.h"
#include "services/broker/client_table.h"
#include "services/broker/consumers.h"
#include "services/broker/dead_letters.h"
#include "services/broker/dedup.h"
#include "services/broker/delivery.h"
#include "services/broker/lookups.h"
#include "services/broker/held_ends.h"
#include "services/broker/progress_flusher.h"
#include "services/broker/pulls.h"
#include "services/broker/recalls.h"
#include "services/broker/retention.h"
#include "services/broker/retry.h"
#include "services/broker/sender.h"
#include "services/broker/shard.h"
#include "services/broker/shard_context.h"
#include "services/broker/timers.h"

namespace fulmar::broker {

// Wires the rule classes to the log and decides which commands are taken when.
//
//   kStarting ─► (log leads) ─► kClaiming: sends ─► (progress claimed) ─► kServing: everything
//       ▲                            │                                        │
//       └──── kFollowing ◄───────────┴────────────────────────────────────────┤ (lost the lead)
//             kFenced    ◄──────────────────────────────────────────────────── (a higher term claimed the progress)
//             kDamaged   ◄── (the index cannot be: nothing is served until it was rebuilt)
class ShardImpl final : public Shard, private log::StateMachine {
 public:
  ShardImpl(const ShardOptions& options, Env env);
  ~ShardImpl() override;
  absl::Status OpenLog();

  void Start() override;
  void Send(SendCommand command, Done<std::vector<SendOutcome>> done) override;
  void Recall(std::string topic, std::string recall_handle, Done<std::string> done) override;
  ReceiveId Receive(ReceiveCommand command, Done<std::vector<Delivered>> done) override;
  void CancelReceive(ReceiveId id) override;
  void ReturnUndelivered(std::string group, std::vector<std::string> receipt_handles) override;
  void Ack(AckCommand command, Done<std::vector<absl::Status>> done) override;
  void ChangeInvisible(ChangeInvisibleCommand command, Done<std::string> done) override;
  void ForwardToDeadLetter(DeadLetterCommand command, DoneStatus done) override;
  ReceiveId Pull(PullCommand command, Done<PullOutcome> done) override;
  void CancelPull(ReceiveId id) override;
  void UpdateOffset(std::string topic, std::string group, int32_t queue, int64_t offset, DoneStatus done) override;
  void GetOffset(std::string topic, std::string group, int32_t queue, Done<int64_t> done) override;
  void QueryOffset(std::string topic, int32_t queue, OffsetPolicy policy, absl::Time time, Done<int64_t> done) override;
  void TouchClient(const ClientRef& client, const std::string& group) override;
  void ClientStream(const ClientRef& client, int delta) override;
  void ClientTerminated(const std::string& client_id, const std::string& group) override;
  void ResolveTopic(std::string topic, Done<index::TopicDefinition> done) override;
  void ResolveGroup(std::string group, Done<index::GroupDefinition> done) override;
  void DescribeTopic(std::string topic, Done<TopicState> done) override;
  void DescribeGroup(std::string group, Done<GroupState> done) override;
  void ResetGroupOffset(std::string group, std::string topic, ResetOffset reset, DoneStatus done) override;
  void Status(Done<ShardStatus> done) override;
  void CollectLag(Done<std::vector<GroupLag>> done) override;
  void FindMessages(FindCommand command, Done<FindOutcome> done) override;
  void TraceMessage(std::string topic, FoundMessage message, Done<std::vector<TraceEvent>> done) override;
  void Stop(absl::AnyInvocable<void() &&> done) override;

 private:
  enum class Phase { kStarting, kFollowing, kClaiming, kServing, kFenced, kDamaged, kStopping, kStopped };
  // kLead: the log takes appends. kServe: progress is claimed, too.
  enum class Need { kLead, kServe };
  using Gated = absl::AnyInvocable<void(const absl::Status&) &&>;

  GroupState StateOf(const Group& group);

  // log::StateMachine
  void Apply(const log::AppliedEntry& entry) override;
  void OnLeader(Term term) override;
  void OnFollower(Term term) override;
  void OnFault(const absl::Status& why) override;
  void OnSpace(bool exhausted) override;
  absl::Status TakesUserRecords() const override;

  void MakeHandleKey();
  void Claim();
  void OnClaimed(Term term, absl::StatusOr<std::vector<index::QueueProgress>> progress);
  void StepDown(Phase phase, const absl::Status& why);
  void OnChanges();
  // Ends serving when the index turns out to be damaged.
  void CheckDamage();
  void ScheduleIndexFlush(uint64_t bytes);
  void SweepClients();
  bool Ready(Need need) const;
  // Runs `task` on the shard executor as soon as the need is met, or with an error when options.start_grace is over.
  // `bytes`: what the task keeps in memory while it waits; what waits is bounded by count and bytes.
  void When(Need need, Gated task, uint64_t bytes = 0);
  // When it serves, and with the news of a topic that was just made fetched first.
  void WhenKnown(const std::string& topic, Gated task);
  void RunWaiting();
  void FailWaiting(const absl::Status& why);
  absl::Status WhyNot() const;
  void FinishStop();

  ShardContext context_;
  ClientTable clients_;
  Consumers consumers_;
  AutoCreate definitions_;
  ProgressFlusher progress_;
  RetryTimes retry_;
  DeadLetters dead_letters_;
  Delivery delivery_;
  Acknowledgements acknowledgements_;
  Pulls pulls_;
  Dedup dedup_;
  Sender sender_;
  HeldEnds held_ends_;
  Timers timers_;
  Recalls recalls_;
  Retention retention_;
  Lookups lookups_;

  Phase phase_ = Phase::kStarting;
  absl::Status health_;
  Changes changes_;
  struct WaitingTask {
    uint64_t id;
    Need need;
    Gated task;
    uint64_t bytes;
  };
  std::deque<WaitingTask> waiting_;
  uint64_t waiting_bytes_ = 0;
  uint64_t last_waiting_ = 0;
  absl::Duration claim_backoff_;
  uint64_t unflushed_bytes_ = 0;
  bool index_flush_armed_ = false;
  std::vector<absl::AnyInvocable<void() &&>> on_stopped_;
  std::atomic<ReceiveId> last_receive_{0};
  std::unique_ptr<log::ReplicatedLog> log_;  // last: goes first, while what its callbacks touch is still there
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_SHARD_IMPL_H_
