#include "services/index/queue_index.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/index/codec.h"

namespace fulmar::index {

std::string EncodeQueueEntry(const QueueEntry& entry) {
  std::string bytes;
  bytes.reserve(kQueueEntryBytes);
  ByteWriter writer(bytes);
  writer.I64(entry.position.value);
  writer.U32(entry.length);
  writer.U32(entry.tag_hash);
  writer.I64(entry.store_time_ms);
  if (entry.held != 0 || entry.group != 0) writer.I64(entry.held);
  if (entry.group != 0) writer.U64(entry.group);
  return bytes;
}

absl::StatusOr<QueueEntry> DecodeQueueEntry(std::string_view key, std::string_view value) {
  if (key.size() != kQueueEntryKeyBytes || key[0] != kQueueEntryKind) {
    return absl::DataLossError(absl::StrCat("queue entry: key of ", key.size(), " bytes"));
  }
  ByteReader reader(value);
  QueueEntry entry;
  entry.offset = static_cast<int64_t>(ReadBigEndian64(key.substr(kQueueEntryPrefixBytes)));
  entry.position.value = reader.I64();
  entry.length = reader.U32();
  entry.tag_hash = reader.U32();
  entry.store_time_ms = reader.I64();
  if (value.size() > kQueueEntryBytes) {
    entry.held = reader.I64();
    const bool has_group = value.size() > kQueueEntryBytes + sizeof entry.held;
    if (has_group) entry.group = reader.U64();
    if (entry.held < 0 || (has_group ? entry.group == 0 : entry.held == 0)) reader.Fail();
  }
  if (entry.offset < 0 || entry.position.value < 0) reader.Fail();
  if (absl::Status status = reader.Finish("queue entry"); !status.ok()) return status;
  return entry;
}

void QueueIndex::Append(KvBatch& batch, QueueId queue, const QueueEntry& entry) {
  batch.Put(QueueEntryKey(queue, entry.offset), EncodeQueueEntry(entry));
  if (entry.group != 0) batch.Put(MessageGroupKey(queue, entry.group, entry.offset), {});
}

void QueueIndex::ForgetGroup(KvBatch& batch, QueueId queue, const QueueEntry& entry) {
  if (entry.group != 0) batch.Delete(MessageGroupKey(queue, entry.group, entry.offset));
}

std::vector<QueueId> QueueIndex::QueuesWithGroups() const {
  std::vector<QueueId> queues;
  const auto it = kv_.Scan("o", "p");
  while (it->Valid()) {
    const std::string prefix(it->key().substr(0, kQueueEntryPrefixBytes));
    queues.push_back({ReadBigEndian32(std::string_view(prefix).substr(1)), static_cast<int32_t>(ReadBigEndian32(std::string_view(prefix).substr(5)))});
    it->Seek(PrefixEnd(prefix));
  }
  return queues;
}

void QueueIndex::ForEachOfGroup(QueueId queue, uint64_t group, int64_t from, int64_t to,
                                absl::FunctionRef<bool(int64_t)> visit) const {
  if (from >= to) return;
  const auto it = kv_.Scan(MessageGroupKey(queue, group, from), MessageGroupKey(queue, group, to));
  for (; it->Valid(); it->Next()) {
    if (!visit(static_cast<int64_t>(ReadBigEndian64(it->key().substr(it->key().size() - sizeof(uint64_t)))))) return;
  }
}

void QueueIndex::PutCounters(KvBatch& batch, QueueId queue, const QueueCounters& counters, LogPosition newest_record) {
  batch.Put(QueueCountersKey(queue), EncodeStored(newest_record, EncodeCounters(counters)));
}

void QueueIndex::Trim(KvBatch& batch, QueueId queue, int64_t from, int64_t to) {
  if (from < to) batch.DeleteRange(QueueEntryKey(queue, from), QueueEntryKey(queue, to));
}

void QueueIndex::Remove(KvBatch& batch, QueueId queue) {
  const std::string prefix = QueueEntryKey(queue, 0).substr(0, kQueueEntryPrefixBytes);
  batch.DeleteRange(prefix, PrefixEnd(prefix));
  const std::string groups = MessageGroupKey(queue, 0, 0).substr(0, kQueueEntryPrefixBytes);
  batch.DeleteRange(groups, PrefixEnd(groups));
  batch.Delete(QueueCountersKey(queue));
}

absl::StatusOr<std::vector<QueueEntry>> QueueIndex::Read(QueueId queue, int64_t from, int64_t to, size_t max) const {
  std::vector<QueueEntry> entries;
  from = std::max<int64_t>(from, 0);
  if (from >= to || max == 0) return entries;
  entries.reserve(std::min<size_t>(max, static_cast<size_t>(to - from)));
  const auto it = kv_.Scan(QueueEntryKey(queue, from), QueueEntryKey(queue, to));
  for (; entries.size() < max && it->Valid(); it->Next()) {
    FULMAR_ASSIGN_OR_RETURN(const QueueEntry entry, DecodeQueueEntry(it->key(), it->value()));
    entries.push_back(entry);
  }
  FULMAR_RETURN_IF_ERROR(it->status());
  return entries;
}

// Binary search; each step reads the first entry at or behind the middle, so holes in a queue do no harm.
template <class IsBelow>
absl::StatusOr<int64_t> QueueIndex::FirstNotBelow(QueueId queue, const QueueCounters& counters,
                                                  IsBelow is_below) const {
  int64_t low = counters.min, high = counters.next;  // the answer lies in [low, high]
  if (low >= high) return counters.next;
  const auto it = kv_.Scan(QueueEntryKey(queue, low), QueueEntryKey(queue, high));
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    it->Seek(QueueEntryKey(queue, middle));
    if (!it->Valid()) {
      FULMAR_RETURN_IF_ERROR(it->status());
      high = middle;
      continue;
    }
    FULMAR_ASSIGN_OR_RETURN(const QueueEntry entry, DecodeQueueEntry(it->key(), it->value()));
    if (is_below(entry)) {
      low = entry.offset + 1;
    } else {
      high = middle;
    }
  }
  // `low` may be a hole; the answer is the offset of an entry.
  it->Seek(QueueEntryKey(queue, low));
  if (!it->Valid()) {
    FULMAR_RETURN_IF_ERROR(it->status());  // else retention would take an unreadable queue for an empty one
    return counters.next;
  }
  FULMAR_ASSIGN_OR_RETURN(const QueueEntry entry, DecodeQueueEntry(it->key(), it->value()));
  return entry.offset;
}

absl::StatusOr<int64_t> QueueIndex::FindByTime(QueueId queue, const QueueCounters& counters, absl::Time time) const {
  // A message stored in the millisecond of `time` counts as stored at it.
  const int64_t ms = absl::ToUnixMillis(time);
  return FirstNotBelow(queue, counters, [ms](const QueueEntry& entry) { return entry.store_time_ms < ms; });
}

absl::StatusOr<int64_t> QueueIndex::FindByPosition(QueueId queue, const QueueCounters& counters,
                                                   LogPosition position) const {
  return FirstNotBelow(queue, counters, [position](const QueueEntry& entry) { return entry.position < position; });
}

namespace {

absl::StatusOr<QueueIndex::StoredCounters> DecodeStoredCounters(std::string_view bytes) {
  FULMAR_ASSIGN_OR_RETURN(const Stored stored, DecodeStored(bytes));
  FULMAR_ASSIGN_OR_RETURN(const QueueCounters counters, DecodeCounters(stored.body));
  return QueueIndex::StoredCounters{counters, stored.position};
}

}  // namespace

absl::StatusOr<std::optional<QueueIndex::StoredCounters>> QueueIndex::ReadCounters(QueueId queue) const {
  const std::optional<std::string> bytes = kv_.Get(QueueCountersKey(queue));
  if (!bytes) return std::optional<StoredCounters>();
  FULMAR_ASSIGN_OR_RETURN(const StoredCounters counters, DecodeStoredCounters(*bytes));
  return std::optional<StoredCounters>(counters);
}

absl::StatusOr<std::vector<std::pair<QueueId, QueueIndex::StoredCounters>>> QueueIndex::ReadAllCounters() const {
  std::vector<std::pair<QueueId, StoredCounters>> all;
  const auto it = kv_.Scan("c", "d");
  for (; it->Valid(); it->Next()) {
    const std::optional<QueueId> queue = ParseQueueCountersKey(it->key());
    if (!queue) return absl::DataLossError("queue counters: impossible key");
    FULMAR_ASSIGN_OR_RETURN(const StoredCounters counters, DecodeStoredCounters(it->value()));
    all.emplace_back(*queue, counters);
  }
  FULMAR_RETURN_IF_ERROR(it->status());
  return all;
}

}  // namespace fulmar::index
