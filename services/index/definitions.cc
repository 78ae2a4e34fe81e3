#include "services/index/definitions.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/index/codec.h"

// Both definitions begin with a version byte; a newer version only adds fields at the end and is refused by older readers.
namespace fulmar::index {
namespace {

constexpr uint8_t kTopicFormat = 2;
constexpr uint8_t kGroupFormat = 2;

constexpr size_t kMaxTopicName = 127;
constexpr size_t kMaxDerivedTopicName = 255;  // %RETRY%<group>, %DLQ%<group>
constexpr size_t kMaxGroupName = 120;
constexpr std::string_view kRetryPrefix = "%RETRY%";

constexpr std::array<std::string_view, 10> kSystemTopics = {
    "TBW102",
    "SCHEDULE_TOPIC_XXXX",
    "BenchmarkTest",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
};
constexpr std::string_view kSystemTopicPrefix = "rmq_sys_";
constexpr std::string_view kSystemGroupPrefix = "CID_RMQ_SYS_";

bool IsNameCharacter(char c) { return absl::ascii_isalnum(c) || c == '%' || c == '|' || c == '_' || c == '-'; }

// What is wrong with the form of `name`; empty: nothing.
std::string NameProblem(std::string_view name, size_t max) {
  if (name.empty()) return "is empty";
  if (name.size() > max) return absl::StrCat("has ", name.size(), " bytes, at most ", max, " are allowed");
  if (!std::all_of(name.begin(), name.end(), IsNameCharacter)) return "may only hold characters of %|a-zA-Z0-9_-";
  return "";
}

// Names come from clients: an error repeats only what is fit to be shown.
std::string Shown(std::string_view name) {
  constexpr size_t kMaxShown = 64;
  std::string shown;
  for (char c : name.substr(0, kMaxShown)) shown.push_back(absl::ascii_isprint(c) ? c : '?');
  if (name.size() > kMaxShown) absl::StrAppend(&shown, "...");
  return shown;
}

template <class E>
E ReadEnum(ByteReader& reader, std::initializer_list<E> allowed) {
  const E value = static_cast<E>(reader.U8());
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) reader.Fail();
  return value;
}

void Write(const RateQuota& quota, ByteWriter& writer) {
  writer.Varint(quota.messages);
  writer.Varint(quota.bytes);
}

RateQuota ReadQuota(ByteReader& reader) {
  RateQuota quota;
  quota.messages = reader.Varint();
  quota.bytes = reader.Varint();
  return quota;
}

absl::Status CheckQuota(std::string_view of, const RateQuota& quota) {
  if (quota.messages <= kMaxQuota && quota.bytes <= kMaxQuota) return absl::OkStatus();
  return errors::BadRequest(absl::StrCat(of, ": a quota of ", std::max(quota.messages, quota.bytes), " a second, 0 (none) .. ", kMaxQuota,
                                         " is possible"));
}

// 0 switches the setting off.
absl::Status CheckRange(std::string_view of, std::string_view what, absl::Duration value, absl::Duration min, absl::Duration max) {
  if (value == absl::ZeroDuration() || (value >= min && value <= max)) return absl::OkStatus();
  return errors::BadRequest(absl::StrCat(of, ": ", what, " of ", absl::FormatDuration(value), ", 0 (none) or ", absl::FormatDuration(min),
                                         " .. ", absl::FormatDuration(max), " is possible"));
}

}  // namespace

const std::vector<absl::Duration>& DefaultRetryDelays() {
  static const auto& delays = *new std::vector<absl::Duration>{
      absl::Seconds(1), absl::Seconds(5), absl::Seconds(10), absl::Seconds(30), absl::Minutes(1), absl::Minutes(2),
      absl::Minutes(3), absl::Minutes(4), absl::Minutes(5),  absl::Minutes(6),  absl::Minutes(7), absl::Minutes(8),
      absl::Minutes(9), absl::Minutes(10), absl::Minutes(20), absl::Minutes(30), absl::Hours(1),  absl::Hours(2)};
  return delays;
}

bool InOrder(const GroupDefinition& group, const TopicDefinition& topic) {
  if (topic.type == TopicType::kPriority) return false;
  if (group.order != DeliveryOrder::kByTopic) return group.order == DeliveryOrder::kFifo;
  return topic.type == TopicType::kFifo || topic.type == TopicType::kMixed;
}

std::string Encode(const TopicDefinition& topic) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.U8(kTopicFormat);
  writer.String(topic.name);
  writer.U32(topic.topic_id);
  writer.U64(topic.version);
  writer.U8(static_cast<uint8_t>(topic.type));
  writer.U32(static_cast<uint32_t>(topic.queues));
  writer.U8(static_cast<uint8_t>(topic.durability));
  writer.Varint(topic.shards.size());
  for (const std::string& shard : topic.shards) writer.String(shard);
  writer.Time(topic.created);
  writer.Duration(topic.message_ttl);
  writer.Duration(topic.dedup_window);
  Write(topic.quota, writer);
  return bytes;
}

absl::StatusOr<TopicDefinition> DecodeTopic(std::string_view bytes) {
  ByteReader reader(bytes);
  const uint8_t format = reader.U8();
  if (format < 1 || format > kTopicFormat) return absl::DataLossError("topic definition: unknown format");
  TopicDefinition topic;
  topic.name = reader.String();
  topic.topic_id = reader.U32();
  topic.version = reader.U64();
  topic.type = ReadEnum(reader, {TopicType::kNormal, TopicType::kFifo, TopicType::kDelay, TopicType::kTransaction,
                                 TopicType::kPriority, TopicType::kMixed});
  topic.queues = static_cast<int32_t>(reader.U32());
  topic.durability = ReadEnum(reader, {log::Durability::kSync, log::Durability::kAsync});
  for (size_t left = reader.Count(1); left > 0 && reader.ok(); --left) topic.shards.emplace_back(reader.String());
  topic.created = reader.Time();
  if (format >= 2) {
    topic.message_ttl = reader.Duration();
    topic.dedup_window = reader.Duration();
    topic.quota = ReadQuota(reader);
  }
  if (topic.queues < 0) reader.Fail();
  if (absl::Status status = reader.Finish("topic definition"); !status.ok()) return status;
  return topic;
}

std::string Encode(const GroupDefinition& group) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.U8(kGroupFormat);
  writer.String(group.name);
  writer.U64(group.version);
  writer.U8(static_cast<uint8_t>(group.order));
  writer.U8(static_cast<uint8_t>(group.from));
  writer.U32(static_cast<uint32_t>(group.retry.max_attempts));
  writer.Varint(group.retry.delays.size());
  for (absl::Duration delay : group.retry.delays) writer.Duration(delay);
  writer.Time(group.created);
  writer.U8(group.suspended ? 1 : 0);
  writer.U8(static_cast<uint8_t>(group.mode));
  Write(group.quota, writer);
  return bytes;
}

absl::StatusOr<GroupDefinition> DecodeGroup(std::string_view bytes) {
  ByteReader reader(bytes);
  const uint8_t format = reader.U8();
  if (format < 1 || format > kGroupFormat) return absl::DataLossError("group definition: unknown format");
  GroupDefinition group;
  group.name = reader.String();
  group.version = reader.U64();
  group.order = ReadEnum(reader, {DeliveryOrder::kConcurrent, DeliveryOrder::kFifo, DeliveryOrder::kByTopic});
  group.from = ReadEnum(reader, {StartFrom::kEarliest, StartFrom::kLatest});
  group.retry.max_attempts = static_cast<int32_t>(reader.U32());
  for (size_t left = reader.Count(1); left > 0 && reader.ok(); --left) group.retry.delays.push_back(reader.Duration());
  group.created = reader.Time();
  if (format >= 2) {
    const uint8_t suspended = reader.U8();
    if (suspended > 1) reader.Fail();
    group.suspended = suspended == 1;
    group.mode = ReadEnum(reader, {ConsumeMode::kClustering, ConsumeMode::kBroadcast});
    group.quota = ReadQuota(reader);
  }
  if (group.retry.max_attempts < 0) reader.Fail();
  if (absl::Status status = reader.Finish("group definition"); !status.ok()) return status;
  return group;
}

absl::Status CheckTopicName(std::string_view name) {
  const bool derived = absl::StartsWith(name, kDeadLetterPrefix) || absl::StartsWith(name, kRetryPrefix);
  const std::string problem = NameProblem(name, derived ? kMaxDerivedTopicName : kMaxTopicName);
  if (!problem.empty()) return errors::IllegalTopic(absl::StrCat("topic name '", Shown(name), "' ", problem));
  if (absl::StartsWith(name, kSystemTopicPrefix) ||
      std::find(kSystemTopics.begin(), kSystemTopics.end(), name) != kSystemTopics.end()) {
    return errors::IllegalTopic(absl::StrCat("topic name '", name, "' is reserved for the system"));
  }
  return absl::OkStatus();
}

absl::Status CheckGroupName(std::string_view name) {
  const std::string problem = NameProblem(name, kMaxGroupName);
  if (!problem.empty()) return errors::IllegalConsumerGroup(absl::StrCat("group name '", Shown(name), "' ", problem));
  if (absl::StartsWith(name, kSystemGroupPrefix)) {
    return errors::IllegalConsumerGroup(absl::StrCat("group name '", name, "' is reserved for the system"));
  }
  return absl::OkStatus();
}

absl::Status CheckTopic(const TopicDefinition& topic) {
  if (absl::Status status = CheckTopicName(topic.name); !status.ok()) return status;
  if (topic.queues < 1 || topic.queues > kMaxQueues) {
    return errors::BadRequest(
        absl::StrCat("topic '", topic.name, "': ", topic.queues, " queues, 1..", kMaxQueues, " are possible"));
  }
  for (const std::string& shard : topic.shards) {
    if (absl::Status status = CheckShardName(shard); !status.ok()) return status;
  }
  const std::string of = absl::StrCat("topic '", topic.name, "'");
  if (absl::Status status = CheckRange(of, "message TTL", topic.message_ttl, kMinMessageTtl, kMaxMessageTtl); !status.ok()) return status;
  if (absl::Status status = CheckRange(of, "dedup window", topic.dedup_window, kMinDedupWindow, kMaxDedupWindow); !status.ok()) return status;
  return CheckQuota(of, topic.quota);
}

absl::Status CheckGroup(const GroupDefinition& group) {
  if (absl::Status status = CheckGroupName(group.name); !status.ok()) return status;
  if (group.retry.max_attempts < 1 || group.retry.max_attempts > kMaxAttempts) {
    return errors::BadRequest(absl::StrCat("group '", group.name, "': ", group.retry.max_attempts, " attempts, 1..",
                                           kMaxAttempts, " are possible"));
  }
  if (group.retry.delays.size() > kMaxRetryDelays) {
    return errors::BadRequest(absl::StrCat("group '", group.name, "': ", group.retry.delays.size(),
                                           " retry delays, at most ", kMaxRetryDelays, " are possible"));
  }
  for (absl::Duration delay : group.retry.delays) {
    if (delay < absl::ZeroDuration() || delay > kMaxRetryDelay) {
      return errors::BadRequest(absl::StrCat("group '", group.name, "': retry delay ", absl::FormatDuration(delay),
                                             ", 0 .. ", absl::FormatDuration(kMaxRetryDelay), " is possible"));
    }
  }
  return CheckQuota(absl::StrCat("group '", group.name, "'"), group.quota);
}

absl::Status CheckShardName(std::string_view name) {
  const auto allowed = [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.'; };
  if (name.empty() || name.size() > kMaxShardName || !std::all_of(name.begin(), name.end(), allowed)) {
    return absl::InvalidArgumentError(absl::StrCat("shard name '", Shown(name), "': 1..", kMaxShardName,
                                                   " characters of a-zA-Z0-9_.- are possible"));
  }
  return absl::OkStatus();
}

std::string DeadLetterTopicOf(std::string_view group) { return absl::StrCat(kDeadLetterPrefix, group); }

}  // namespace fulmar::index
