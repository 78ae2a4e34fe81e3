#include "services/registry/admin_convert.h"

#include "absl/strings/str_cat.h"
#include "services/common/status.h"

namespace fulmar::registry {
namespace {

constexpr int32_t kMaxQueues = 1024;
constexpr int32_t kMaxAttempts = 1000;

void SetTime(absl::Time time, google::protobuf::Timestamp* out) {
  const absl::Duration since = time - absl::UnixEpoch();
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(since, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

absl::Time TimeOf(const google::protobuf::Timestamp& proto) {
  return absl::UnixEpoch() + absl::Seconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
}

void SetDuration(absl::Duration duration, google::protobuf::Duration* out) {
  absl::Duration rest;
  out->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

absl::Duration DurationOf(const google::protobuf::Duration& proto) {
  return absl::Seconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
}

void SetQuota(const index::RateQuota& quota, admin::v1::RateQuota* out) {
  out->set_messages(quota.messages);
  out->set_bytes(quota.bytes);
}

void TakeQuota(const admin::v1::RateQuota& proto, index::RateQuota& out) {
  if (proto.has_messages()) out.messages = proto.messages();
  if (proto.has_bytes()) out.bytes = proto.bytes();
}

}  // namespace

admin::v1::Topic ToProto(const index::TopicDefinition& topic) {
  admin::v1::Topic proto;
  proto.set_name(topic.name);
  proto.set_topic_id(topic.topic_id);
  proto.set_version(topic.version);
  proto.set_type(static_cast<admin::v1::TopicType>(topic.type));  // same numbers
  proto.set_queues(topic.queues);
  proto.set_durability(topic.durability == log::Durability::kAsync ? admin::v1::DURABILITY_ASYNC : admin::v1::DURABILITY_SYNC);
  for (const std::string& shard : topic.shards) proto.add_shards(shard);
  SetTime(topic.created, proto.mutable_created());
  SetDuration(topic.message_ttl, proto.mutable_message_ttl());
  SetDuration(topic.dedup_window, proto.mutable_dedup_window());
  SetQuota(topic.quota, proto.mutable_quota());
  return proto;
}

admin::v1::Group ToProto(const index::GroupDefinition& group) {
  admin::v1::Group proto;
  proto.set_name(group.name);
  proto.set_version(group.version);
  // Same numbers; unspecified: as the topic is.
  if (group.order != index::DeliveryOrder::kByTopic) proto.set_order(static_cast<admin::v1::DeliveryOrder>(group.order));
  proto.set_from(static_cast<admin::v1::StartFrom>(group.from));        // same numbers
  proto.set_max_attempts(group.retry.max_attempts);
  const std::vector<absl::Duration>& delays = group.retry.delays.empty() ? index::DefaultRetryDelays() : group.retry.delays;
  for (absl::Duration delay : delays) SetDuration(delay, proto.add_retry_delays());
  SetTime(group.created, proto.mutable_created());
  proto.set_suspended(group.suspended);
  proto.set_mode(static_cast<admin::v1::ConsumeMode>(group.mode));  // same numbers
  SetQuota(group.quota, proto.mutable_quota());
  return proto;
}

admin::v1::DescribeTopicResponse ToProto(const std::string& shard, const broker::TopicState& state) {
  admin::v1::DescribeTopicResponse proto;
  *proto.mutable_topic() = ToProto(state.definition);
  for (const broker::QueueState& queue : state.queues) {
    admin::v1::QueueState* out = proto.add_queues();
    out->set_shard(shard);
    out->set_queue(queue.queue);
    out->set_min_offset(queue.min_offset);
    out->set_next_offset(queue.next_offset);
  }
  proto.set_messages_in(state.messages_in);
  proto.set_bytes_in(state.bytes_in);
  return proto;
}

admin::v1::DescribeGroupResponse ToProto(const std::string& shard, const broker::GroupState& state) {
  admin::v1::DescribeGroupResponse proto;
  *proto.mutable_group() = ToProto(state.definition);
  for (const broker::GroupQueueState& queue : state.queues) {
    admin::v1::GroupQueueState* out = proto.add_queues();
    out->set_shard(shard);
    out->set_topic(queue.topic);
    out->set_queue(queue.queue);
    out->set_min_offset(queue.min_offset);
    out->set_next_offset(queue.next_offset);
    out->set_cursor(queue.cursor);
    out->set_lag(queue.lag);
    out->set_in_flight(queue.in_flight);
    out->set_waiting_retry(queue.waiting_retry);
    if (queue.oldest_unconsumed.has_value()) SetTime(*queue.oldest_unconsumed, out->mutable_oldest_unconsumed());
  }
  for (const std::string& client : state.clients) proto.add_client_ids(client);
  return proto;
}

admin::v1::ShardStatus ToProto(const broker::ShardStatus& status) {
  admin::v1::ShardStatus proto;
  proto.set_name(status.name);
  proto.set_serving(status.serving);
  if (!status.health.ok()) proto.set_problem(std::string(status.health.message()));
  proto.set_term(static_cast<uint64_t>(status.term.value));
  admin::v1::LogStatus* log = proto.mutable_log();
  log->set_first_index(static_cast<uint64_t>(status.log.first_index.value));
  log->set_last_index(static_cast<uint64_t>(status.log.last_index.value));
  log->set_committed(static_cast<uint64_t>(status.log.committed.value));
  log->set_applied(static_cast<uint64_t>(status.log.applied.value));
  log->set_begin_position(static_cast<uint64_t>(status.log.begin.value));
  log->set_end_position(static_cast<uint64_t>(status.log.end.value));
  log->set_segment_files(status.log.segment_files);
  log->set_disk_bytes(status.log.disk_bytes);
  log->set_pending_bytes(status.log.pending_bytes);
  log->set_space_exhausted(status.log.space_exhausted);
  proto.set_index_disk_bytes(status.index.disk_bytes);
  proto.set_topics(status.topics);
  proto.set_groups(status.groups);
  proto.set_queues(status.queues);
  proto.set_parked_receives(status.parked_receives);
  proto.set_in_flight(status.in_flight);
  proto.set_clients(status.clients);
  return proto;
}

absl::StatusOr<index::TopicDefinition> TopicFrom(const admin::v1::Topic& proto, index::TopicDefinition base) {
  base.name = proto.name();
  if (proto.type() != admin::v1::TOPIC_TYPE_UNSPECIFIED) {
    if (!admin::v1::TopicType_IsValid(proto.type())) {
      return absl::InvalidArgumentError(absl::StrCat("topic '", proto.name(), "': type number ", static_cast<int>(proto.type()),
                                                     " is not one of normal, fifo, delay, transaction, priority, mixed"));
    }
    base.type = static_cast<index::TopicType>(proto.type());
    // A new one gets a level for each of the usual priorities.
    if (base.topic_id == 0 && base.type == index::TopicType::kPriority) base.queues = index::kPriorityLevels;
  }
  if (proto.queues() != 0) {
    if (proto.queues() < 1 || proto.queues() > kMaxQueues) {
      return absl::InvalidArgumentError(
          absl::StrCat("topic '", proto.name(), "': ", proto.queues(), " queues, expected 1 to ", kMaxQueues));
    }
    base.queues = proto.queues();
  }
  if (proto.durability() == admin::v1::DURABILITY_SYNC) base.durability = log::Durability::kSync;
  if (proto.durability() == admin::v1::DURABILITY_ASYNC) base.durability = log::Durability::kAsync;
  if (proto.has_message_ttl()) base.message_ttl = DurationOf(proto.message_ttl());
  if (proto.has_dedup_window()) base.dedup_window = DurationOf(proto.dedup_window());
  TakeQuota(proto.quota(), base.quota);
  if (proto.shards_size() > 0) base.shards.assign(proto.shards().begin(), proto.shards().end());
  return base;
}

absl::StatusOr<index::GroupDefinition> GroupFrom(const admin::v1::Group& proto, index::GroupDefinition base) {
  base.name = proto.name();
  if (proto.order() == admin::v1::DELIVERY_ORDER_CONCURRENT) base.order = index::DeliveryOrder::kConcurrent;
  if (proto.order() == admin::v1::DELIVERY_ORDER_FIFO) base.order = index::DeliveryOrder::kFifo;
  if (proto.from() == admin::v1::START_FROM_EARLIEST) base.from = index::StartFrom::kEarliest;
  if (proto.from() == admin::v1::START_FROM_LATEST) base.from = index::StartFrom::kLatest;
  if (proto.max_attempts() != 0) {
    if (proto.max_attempts() < 1 || proto.max_attempts() > kMaxAttempts) {
      return absl::InvalidArgumentError(absl::StrCat("group '", proto.name(), "': max attempts of ", proto.max_attempts(),
                                                     ", expected 1 to ", kMaxAttempts));
    }
    base.retry.max_attempts = proto.max_attempts();
  }
  if (proto.retry_delays_size() > 0) {
    base.retry.delays.clear();
    for (const google::protobuf::Duration& delay : proto.retry_delays()) {
      const absl::Duration value = DurationOf(delay);
      if (value < absl::ZeroDuration() || value > absl::Hours(24 * 30)) {
        return absl::InvalidArgumentError(
            absl::StrCat("group '", proto.name(), "': retry delay of ", absl::FormatDuration(value), ", expected 0 to 720h"));
      }
      base.retry.delays.push_back(value);
    }
  }
  if (proto.has_suspended()) base.suspended = proto.suspended();
  if (proto.mode() == admin::v1::CONSUME_MODE_CLUSTERING) base.mode = index::ConsumeMode::kClustering;
  if (proto.mode() == admin::v1::CONSUME_MODE_BROADCAST) {
    return absl::UnimplementedError(absl::StrCat("group '", proto.name(), "': broadcast by the server is not served yet; clients that broadcast keep "
                                                 "their progress themselves"));
  }
  TakeQuota(proto.quota(), base.quota);
  return base;
}

absl::StatusOr<broker::ResetOffset> ResetFrom(const admin::v1::ResetGroupOffsetRequest& request) {
  broker::ResetOffset reset;
  switch (request.to_case()) {
    case admin::v1::ResetGroupOffsetRequest::kEarliest:
      reset.policy = broker::OffsetPolicy::kBeginning;
      return reset;
    case admin::v1::ResetGroupOffsetRequest::kLatest:
      reset.policy = broker::OffsetPolicy::kEnd;
      return reset;
    case admin::v1::ResetGroupOffsetRequest::kTime:
      reset.policy = broker::OffsetPolicy::kTime;
      reset.time = TimeOf(request.time());
      return reset;
    case admin::v1::ResetGroupOffsetRequest::kOffset:
      if (request.offset() < 0) return absl::InvalidArgumentError(absl::StrCat("offset ", request.offset(), " is negative"));
      reset.offset = request.offset();
      return reset;
    case admin::v1::ResetGroupOffsetRequest::TO_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("reset of group '", request.group(), "': expected one of earliest, latest, time, offset"));
}

}  // namespace fulmar::registry
