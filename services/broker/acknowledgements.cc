#include "services/broker/acknowledgements.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

absl::Status Refuse(std::string_view why) { return errors::InvalidReceiptHandle(absl::StrCat("INVALID_RECEIPT_HANDLE: ", why)); }

absl::Duration DelayAfter(const index::RetryPolicy& policy, int32_t attempt) {
  const std::vector<absl::Duration>& delays = policy.delays.empty() ? index::DefaultRetryDelays() : policy.delays;
  return delays[std::min(delays.size(), static_cast<size_t>(std::max(1, attempt))) - 1];
}

absl::Status RefuseState(GroupQueue::Handle state) {
  return state == GroupQueue::Handle::kDone ? Refuse("the message is acknowledged already")
                                            : Refuse("the message was delivered again or given another handle since");
}

}  // namespace

absl::StatusOr<Acknowledgements::Target> Acknowledgements::Resolve(std::string_view text, std::string_view group, std::string_view topic,
                                                                   HandleBytes& scratch) {
  FULMAR_ASSIGN_OR_RETURN(ReceiptHandle handle, ParseHandle(text, scratch));
  if (handle.shard != context_.options.name) return Refuse(absl::StrCat("it belongs to shard '", handle.shard, "'"));
  const HandleKey* key = context_.state.FindKey(KeyIdOfHandle(scratch));
  Topic* found = context_.state.FindTopic(handle.topic_id);
  if (found != nullptr && topic.empty()) topic = found->definition.name;
  if (key == nullptr || !VerifyHandle(scratch, *key, group, topic)) return Refuse("it was not made for this group and topic");
  if (found == nullptr || found->definition.name != topic) return Refuse("its topic was deleted");
  Group* its_group = context_.state.FindGroup(group);
  if (its_group == nullptr) return Refuse("its group was deleted");
  if (handle.queue < 0 || static_cast<size_t>(handle.queue) >= found->queues.size()) return Refuse("its queue does not exist");
  // After a restart the group may not have been seen yet.
  Subscription& subscription = consumers_.Ensure(*its_group, *found);
  Target target;
  target.queue = subscription.queues[static_cast<size_t>(handle.queue)].get();
  if (handle.offset < 0 || handle.offset >= target.queue->queue.counters.next) return Refuse("its message does not exist");
  target.state = target.queue->progress.Check(handle.offset, handle.attempt, handle.serial, handle.term == context_.term);
  target.handle = handle;
  return target;
}

absl::Status Acknowledgements::AckOne(std::string_view text, const AckCommand& command, Subscription*& acknowledged_in) {
  HandleBytes scratch;
  FULMAR_ASSIGN_OR_RETURN(const Target target, Resolve(text, command.group, command.topic, scratch));
  if (target.state != GroupQueue::Handle::kCurrent) return RefuseState(target.state);
  // On its way to the dead letters, where it may already be: who says OK now would say it of a dead letter.
  if (dead_letters_.Moving(*target.queue, target.handle.offset)) return Refuse("the message is being moved to the dead letters");
  target.queue->progress.MarkDone(target.handle.offset);
  retry_.Progressed(*target.queue);
  progress_.MarkChanged(*target.queue);
  acknowledged_in = &target.queue->subscription;
  context_.trace.Add(TraceKind::kAcknowledged, target.queue->queue.id, target.handle.offset, target.handle.attempt, command.group, command.client.client_id);
  return absl::OkStatus();
}

void Acknowledgements::Ack(const AckCommand& command, Done<std::vector<absl::Status>> done) {
  clients_.Touch(command.client, context_.NowMs());
  std::vector<absl::Status> statuses;
  statuses.reserve(command.entries.size());
  Subscription* acknowledged_in = nullptr;
  uint64_t acknowledged = 0;
  for (const AckEntry& entry : command.entries) {
    statuses.push_back(AckOne(entry.receipt_handle, command, acknowledged_in));
    if (statuses.back().ok()) ++acknowledged;
  }
  if (acknowledged > 0) {
    context_.observer().OnAcknowledged(acknowledged_in->topic_name(), acknowledged_in->group_name(), acknowledged);
    delivery_.GroupHasRoom(acknowledged_in->group_name(), static_cast<int64_t>(acknowledged));
    if (context_.options.progress_flush_interval <= absl::ZeroDuration()) {
      progress_.WhenKept([statuses = std::move(statuses), done = std::move(done)](const absl::Status& kept) mutable {
        if (!kept.ok()) {
          for (absl::Status& status : statuses) {
            if (status.ok()) status = kept;
          }
        }
        std::move(done)(std::move(statuses));
      });
      return;
    }
  }
  std::move(done)(std::move(statuses));
}

void Acknowledgements::ChangeInvisible(const ChangeInvisibleCommand& command, Done<std::string> done) {
  const int64_t now_ms = context_.NowMs();
  clients_.Touch(command.client, now_ms);
  if (command.invisible_duration < absl::ZeroDuration()) {
    return std::move(done)(errors::IllegalInvisibleTime("the invisibleTime is too small: it is negative"));
  }
  if (command.invisible_duration > context_.options.max_invisible) {
    return std::move(done)(errors::IllegalInvisibleTime(absl::StrCat("the invisibleTime is too large: ",
                                                                     absl::FormatDuration(command.invisible_duration), ", at most ",
                                                                     absl::FormatDuration(context_.options.max_invisible))));
  }
  HandleBytes scratch;
  const absl::StatusOr<Target> target = Resolve(command.receipt_handle, command.group, command.topic, scratch);
  if (!target.ok()) return std::move(done)(target.status());
  if (target->state != GroupQueue::Handle::kCurrent) return std::move(done)(RefuseState(target->state));

  SubscribedQueue& queue = *target->queue;
  ReceiptHandle handle = target->handle;
  // On its way to the dead letters: given back now, it would be there and here.
  if (dead_letters_.Moving(queue, handle.offset)) return std::move(done)(RefuseState(GroupQueue::Handle::kStale));
  absl::Duration invisible = std::max(command.invisible_duration, context_.options.min_retry_delay);
  // A push consumer gives back a message whose last attempt failed: nothing is gained by letting it wait for its dead letter.
  const Flight* flight = queue.progress.Find(handle.offset);
  const bool given_back = flight != nullptr && flight->auto_renew;
  // Two clients give back with 0 where their own reading of the policy fails: the policy's delay is meant.
  const index::RetryPolicy& policy = queue.subscription.group->definition.retry;
  if (given_back && command.invisible_duration == absl::ZeroDuration()) invisible = std::max(invisible, DelayAfter(policy, flight->attempt));
  if (given_back && flight->attempt >= policy.max_attempts) invisible = absl::Milliseconds(1);
  handle.term = context_.term;
  handle.serial = context_.NextSerial();
  queue.progress.Reschedule(handle.offset, handle.attempt, now_ms, now_ms + absl::ToInt64Milliseconds(invisible), handle.serial);
  progress_.MarkChanged(queue);
  retry_.Arm(queue);
  context_.trace.Add(TraceKind::kRescheduled, queue.queue.id, handle.offset, handle.attempt, command.group, command.client.client_id);
  std::move(done)(EncodeHandle(handle, *context_.state.newest_key(), command.group, queue.subscription.topic_name()));
}

void Acknowledgements::ForwardToDeadLetter(const DeadLetterCommand& command, DoneStatus done) {
  clients_.Touch(command.client, context_.NowMs());
  HandleBytes scratch;
  const absl::StatusOr<Target> target = Resolve(command.receipt_handle, command.group, command.topic, scratch);
  if (!target.ok()) return std::move(done)(target.status());
  // Clients repeat a forward until it succeeds, whatever the error: one that was done before must say so.
  if (target->state == GroupQueue::Handle::kDone) return std::move(done)(absl::OkStatus());
  if (target->state == GroupQueue::Handle::kStale && !dead_letters_.Moving(*target->queue, target->handle.offset)) {
    return std::move(done)(RefuseState(target->state));
  }
  dead_letters_.Move(*target->queue, target->handle.offset, std::move(done));
}

void Acknowledgements::ReturnUndelivered(const std::string& group, const std::vector<std::string>& handles) {
  for (const std::string& text : handles) {
    HandleBytes scratch;
    const absl::StatusOr<Target> target = Resolve(text, group, "", scratch);
    if (!target.ok() || target->state != GroupQueue::Handle::kCurrent || target->handle.term != context_.term) continue;
    if (!target->queue->progress.Return(target->handle.offset, target->handle.serial, context_.NowMs())) continue;
    progress_.MarkChanged(*target->queue);
    context_.trace.Add(TraceKind::kReturned, target->queue->queue.id, target->handle.offset, target->handle.attempt, group, "");
    delivery_.Wake(target->queue->subscription);
  }
}

}  // namespace fulmar::broker
