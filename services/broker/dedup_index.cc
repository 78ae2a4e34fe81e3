#include "services/broker/dedup_index.h"

#include <cstring>

#include "services/index/codec.h"
#include "services/index/keys.h"

namespace fulmar::broker {
namespace {

constexpr std::string_view kByKey = "dk", kByPosition = "dp";
constexpr size_t kByPositionBytes = 2 + 8 + 4 + sizeof(DedupKey);
constexpr uint8_t kVersion = 1;

void AppendKey(std::string& out, const DedupKey& key) { out.append(reinterpret_cast<const char*>(key.data()), key.size()); }

DedupKey KeyFrom(std::string_view bytes) {
  DedupKey key{};
  std::memcpy(key.data(), bytes.data(), key.size());
  return key;
}

std::string KeyRow(uint32_t topic_id, const DedupKey& key) {
  std::string row(kByKey);
  index::AppendBigEndian32(row, topic_id);
  AppendKey(row, key);
  return row;
}

std::string PositionRow(LogPosition position) {
  std::string row(kByPosition);
  index::AppendBigEndian64(row, static_cast<uint64_t>(position.value));
  return row;
}

std::string PositionRow(const DedupEntry& entry) {
  std::string row = PositionRow(entry.position);
  index::AppendBigEndian32(row, entry.topic_id);
  AppendKey(row, entry.key);
  return row;
}

// What the row says, if it still counts.
std::optional<DedupEntry> EntryOf(const DedupIndex& index, std::string_view row) {
  if (row.size() != kByPositionBytes) return std::nullopt;
  const uint32_t topic_id = index::ReadBigEndian32(row.substr(10));
  std::optional<DedupEntry> entry = index.Find(topic_id, KeyFrom(row.substr(14)));
  if (entry && entry->position.value != static_cast<int64_t>(index::ReadBigEndian64(row.substr(2)))) entry.reset();
  return entry;
}

}  // namespace

void DedupIndex::Put(index::KvBatch& batch, const DedupEntry& entry) {
  std::string value;
  index::ByteWriter writer(value);
  writer.I64(entry.position.value);
  writer.U32(static_cast<uint32_t>(entry.queue));
  writer.I64(entry.offset);
  writer.I64(entry.store_time_ms);
  batch.Put(KeyRow(entry.topic_id, entry.key), value);
  batch.Put(PositionRow(entry), "");
}

std::optional<DedupEntry> DedupIndex::Find(uint32_t topic_id, const DedupKey& key) const {
  const std::optional<std::string> value = kv_.Get(KeyRow(topic_id, key));
  if (!value) return std::nullopt;
  index::ByteReader reader(*value);
  DedupEntry entry;
  entry.topic_id = topic_id;
  entry.key = key;
  entry.position = LogPosition{reader.I64()};
  entry.queue = static_cast<int32_t>(reader.U32());
  entry.offset = reader.I64();
  entry.store_time_ms = reader.I64();
  if (!reader.Finish("dedup entry").ok()) return std::nullopt;
  return entry;
}

std::vector<DedupEntry> DedupIndex::Below(LogPosition position, size_t max, absl::FunctionRef<bool(const DedupEntry&)> wanted) const {
  std::vector<DedupEntry> entries;
  for (auto it = kv_.Scan(kByPosition, PositionRow(position)); it->Valid() && entries.size() < max; it->Next()) {
    std::optional<DedupEntry> entry = EntryOf(*this, it->key());
    if (entry && wanted(*entry)) entries.push_back(*entry);
  }
  return entries;
}

bool DedupIndex::Expire(size_t slice, absl::FunctionRef<bool(const DedupEntry&)> is_over, index::KvBatch& batch) {
  const bool from_start = walk_.empty();
  auto it = kv_.Scan(from_start ? std::string(kByPosition) : walk_, index::PrefixEnd(kByPosition));
  if (!it->Valid() && from_start) return false;
  for (; it->Valid() && slice > 0; it->Next(), --slice) {
    const std::optional<DedupEntry> entry = EntryOf(*this, it->key());
    if (entry && !is_over(*entry)) continue;
    batch.Delete(it->key());
    if (entry) batch.Delete(KeyRow(entry->topic_id, entry->key));
  }
  walk_ = it->Valid() ? std::string(it->key()) : std::string();
  return true;
}

std::string EncodeDedupEntries(const std::vector<DedupEntry>& entries) {
  std::string body(1, static_cast<char>(kVersion));
  index::ByteWriter writer(body);
  writer.Varint(entries.size());
  for (const DedupEntry& entry : entries) {
    writer.U32(entry.topic_id);
    AppendKey(body, entry.key);
    writer.U32(static_cast<uint32_t>(entry.queue));
    writer.I64(entry.offset);
    writer.I64(entry.store_time_ms);
  }
  return body;
}

absl::StatusOr<std::vector<DedupEntry>> DecodeDedupEntries(std::string_view body, LogPosition position) {
  index::ByteReader reader(body);
  if (reader.U8() != kVersion) return absl::DataLossError("dedup entries: unknown version");
  std::vector<DedupEntry> entries;
  for (size_t left = reader.Count(4 + sizeof(DedupKey) + 4 + 8 + 8); left > 0 && reader.ok(); --left) {
    DedupEntry& entry = entries.emplace_back();
    entry.topic_id = reader.U32();
    for (uint8_t& byte : entry.key) byte = reader.U8();
    entry.queue = static_cast<int32_t>(reader.U32());
    entry.offset = reader.I64();
    entry.store_time_ms = reader.I64();
    entry.position = position;
  }
  if (absl::Status status = reader.Finish("dedup entries"); !status.ok()) return status;
  return entries;
}

}  // namespace fulmar::broker
