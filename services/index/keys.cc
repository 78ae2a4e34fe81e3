#include "services/index/keys.h"

#include "absl/strings/str_cat.h"
#include "services/index/codec.h"

namespace fulmar::index {
namespace {

std::string Kind(char kind) { return std::string(1, kind); }

std::string WithQueue(std::string key, QueueId queue) {
  AppendBigEndian32(key, queue.topic_id);
  AppendBigEndian32(key, static_cast<uint32_t>(queue.queue));
  return key;
}

std::string WithName(std::string key, std::string_view name) {
  key.append(name);
  key.push_back('\0');
  return key;
}

log::AppliedPoint AppliedOrNothing(const std::optional<std::string>& bytes) {
  if (!bytes) return {};
  return DecodeApplied(*bytes).value_or(log::AppliedPoint{});
}

}  // namespace

std::string QueueEntryKey(QueueId queue, int64_t offset) {
  std::string key;
  key.reserve(kQueueEntryKeyBytes);
  key.push_back(kQueueEntryKind);
  key = WithQueue(std::move(key), queue);
  AppendBigEndian64(key, static_cast<uint64_t>(offset));
  return key;
}

std::string MessageGroupKey(QueueId queue, uint64_t group, int64_t offset) {
  std::string key = WithQueue(Kind('o'), queue);
  AppendBigEndian64(key, group);
  AppendBigEndian64(key, static_cast<uint64_t>(offset));
  return key;
}

std::string QueueCountersKey(QueueId queue) { return WithQueue(Kind('c'), queue); }
std::string TopicKey(std::string_view name) { return absl::StrCat("t", name); }
std::string GroupKey(std::string_view name) { return absl::StrCat("g", name); }
std::string ClaimKey(std::string_view shard) { return absl::StrCat("k", shard); }

std::string HandleKeyKey(uint32_t key_id) {
  std::string key = Kind('h');
  AppendBigEndian32(key, key_id);
  return key;
}

std::string DeletionKey(uint64_t version) {
  std::string key = Kind('x');
  AppendBigEndian64(key, version);
  return key;
}

std::string ProgressKey(std::string_view group, QueueId queue) { return WithQueue(WithName(Kind('p'), group), queue); }

std::string ShardProgressPrefix(std::string_view shard) { return WithName(Kind('P'), shard); }

std::string ShardGroupProgressPrefix(std::string_view shard, std::string_view group) {
  return WithName(ShardProgressPrefix(shard), group);
}

std::string ShardProgressKey(std::string_view shard, std::string_view group, QueueId queue) {
  return WithQueue(ShardGroupProgressPrefix(shard, group), queue);
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<uint8_t>(end.back()) == 0xff) end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<uint8_t>(end.back()) + 1);
  return end;
}

std::optional<QueueId> ParseQueueCountersKey(std::string_view key) {
  if (key.size() != 9 || key[0] != 'c') return std::nullopt;
  return QueueId{ReadBigEndian32(key.substr(1)), static_cast<int32_t>(ReadBigEndian32(key.substr(5)))};
}

std::string EncodeApplied(const log::AppliedPoint& point) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.I64(point.index.value);
  writer.I64(point.term.value);
  writer.I64(point.position.value);
  return bytes;
}

absl::StatusOr<log::AppliedPoint> DecodeApplied(std::string_view bytes) {
  ByteReader reader(bytes);
  log::AppliedPoint point;
  point.index.value = reader.I64();
  point.term.value = reader.I64();
  point.position.value = reader.I64();
  if (point.index.value < 0 || point.term.value < 0 || point.position.value < 0) reader.Fail();
  if (absl::Status status = reader.Finish("applied point"); !status.ok()) return status;
  return point;
}

log::AppliedPoint ReadApplied(const KvStore& kv) { return AppliedOrNothing(kv.Get(kAppliedKey)); }
log::AppliedPoint ReadDurableApplied(const KvStore& kv) { return AppliedOrNothing(kv.GetDurable(kAppliedKey)); }
void PutApplied(KvBatch& batch, const log::AppliedPoint& point) { batch.Put(kAppliedKey, EncodeApplied(point)); }

absl::Status CheckIndexFormat(KvStore& kv) {
  std::string expected;
  ByteWriter(expected).U32(kIndexFormat);
  const std::optional<std::string> found = kv.Get(kFormatKey);
  if (found == expected) return absl::OkStatus();
  if (!found && !kv.Get(kAppliedKey)) {
    KvBatch batch;
    batch.Put(kFormatKey, expected);
    kv.Write(batch);
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the index has another format than ", kIndexFormat, ": it has to be rebuilt from the log"));
}

std::string EncodeStored(LogPosition position, std::string_view body) {
  std::string bytes;
  bytes.reserve(8 + body.size());
  ByteWriter(bytes).I64(position.value);
  bytes.append(body);
  return bytes;
}

absl::StatusOr<Stored> DecodeStored(std::string_view bytes) {
  ByteReader reader(bytes);
  const LogPosition position{reader.I64()};
  if (!reader.ok() || position.value < 0) return absl::DataLossError("stored value: no position");
  return Stored{position, reader.rest()};
}

std::string EncodeCounters(const QueueCounters& counters) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.I64(counters.next);
  writer.I64(counters.min);
  return bytes;
}

absl::StatusOr<QueueCounters> DecodeCounters(std::string_view bytes) {
  ByteReader reader(bytes);
  QueueCounters counters;
  counters.next = reader.I64();
  counters.min = reader.I64();
  if (counters.min < 0 || counters.next < counters.min) reader.Fail();
  if (absl::Status status = reader.Finish("queue counters"); !status.ok()) return status;
  return counters;
}

}  // namespace fulmar::index
