#include "services/broker/shard_impl.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "services/broker/records.h"
#include "services/common/errors.h"
#include "services/common/log.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

constexpr absl::Duration kFirstClaimBackoff = absl::Milliseconds(50);
constexpr absl::Duration kMaxClaimBackoff = absl::Seconds(1);
constexpr absl::Duration kClientSweep = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<Shard>> Shard::Open(const ShardOptions& options, Env env) {
  if (options.name.empty() || options.name.size() > kMaxShardNameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("shard name '", options.name, "' must have 1 to ", kMaxShardNameBytes, " bytes"));
  }
  auto shard = std::make_unique<ShardImpl>(options, env);
  FULMAR_RETURN_IF_ERROR(shard->OpenLog());
  return shard;
}

ShardImpl::ShardImpl(const ShardOptions& options, Env env)
    : context_(options, env),
      clients_({.silence = options.client_silence, .slow_silence = options.slow_client_silence}),
      consumers_(context_, [this](SubscribedQueue& queue) { retry_.Arm(queue); }),
      definitions_(context_),
      progress_(context_, consumers_, [this](const absl::Status& why) { StepDown(Phase::kFenced, why); }),
      retry_(context_, consumers_, clients_,
             {.ready = [this](Subscription& subscription) { delivery_.Wake(subscription); },
              .exhausted = [this](SubscribedQueue& queue, int64_t offset) { dead_letters_.Move(queue, offset, [](const absl::Status&) {}); },
              .changed = [this](SubscribedQueue& queue) { progress_.MarkChanged(queue); }}),
      dead_letters_(context_, consumers_, definitions_, progress_, retry_,
                    [this](Subscription& subscription) { delivery_.GroupHasRoom(subscription.group_name(), 1); }),
      delivery_(context_, consumers_, definitions_, clients_, progress_, retry_),
      acknowledgements_(context_, consumers_, delivery_, progress_, retry_, dead_letters_, clients_),
      pulls_(context_, consumers_, definitions_, progress_, delivery_, clients_),
      dedup_(context_),
      sender_(context_, definitions_, clients_, dedup_),
      held_ends_(context_),
      timers_(context_, held_ends_),
      recalls_(context_, held_ends_, definitions_),
      retention_(context_, consumers_, progress_,
                 [this](SubscribedQueue& queue, int64_t ended) {
                   retry_.Progressed(queue);
                   delivery_.GroupHasRoom(queue.subscription.group_name(), ended);
                 },
                 held_ends_),
      lookups_(context_),
      claim_backoff_(kFirstClaimBackoff) {}

ShardImpl::~ShardImpl() = default;

absl::Status ShardImpl::OpenLog() {
  // A damaged index keeps the process from serving, not from starting: it says in its health what to do, instead of ending again and again.
  context_.state.ReportDamage(context_.state.Load());
  log::LogOptions options = context_.options.log;
  if (options.shard_name.empty()) options.shard_name = context_.options.name;
  FULMAR_ASSIGN_OR_RETURN(log_, log::ReplicatedLog::Open(std::move(options),
                                                         {.files = context_.env.files,
                                                          .clock = context_.env.clock,
                                                          .random = context_.env.random,
                                                          .shard = context_.env.shard,
                                                          .writer = context_.env.writer,
                                                          .reader = context_.env.reader,
                                                          .observer = context_.env.log_observer},
                                                         *this, context_.state.damage().ok() ? context_.state.applied() : log::AppliedPoint()));
  context_.log = log_.get();
  // The process may have ended between the removal of segments and the flush of what forgot them.
  ShardState::TrimPlace at;
  while (context_.state.damage().ok()) {
    const absl::StatusOr<bool> done = context_.state.Trim(log_->Stats().begin, at, 1000, [](Queue&) {});
    if (!done.ok() || *done) break;
  }
  if (const absl::Status trace = context_.trace.Open(); !trace.ok()) FULMAR_LOG(kWarn, "trace_not_opened", {{"shard", context_.options.name}, {"error", trace}});
  return absl::OkStatus();
}

void ShardImpl::Start() {
  context_.Post([this] {
    SweepClients();
    log_->Start();
  });
}

// ---- the log's state machine

void ShardImpl::Apply(const log::AppliedEntry& entry) {
  const LogPosition before = context_.state.applied().position;
  context_.state.Apply(entry, changes_);
  if (!context_.state.damage().ok()) return CheckDamage();
  ScheduleIndexFlush(static_cast<uint64_t>(std::max<int64_t>(0, entry.end.value - before.value)));
  OnChanges();
}

void ShardImpl::CheckDamage() {
  if (context_.state.damage().ok() || phase_ == Phase::kDamaged || phase_ == Phase::kStopping || phase_ == Phase::kStopped) return;
  StepDown(Phase::kDamaged, absl::DataLossError(absl::StrCat("the index of shard '", context_.options.name, "' is damaged (",
                                                             context_.state.damage().message(),
                                                             "): stop the process and run `fulmar index rebuild`, which makes it again from the log")));
}

void ShardImpl::OnChanges() {
  for (const auto& [name, topic_id] : changes_.deleted_topics) {
    Consumers::Ended ended = consumers_.RemoveTopic(topic_id);
    delivery_.EndOf(ended.subscriptions, errors::TopicNotFound(absl::StrCat("topic '", name, "' was deleted")));
    if (phase_ == Phase::kServing) progress_.Forget(std::move(ended.forget));
    for (const auto& [group, flights] : ended.freed) delivery_.GroupHasRoom(group, flights);
  }
  for (const std::string& name : changes_.deleted_groups) {
    Consumers::Ended ended = consumers_.RemoveGroup(name);
    delivery_.EndOf(ended.subscriptions, errors::ConsumerGroupNotFound(absl::StrCat("group '", name, "' was deleted")));
    if (phase_ == Phase::kServing) progress_.Forget(std::move(ended.forget));
  }
  if (phase_ == Phase::kServing) {
    for (const auto& [line, due] : changes_.held) {
      if (line == HeldLine::kTimers) timers_.Add(due);
    }
    if (!changes_.topics.empty() || !changes_.groups.empty()) {
      consumers_.Reorder([this](Subscription& subscription) {
        delivery_.EndOf({subscription.id}, errors::MessageNotFound("the order of the group was changed"));
      });
      consumers_.AdoptWaiting();
    }
    for (const std::string& name : changes_.groups) {  // it may have been resumed
      delivery_.WakeGroup(name);
      pulls_.WakeGroup(name);
    }
    uint32_t woken = 0;
    for (const Queue* queue : changes_.grown) {
      if (queue->id.topic_id == woken) continue;  // waking twice costs little; runs of one topic are the rule
      woken = queue->id.topic_id;
      delivery_.WakeTopic(woken);
    }
    pulls_.Wake(changes_.grown);
  }
  changes_.Clear();
}

void ShardImpl::ScheduleIndexFlush(uint64_t bytes) {
  unflushed_bytes_ += bytes;
  if (unflushed_bytes_ >= context_.options.index_flush_bytes) {
    unflushed_bytes_ = 0;
    context_.env.kv.FlushAsync();
  }
  if (index_flush_armed_) return;
  index_flush_armed_ = true;
  context_.After(context_.options.index_flush_interval, [this] {
    index_flush_armed_ = false;
    unflushed_bytes_ = 0;
    context_.env.kv.FlushAsync();
  });
}

void ShardImpl::OnLeader(Term term) {
  if (phase_ == Phase::kStopping || phase_ == Phase::kStopped || phase_ == Phase::kDamaged) return;
  FULMAR_LOG(kInfo, "shard_leads", {{"shard", context_.options.name}, {"term", term.value}});
  context_.term = term;
  context_.last_serial = 0;
  context_.state.ResetProjections();
  phase_ = Phase::kClaiming;
  claim_backoff_ = kFirstClaimBackoff;
  RunWaiting();
  if (context_.state.newest_key() == nullptr) {
    MakeHandleKey();
  } else {
    Claim();
  }
}

void ShardImpl::MakeHandleKey() {
  HandleKey key;
  key.id = 1;
  context_.env.random.Fill(key.secret.data(), key.secret.size());
  log_->Append(log::RecordType::kHandleKey, EncodeHandleKey(key), log::Durability::kSync, log::AppendClass::kInternal,
               [this, term = context_.term](const absl::StatusOr<log::RecordPlace>& place) {
                 if (phase_ != Phase::kClaiming || context_.term != term) return;
                 if (place.ok()) return Claim();
                 FULMAR_LOG(kError, "handle_key_not_logged", {{"shard", context_.options.name}, {"error", place.status()}});
                 context_.After(kMaxClaimBackoff, [this, term] {
                   if (phase_ == Phase::kClaiming && context_.term == term) MakeHandleKey();
                 });
               });
}

void ShardImpl::Claim() {
  context_.env.progress.Claim(context_.options.name, context_.term,
                              context_.OnShard<absl::StatusOr<std::vector<index::QueueProgress>>>(
                                  [this, term = context_.term](absl::StatusOr<std::vector<index::QueueProgress>> progress) {
                                    OnClaimed(term, std::move(progress));
                                  }));
}

void ShardImpl::OnClaimed(Term term, absl::StatusOr<std::vector<index::QueueProgress>> progress) {
  if (phase_ != Phase::kClaiming || context_.term != term) return;
  if (absl::IsFailedPrecondition(progress.status())) return StepDown(Phase::kFenced, progress.status());
  if (!progress.ok()) {
    health_ = errors::HaNotAvailable(absl::StrCat("progress cannot be claimed: ", progress.status().message()));
    FULMAR_LOG_EVERY(absl::Seconds(10), kWarn, "progress_not_claimed",
                     {{"shard", context_.options.name}, {"error", progress.status()}});
    context_.After(claim_backoff_, [this, term] {
      if (phase_ == Phase::kClaiming && context_.term == term) Claim();
    });
    claim_backoff_ = std::min(claim_backoff_ * 2, kMaxClaimBackoff);
    return;
  }
  absl::btree_map<ShardState::ProgressId, uint64_t> at_service;
  for (const index::QueueProgress& entry : *progress) at_service[{entry.group, {entry.topic_id, entry.queue}}] = entry.sequence;
  for (const auto& [id, logged] : context_.state.logged_progress()) {
    absl::StatusOr<index::QueueProgress> entry = context_.state.ReadLoggedProgress(id);
    if (entry.ok()) progress->push_back(*std::move(entry));
  }
  consumers_.Adopt(*std::move(progress));
  consumers_.ForEach([&](Subscription& subscription) {
    for (auto& queue : subscription.queues) {
      const auto known = at_service.find({subscription.group_name(), queue->queue.id});
      queue->confirmed = known == at_service.end() ? 0 : known->second;
      if (queue->sequence > queue->confirmed) progress_.MarkLacking(*queue);
    }
  });
  health_ = absl::OkStatus();
  phase_ = Phase::kServing;
  FULMAR_LOG(kInfo, "shard_serves", {{"shard", context_.options.name}, {"term", term.value}, {"groups", context_.state.groups().size()}});
  definitions_.Start();
  retention_.Start();
  timers_.Start();
  RunWaiting();
}

void ShardImpl::OnFollower(Term) {
  if (phase_ == Phase::kClaiming || phase_ == Phase::kServing) {
    StepDown(Phase::kFollowing, errors::HaNotAvailable("this replica does not lead the shard any more"));
  }
}

void ShardImpl::OnFault(const absl::Status& why) {
  FULMAR_LOG(kError, "shard_log_failed", {{"shard", context_.options.name}, {"error", why}});
  health_ = why;
}

void ShardImpl::OnSpace(bool exhausted) {
  if (exhausted) {
    FULMAR_LOG(kError, "disk_full", {{"shard", context_.options.name}, {"effect", "sends are refused; receives and acknowledgements go on"}});
  } else {
    FULMAR_LOG(kInfo, "disk_space_back", {{"shard", context_.options.name}});
  }
}

absl::Status ShardImpl::TakesUserRecords() const {
  if (!context_.env.kv.crowded()) return absl::OkStatus();
  return errors::TooManyRequests(absl::StrCat("no disk space for the index of shard '", context_.options.name, "'"));
}

void ShardImpl::StepDown(Phase phase, const absl::Status& why) {
  FULMAR_LOG(kWarn, "shard_stopped_serving", {{"shard", context_.options.name}, {"error", why}});
  phase_ = phase;
  health_ = why;
  const absl::Status answer = errors::HaNotAvailable(why.message());
  retention_.Stop();
  timers_.Stop();
  held_ends_.Clear(answer);
  retry_.Clear();
  dead_letters_.Clear(answer);
  delivery_.EndAll(answer);
  pulls_.EndAll(answer);
  lookups_.EndAll(answer);
  definitions_.Stop(answer);
  progress_.Clear(answer);
  consumers_.Clear();
  FailWaiting(answer);
}

// ---- who may when

bool ShardImpl::Ready(Need need) const {
  return phase_ == Phase::kServing || (need == Need::kLead && phase_ == Phase::kClaiming);
}

absl::Status ShardImpl::WhyNot() const {
  if (phase_ == Phase::kStopping || phase_ == Phase::kStopped) return errors::HaNotAvailable("the shard is stopping");
  if (!health_.ok()) return errors::HaNotAvailable(health_.message());
  return errors::HaNotAvailable(absl::StrCat("shard '", context_.options.name, "' has no leader here yet"));
}

void ShardImpl::When(Need need, Gated task, uint64_t bytes) {
  context_.Post([this, need, task = std::move(task), bytes]() mutable {
    if (Ready(need)) return std::move(task)(absl::OkStatus());
    if (phase_ != Phase::kStarting && phase_ != Phase::kFollowing && phase_ != Phase::kClaiming) return std::move(task)(WhyNot());
    if (static_cast<int64_t>(waiting_.size()) >= context_.options.max_parked_receives ||
        waiting_bytes_ + bytes > static_cast<uint64_t>(context_.options.log.max_pending_bytes)) {
      return std::move(task)(errors::TooManyRequests(absl::StrCat(waiting_.size(), " calls wait for shard '", context_.options.name, "' to lead")));
    }
    const uint64_t id = ++last_waiting_;
    waiting_.push_back({id, need, std::move(task), bytes});
    waiting_bytes_ += bytes;
    context_.After(context_.options.start_grace, [this, id] {
      const auto it = std::find_if(waiting_.begin(), waiting_.end(), [id](const WaitingTask& waiting) { return waiting.id == id; });
      if (it == waiting_.end()) return;
      Gated late = std::move(it->task);
      waiting_bytes_ -= it->bytes;
      waiting_.erase(it);
      std::move(late)(WhyNot());
    });
  });
}

void ShardImpl::WhenKnown(const std::string& topic, Gated task) {
  When(Need::kServe, [this, topic, task = std::move(task)](const absl::Status& ready) mutable {
    if (!ready.ok() || context_.state.FindTopic(topic) != nullptr) return std::move(task)(ready);
    definitions_.WithCurrentTopic(topic, [task = std::move(task)](const absl::StatusOr<Topic*>&) mutable { std::move(task)(absl::OkStatus()); });
  });
}

void ShardImpl::RunWaiting() {
  std::deque<WaitingTask> still;
  std::deque<WaitingTask> now = std::exchange(waiting_, {});
  for (WaitingTask& waiting : now) {
    if (Ready(waiting.need)) {
      waiting_bytes_ -= waiting.bytes;
      std::move(waiting.task)(absl::OkStatus());
    } else {
      still.push_back(std::move(waiting));
    }
  }
  waiting_.insert(waiting_.begin(), std::make_move_iterator(still.begin()), std::make_move_iterator(still.end()));
}

void ShardImpl::FailWaiting(const absl::Status& why) {
  waiting_bytes_ = 0;
  for (WaitingTask& waiting : std::exchange(waiting_, {})) std::move(waiting.task)(why);
}

// ---- commands

void ShardImpl::Send(SendCommand command, Done<std::vector<SendOutcome>> done) {
  uint64_t bytes = 0;
  for (const NewMessage& message : command.messages) bytes += message.record.size();
  command.arrived = context_.env.clock.Steady();
  auto send = [this, command = std::move(command), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    sender_.Send(std::move(command), std::move(done));
  };
  When(Need::kLead, std::move(send), bytes);
}

void ShardImpl::Recall(std::string topic, std::string recall_handle, Done<std::string> done) {
  When(Need::kServe, [this, topic = std::move(topic), handle = std::move(recall_handle), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    recalls_.Recall(topic, handle, std::move(done));
  });
}

ReceiveId ShardImpl::Receive(ReceiveCommand command, Done<std::vector<Delivered>> done) {
  const ReceiveId id = ++last_receive_;
  When(Need::kServe, [this, id, command = std::move(command), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return delivery_.Refuse(std::move(done), ready);
    delivery_.Receive(id, std::move(command), std::move(done));
  });
  return id;
}

void ShardImpl::CancelReceive(ReceiveId id) {
  context_.Post([this, id] { delivery_.Cancel(id); });
}

void ShardImpl::ReturnUndelivered(std::string group, std::vector<std::string> receipt_handles) {
  context_.Post([this, group = std::move(group), handles = std::move(receipt_handles)] {
    if (phase_ == Phase::kServing) acknowledgements_.ReturnUndelivered(group, handles);
  });
}

void ShardImpl::Ack(AckCommand command, Done<std::vector<absl::Status>> done) {
  When(Need::kServe, [this, command = std::move(command), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    acknowledgements_.Ack(command, std::move(done));
  });
}

void ShardImpl::ChangeInvisible(ChangeInvisibleCommand command, Done<std::string> done) {
  When(Need::kServe, [this, command = std::move(command), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    acknowledgements_.ChangeInvisible(command, std::move(done));
  });
}

void ShardImpl::ForwardToDeadLetter(DeadLetterCommand command, DoneStatus done) {
  When(Need::kServe, [this, command = std::move(command), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    acknowledgements_.ForwardToDeadLetter(command, std::move(done));
  });
}

ReceiveId ShardImpl::Pull(PullCommand command, Done<PullOutcome> done) {
  const ReceiveId id = ++last_receive_;
  const std::string topic = command.topic;
  WhenKnown(topic, [this, id, command = std::move(command), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    pulls_.Pull(id, std::move(command), std::move(done));
  });
  return id;
}

void ShardImpl::CancelPull(ReceiveId id) {
  context_.Post([this, id] { pulls_.Cancel(id); });
}

void ShardImpl::UpdateOffset(std::string topic, std::string group, int32_t queue, int64_t offset, DoneStatus done) {
  WhenKnown(topic, [this, topic, group = std::move(group), queue, offset, done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    pulls_.UpdateOffset(topic, group, queue, offset, std::move(done));
  });
}

void ShardImpl::GetOffset(std::string topic, std::string group, int32_t queue, Done<int64_t> done) {
  WhenKnown(topic, [this, topic, group = std::move(group), queue, done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    pulls_.GetOffset(topic, group, queue, std::move(done));
  });
}

void ShardImpl::QueryOffset(std::string topic, int32_t queue, OffsetPolicy policy, absl::Time time, Done<int64_t> done) {
  WhenKnown(topic, [this, topic, queue, policy, time, done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    pulls_.QueryOffset(topic, queue, policy, time, std::move(done));
  });
}

void ShardImpl::ResetGroupOffset(std::string group, std::string topic, ResetOffset reset, DoneStatus done) {
  When(Need::kServe, [this, group = std::move(group), topic = std::move(topic), reset,
                      done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    definitions_.WithCurrentGroup(group, [this, group, topic, reset, done = std::move(done)](absl::StatusOr<Group*> found) mutable {
      if (!found.ok()) return std::move(done)(found.status());
      if (topic.empty()) return pulls_.ResetGroupOffset(group, topic, reset, std::move(done));
      definitions_.WithCurrentTopic(topic, [this, group, topic, reset, done = std::move(done)](absl::StatusOr<Topic*> its_topic) mutable {
        if (!its_topic.ok()) return std::move(done)(its_topic.status());
        pulls_.ResetGroupOffset(group, topic, reset, std::move(done));
      });
    });
  });
}

// ---- clients

void ShardImpl::TouchClient(const ClientRef& client, const std::string& group) {
  context_.Post([this, client, group] {
    const uint64_t number = clients_.Touch(client, context_.NowMs());
    if (!group.empty()) clients_.JoinGroup(number, group);
  });
}

void ShardImpl::ClientStream(const ClientRef& client, int delta) {
  context_.Post([this, client, delta] { clients_.Stream(client, delta, context_.NowMs()); });
}

void ShardImpl::ClientTerminated(const std::string& client_id, const std::string& group) {
  context_.Post([this, client_id, group] {
    const uint64_t number = clients_.Remove(client_id);
    if (number == 0) return;
    FULMAR_LOG(kDebug, "client_terminated", {{"group", group}});
    retry_.ClientsGone({number});
  });
}

void ShardImpl::SweepClients() {
  if (phase_ == Phase::kStopping || phase_ == Phase::kStopped) return;
  CheckDamage();
  retry_.ClientsGone(clients_.TakeGone(context_.NowMs()));
  if (phase_ == Phase::kServing) dedup_.Expire();
  context_.quotas.Sweep(context_.NowMs());
  context_.After(kClientSweep, [this] { SweepClients(); });
}

// ---- looking

void ShardImpl::ResolveTopic(std::string topic, Done<index::TopicDefinition> done) {
  When(Need::kLead, [this, topic = std::move(topic), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    definitions_.WithTopic(topic, [done = std::move(done)](absl::StatusOr<Topic*> found) mutable {
      if (!found.ok()) return std::move(done)(found.status());
      std::move(done)((*found)->definition);
    });
  });
}

void ShardImpl::ResolveGroup(std::string group, Done<index::GroupDefinition> done) {
  When(Need::kLead, [this, group = std::move(group), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    definitions_.WithGroup(group, [done = std::move(done)](absl::StatusOr<Group*> found) mutable {
      if (!found.ok()) return std::move(done)(found.status());
      std::move(done)((*found)->definition);
    });
  });
}

void ShardImpl::DescribeTopic(std::string name, Done<TopicState> done) {
  When(Need::kLead, [this, name = std::move(name), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    definitions_.WithCurrentTopic(name, [done = std::move(done)](absl::StatusOr<Topic*> found) mutable {
      if (!found.ok()) return std::move(done)(found.status());
      const Topic& topic = **found;
      TopicState state;
      state.definition = topic.definition;
      state.messages_in = topic.messages_in;
      state.bytes_in = topic.bytes_in;
      for (const Queue* queue : topic.queues) state.queues.push_back({queue->id.queue, queue->counters.min, queue->counters.next});
      std::move(done)(std::move(state));
    });
  });
}

void ShardImpl::DescribeGroup(std::string name, Done<GroupState> done) {
  When(Need::kServe, [this, name = std::move(name), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    definitions_.WithCurrentGroup(name, [this, name, done = std::move(done)](absl::StatusOr<Group*> found) mutable {
      if (!found.ok()) return std::move(done)(found.status());
      std::move(done)(StateOf(**found));
    });
  });
}

GroupState ShardImpl::StateOf(const Group& group) {
  const std::string& name = group.definition.name;
  GroupState state;
  state.definition = group.definition;
  state.clients = clients_.MembersOf(name);
  consumers_.ForEachOfGroup(name, [&](Subscription& subscription) {
    for (auto& queue : subscription.queues) {
      GroupQueueState& out = state.queues.emplace_back();
      out.topic = subscription.topic_name();
      out.queue = queue->queue.id.queue;
      out.min_offset = queue->queue.counters.min;
      out.next_offset = queue->queue.counters.next;
      out.cursor = queue->progress.cursor();
      out.lag = queue->progress.Lag(out.next_offset);
      out.in_flight = queue->progress.out();
      out.waiting_retry = queue->progress.flights() - queue->progress.out();
      if (out.lag == 0) continue;
      if (const auto entry = consumers_.Entry(*queue, queue->progress.first_open()); entry.ok()) {
        out.oldest_unconsumed = absl::FromUnixMillis((*entry)->store_time_ms);
      }
    }
  });
  std::sort(state.queues.begin(), state.queues.end(), [](const GroupQueueState& a, const GroupQueueState& b) {
    return std::tie(a.topic, a.queue) < std::tie(b.topic, b.queue);
  });
  return state;
}

void ShardImpl::CollectLag(Done<std::vector<GroupLag>> done) {
  context_.Post([this, done = std::move(done)]() mutable {
    std::vector<GroupLag> lags;
    consumers_.ForEach([&](Subscription& subscription) {
      GroupLag& lag = lags.emplace_back();
      lag.group = subscription.group_name();
      lag.topic = subscription.topic_name();
      for (auto& queue : subscription.queues) {
        lag.lag += queue->progress.Lag(queue->queue.counters.next);
        lag.in_flight += queue->progress.out();
        lag.waiting_retry += queue->progress.flights() - queue->progress.out();
      }
    });
    std::sort(lags.begin(), lags.end(),
              [](const GroupLag& a, const GroupLag& b) { return std::tie(a.group, a.topic) < std::tie(b.group, b.topic); });
    std::move(done)(std::move(lags));
  });
}

void ShardImpl::Status(Done<ShardStatus> done) {
  context_.Post([this, done = std::move(done)]() mutable {
    ShardStatus status;
    status.name = context_.options.name;
    status.log = log_->Stats();
    status.index = context_.env.kv.GetStats();
    status.serving = phase_ == Phase::kServing && status.log.fault.ok();
    status.health = !status.log.fault.ok() ? status.log.fault : phase_ == Phase::kServing ? health_ : WhyNot();
    if (status.health.ok() && !status.index.healthy) status.health = absl::UnavailableError(status.index.problem);
    status.term = context_.term;
    status.topics = static_cast<int64_t>(context_.state.topics().size());
    status.groups = static_cast<int64_t>(context_.state.groups().size());
    status.queues = context_.state.queues();
    status.parked_receives = delivery_.parked() + pulls_.parked();
    consumers_.ForEach([&](Subscription& subscription) {
      for (auto& queue : subscription.queues) status.in_flight += queue->progress.out();
    });
    status.clients = clients_.size();
    std::move(done)(std::move(status));
  });
}

void ShardImpl::FindMessages(FindCommand command, Done<FindOutcome> done) {
  const std::string topic = command.topic;
  WhenKnown(topic, [this, command = std::move(command), done = std::move(done)](const absl::Status& ready) mutable {
    if (!ready.ok()) return std::move(done)(ready);
    lookups_.Find(std::move(command), std::move(done));
  });
}

void ShardImpl::TraceMessage(std::string topic, FoundMessage message, Done<std::vector<TraceEvent>> done) {
  context_.Post([this, topic = std::move(topic), message = std::move(message), done = std::move(done)]() mutable {
    if (phase_ == Phase::kStopping || phase_ == Phase::kStopped) return std::move(done)(WhyNot());
    lookups_.TraceOf(topic, message, std::move(done));
  });
}

// ---- the end

void ShardImpl::Stop(absl::AnyInvocable<void() &&> done) {
  context_.Post([this, done = std::move(done)]() mutable {
    if (phase_ == Phase::kStopped) return std::move(done)();
    on_stopped_.push_back(std::move(done));
    if (phase_ == Phase::kStopping) return;
    const bool was_serving = phase_ == Phase::kServing;
    phase_ = Phase::kStopping;
    retention_.Stop();
    timers_.Stop();
    held_ends_.Clear(WhyNot());
    retry_.Clear();
    FailWaiting(WhyNot());
    // Clients poll again at once, and learn from the closed connection that they must go elsewhere.
    delivery_.EndAll(errors::MessageNotFound("the shard is stopping"));
    pulls_.EndAll(errors::MessageNotFound("the shard is stopping"));
    lookups_.EndAll(WhyNot());
    dead_letters_.Clear(WhyNot());
    definitions_.Stop(WhyNot());
    if (!was_serving || !progress_.dirty()) return FinishStop();
    // The offset service, or the own log while it is away; twice the time that a write may take covers both.
    progress_.WhenKept([this](const absl::Status&) { FinishStop(); });
    context_.After(2 * context_.options.progress_write_timeout, [this] { FinishStop(); });
  });
}

void ShardImpl::FinishStop() {
  if (phase_ != Phase::kStopping) return;
  phase_ = Phase::kStopped;
  log_->Stop([this] {
    context_.env.kv.FlushAsync();
    context_.trace.WhenWritten([this] {
      for (auto& done : std::exchange(on_stopped_, {})) std::move(done)();
    });
  });
}

}  // namespace fulmar::broker
