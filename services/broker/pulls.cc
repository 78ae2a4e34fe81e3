#include "services/broker/pulls.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/broker/message_bodies.h"
#include "services/broker/message_ttl.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

constexpr size_t kScan = 256;  // index entries that one reading looks at

}  // namespace

absl::StatusOr<Queue*> Pulls::FindQueue(const std::string& name, int32_t queue) {
  Topic* topic = context_.state.FindTopic(name);
  if (topic == nullptr || topic->deleting) return errors::TopicNotFound(absl::StrCat("topic '", name, "' does not exist"));
  if (queue < 0 || static_cast<size_t>(queue) >= topic->queues.size()) {
    return errors::BadRequest(absl::StrCat("topic '", name, "' has queues 0 to ", topic->queues.size() - 1, ", not ", queue));
  }
  return topic->queues[static_cast<size_t>(queue)];
}

void Pulls::Pull(ReceiveId id, PullCommand command, Done<PullOutcome> done) {
  clients_.Touch(command.client, context_.NowMs());
  const absl::StatusOr<Queue*> queue = FindQueue(command.topic, command.queue);
  if (!queue.ok()) return std::move(done)(queue.status());
  if (command.offset < 0) return std::move(done)(errors::IllegalOffset(absl::StrCat("offset ", command.offset, " is negative")));
  if (parked() >= context_.options.max_parked_receives) {
    return std::move(done)(errors::TooManyRequests(absl::StrCat(parked(), " pulls are parked here, which is the limit")));
  }
  auto waiting = std::make_unique<Waiting>();
  waiting->queue = (*queue)->id;
  waiting->next = command.offset;
  command.max_messages = std::clamp(command.max_messages, 1, context_.options.max_batch);
  command.wait = std::clamp(command.wait, absl::ZeroDuration(), context_.options.max_wait);
  // The clock's millisecond is cut off: one more, so that no poll ends before its time.
  const int64_t wait_ms = absl::ToInt64Milliseconds(command.wait);
  waiting->deadline_ms = context_.NowMs() + wait_ms + (wait_ms > 0 ? 1 : 0);
  waiting->command = std::move(command);
  waiting->done = std::move(done);
  pulls_[id] = std::move(waiting);
  Read(id);
}

void Pulls::Read(uint64_t id) {
  auto it = pulls_.find(id);
  if (it == pulls_.end() || it->second->reading) return;
  Waiting& pull = *it->second;
  const absl::StatusOr<Queue*> found = FindQueue(pull.command.topic, pull.command.queue);
  if (!found.ok()) {
    Done<PullOutcome> done = std::move(pull.done);
    pulls_.erase(it);
    return std::move(done)(found.status());
  }
  const Queue& queue = **found;
  pull.outcome = {};
  pull.reads.clear();
  if (const Group* group = context_.state.FindGroup(pull.command.group); group != nullptr && group->definition.suspended) {
    pull.outcome.next_offset = pull.next;
    return Park(id);
  }
  pull.next = std::max(pull.next, queue.counters.min);
  const absl::StatusOr<std::vector<index::QueueEntry>> entries =
      context_.state.index().Read(queue.id, pull.next, queue.counters.next, kScan);
  if (!entries.ok()) {
    Done<PullOutcome> done = std::move(pull.done);
    pulls_.erase(it);
    return std::move(done)(entries.status());
  }
  const Filter& filter = pull.command.filter;
  std::vector<index::QueueEntry> matching;
  const index::TopicDefinition& topic = context_.state.FindTopic(pull.command.topic)->definition;
  const int64_t wall_ms = absl::ToUnixMillis(context_.env.clock.Now());
  for (const index::QueueEntry& entry : *entries) {
    if (matching.size() >= static_cast<size_t>(pull.command.max_messages)) break;
    pull.next = entry.offset + 1;
    if (ExpiredByTopic(topic, entry.store_time_ms, wall_ms)) continue;
    if (filter.takes_all() || filter.MayMatch(entry.tag_hash)) matching.push_back(entry);
  }
  pull.reading = true;
  pull.pending_reads = static_cast<int32_t>(matching.size()) + 1;
  pull.outcome.messages.resize(matching.size());
  pull.reads.resize(matching.size());
  pull.visible_since_ms.clear();
  for (size_t i = 0; i < matching.size(); ++i) {
    Delivered& delivered = pull.outcome.messages[i];
    delivered.queue = queue.id.queue;
    delivered.offset = matching[i].offset;
    pull.visible_since_ms.push_back(matching[i].store_time_ms);
    if (std::optional<common::SharedBytes> body = TryReadMessage(context_, queue.id, matching[i])) {
      delivered.record = *std::move(body);
      --pull.pending_reads;
      continue;
    }
    ReadMessage(context_, queue.id, matching[i], [this, id, i](absl::StatusOr<common::SharedBytes> body) {
      auto waiting = pulls_.find(id);
      if (waiting == pulls_.end()) return;
      if (body.ok()) {
        waiting->second->outcome.messages[i].record = *std::move(body);
      } else {
        waiting->second->reads[i] = body.status();
      }
      if (--waiting->second->pending_reads == 0) Finish(id);
    });
  }
  if (--pull.pending_reads == 0) Finish(id);
}

void Pulls::Finish(uint64_t id) {
  auto it = pulls_.find(id);
  Waiting& pull = *it->second;
  pull.reading = false;
  std::vector<Delivered> good;
  for (size_t i = 0; i < pull.outcome.messages.size(); ++i) {
    Delivered& delivered = pull.outcome.messages[i];
    if (absl::IsNotFound(pull.reads[i])) continue;  // retention was faster
    absl::StatusOr<MessageView> message = pull.reads[i].ok() ? ParseMessageRecord(delivered.record.view()) : pull.reads[i];
    if (!message.ok()) {
      // Here the client keeps the place, so nothing is lost by saying so; what lies before it is given first.
      if (!good.empty()) {
        pull.next = delivered.offset;
        break;
      }
      context_.observer().OnUnreadable();
      Done<PullOutcome> done = std::move(pull.done);
      pulls_.erase(it);
      return std::move(done)(errors::InternalServerError(
          absl::StrCat("message ", delivered.offset, " cannot be read: ", message.status().message())));
    }
    if (!pull.command.filter.takes_all() && !pull.command.filter.Matches(*message)) continue;
    if (ExpiredByItself(*message, pull.visible_since_ms[i], absl::ToUnixMillis(context_.env.clock.Now()))) continue;
    good.push_back(std::move(delivered));
  }
  pull.outcome.messages = std::move(good);
  pull.outcome.next_offset = pull.next;
  if (!pull.outcome.messages.empty()) return Answer(id);
  const absl::StatusOr<Queue*> queue = FindQueue(pull.command.topic, pull.command.queue);
  if (queue.ok() && pull.next < (*queue)->counters.next) {  // all of this slice was filtered out
    return context_.Post([this, id] { Read(id); });
  }
  Park(id);
}

void Pulls::Park(uint64_t id) {
  Waiting& pull = *pulls_.find(id)->second;
  const int64_t left_ms = pull.deadline_ms - context_.NowMs();
  if (left_ms <= 0) return Answer(id);
  if (pull.timer == 0) {
    pull.timer = context_.After(absl::Milliseconds(left_ms), [this, id] {
      auto waiting = pulls_.find(id);
      if (waiting == pulls_.end()) return;
      waiting->second->timer = 0;
      if (!waiting->second->reading) Answer(id);
    });
  }
}

void Pulls::Answer(uint64_t id) {
  auto it = pulls_.find(id);
  std::unique_ptr<Waiting> pull = std::move(it->second);
  pulls_.erase(it);
  if (pull->timer != 0) context_.env.shard.Cancel(pull->timer);
  if (pull->outcome.messages.empty()) return std::move(pull->done)(std::move(pull->outcome));  // how far it looked still counts
  uint64_t bytes = 0;
  for (const Delivered& delivered : pull->outcome.messages) {
    bytes += delivered.record.size();
    context_.trace.Add(TraceKind::kPulled, {pull->queue.topic_id, delivered.queue}, delivered.offset, 0, pull->command.group, pull->command.client.client_id);
  }
  context_.observer().OnDelivered(pull->command.topic, pull->command.group, pull->outcome.messages.size(), bytes, 0);
  std::move(pull->done)(std::move(pull->outcome));
}

void Pulls::Wake(const std::vector<Queue*>& grown) {
  if (pulls_.empty()) return;
  std::vector<uint64_t> ready;
  for (const auto& [id, pull] : pulls_) {
    const bool here = std::any_of(grown.begin(), grown.end(), [&pull = *pull](const Queue* queue) { return queue->id == pull.queue; });
    if (here && !pull->reading) ready.push_back(id);
  }
  for (const uint64_t id : ready) context_.Post([this, id] { Read(id); });
}

void Pulls::WakeGroup(const std::string& group) {
  for (const auto& [id, pull] : pulls_) {
    if (pull->command.group == group && !pull->reading) context_.Post([this, id = id] { Read(id); });
  }
}

void Pulls::EndAll(const absl::Status& why) {
  for (auto& [id, pull] : std::exchange(pulls_, {})) {
    if (pull->timer != 0) context_.env.shard.Cancel(pull->timer);
    std::move(pull->done)(why);
  }
}

void Pulls::Cancel(ReceiveId id) {
  auto it = pulls_.find(id);
  if (it == pulls_.end()) return;
  const std::unique_ptr<Waiting> pull = std::move(it->second);
  pulls_.erase(it);  // reads under way find nothing and end
  if (pull->timer != 0) context_.env.shard.Cancel(pull->timer);
  std::move(pull->done)(absl::CancelledError("the call has ended"));
}

// ---- offsets

void Pulls::UpdateOffset(const std::string& topic, const std::string& group, int32_t queue, int64_t offset, DoneStatus done) {
  definitions_.WithGroup(group, [this, topic, queue, offset, done = std::move(done)](absl::StatusOr<Group*> found) mutable {
    if (!found.ok()) return std::move(done)(found.status());
    const absl::StatusOr<Queue*> its_queue = FindQueue(topic, queue);
    if (!its_queue.ok()) return std::move(done)(its_queue.status());
    const index::QueueCounters& counters = (*its_queue)->counters;
    if (offset < 0 || offset > counters.next) {
      return std::move(done)(errors::IllegalOffset(absl::StrCat("offset ", offset, " is not in 0 to ", counters.next)));
    }
    Subscription& subscription = consumers_.Ensure(**found, *context_.state.FindTopic(topic));
    SubscribedQueue& its = *subscription.queues[static_cast<size_t>(queue)];
    its.progress.ResetTo(std::max(offset, counters.min));
    progress_.MarkChanged(its);
    delivery_.Wake(subscription);
    if (context_.options.progress_flush_interval <= absl::ZeroDuration()) return progress_.WhenKept(std::move(done));
    std::move(done)(absl::OkStatus());
  });
}

void Pulls::GetOffset(const std::string& topic, const std::string& group, int32_t queue, Done<int64_t> done) {
  const absl::StatusOr<Queue*> its_queue = FindQueue(topic, queue);
  if (!its_queue.ok()) return std::move(done)(its_queue.status());
  Subscription* subscription = consumers_.Find(group, (*its_queue)->id.topic_id);
  if (subscription == nullptr || static_cast<size_t>(queue) >= subscription->queues.size() ||
      !subscription->queues[static_cast<size_t>(queue)]->kept) {
    return std::move(done)(errors::OffsetNotFound(absl::StrCat("group '", group, "' has no offset in queue ", queue, " of topic '", topic, "'")));
  }
  std::move(done)(subscription->queues[static_cast<size_t>(queue)]->progress.cursor());
}

absl::StatusOr<int64_t> Pulls::Target(const Queue& queue, const ResetOffset& reset) const {
  if (reset.offset) return std::clamp(*reset.offset, queue.counters.min, queue.counters.next);
  switch (reset.policy) {
    case OffsetPolicy::kBeginning: return queue.counters.min;
    case OffsetPolicy::kEnd: return queue.counters.next;
    case OffsetPolicy::kTime: return context_.state.index().FindByTime(queue.id, queue.counters, reset.time);
  }
  return absl::InvalidArgumentError("unknown offset policy");
}

void Pulls::QueryOffset(const std::string& topic, int32_t queue, OffsetPolicy policy, absl::Time time, Done<int64_t> done) {
  const absl::StatusOr<Queue*> its_queue = FindQueue(topic, queue);
  if (!its_queue.ok()) return std::move(done)(its_queue.status());
  std::move(done)(Target(**its_queue, {.policy = policy, .time = time, .offset = std::nullopt}));
}

void Pulls::ResetGroupOffset(const std::string& group, const std::string& topic, const ResetOffset& reset, DoneStatus done) {
  Group* its_group = context_.state.FindGroup(group);
  if (its_group == nullptr) return std::move(done)(errors::ConsumerGroupNotFound(absl::StrCat("group '", group, "' does not exist")));
  std::vector<Topic*> topics;
  if (!topic.empty()) {
    Topic* its_topic = context_.state.FindTopic(topic);
    if (its_topic == nullptr) return std::move(done)(errors::TopicNotFound(absl::StrCat("topic '", topic, "' does not exist")));
    topics.push_back(its_topic);
  } else {
    consumers_.ForEachOfGroup(group, [&](Subscription& subscription) { topics.push_back(subscription.topic); });
  }
  for (Topic* its_topic : topics) {
    Subscription& subscription = consumers_.Ensure(*its_group, *its_topic);
    for (auto& queue : subscription.queues) {
      const absl::StatusOr<int64_t> target = Target(queue->queue, reset);
      if (!target.ok()) return std::move(done)(target.status());
      queue->progress.ResetTo(*target);
      progress_.MarkChanged(*queue);
    }
    delivery_.Wake(subscription);
  }
  // An operator who reads "done" must not find it undone after a crash.
  progress_.WhenKept(std::move(done));
}

}  // namespace fulmar::broker
