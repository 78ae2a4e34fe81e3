#include "services/offset/ledger_records.h"

#include <utility>

#include "services/common/status.h"
#include "services/index/codec.h"
#include "services/index/keys.h"

namespace fulmar::offset {
namespace {

constexpr uint8_t kFormat = 1;

}  // namespace

std::string Encode(const LedgerEntry& entry) {
  std::string bytes;
  index::ByteWriter writer(bytes);
  writer.U8(kFormat);
  writer.U8(static_cast<uint8_t>(entry.state));
  writer.U64(entry.token);
  writer.I64(entry.lease_until_ms);
  writer.I64(entry.completed_ms);
  writer.I64(entry.expires_ms);
  writer.String(entry.group);
  writer.String(entry.key);
  writer.String(entry.holder);
  writer.String(entry.result);
  return bytes;
}

absl::StatusOr<LedgerEntry> DecodeLedgerEntry(std::string_view bytes) {
  index::ByteReader reader(bytes);
  if (reader.U8() != kFormat) reader.Fail();
  LedgerEntry entry;
  entry.state = static_cast<LedgerEntry::State>(reader.U8());
  if (entry.state != LedgerEntry::State::kBegun && entry.state != LedgerEntry::State::kCompleted) reader.Fail();
  entry.token = reader.U64();
  entry.lease_until_ms = reader.I64();
  entry.completed_ms = reader.I64();
  entry.expires_ms = reader.I64();
  entry.group = reader.String();
  entry.key = reader.String();
  entry.holder = reader.String();
  entry.result = reader.String();
  FULMAR_RETURN_IF_ERROR(reader.Finish("ledger entry"));
  return entry;
}

std::string Encode(const LedgerRemoval& removal) {
  std::string bytes;
  index::ByteWriter writer(bytes);
  writer.U8(kFormat);
  writer.Varint(removal.items.size());
  for (const LedgerRemoval::Item& item : removal.items) {
    writer.U64(item.token);
    writer.I64(item.expires_ms);
    writer.String(item.group);
    writer.String(item.key);
  }
  return bytes;
}

absl::StatusOr<LedgerRemoval> DecodeLedgerRemoval(std::string_view bytes) {
  index::ByteReader reader(bytes);
  if (reader.U8() != kFormat) reader.Fail();
  LedgerRemoval removal;
  const size_t count = reader.Count(18);
  removal.items.reserve(count);
  for (size_t i = 0; i < count && reader.ok(); ++i) {
    LedgerRemoval::Item& item = removal.items.emplace_back();
    item.token = reader.U64();
    item.expires_ms = reader.I64();
    item.group = reader.String();
    item.key = reader.String();
  }
  FULMAR_RETURN_IF_ERROR(reader.Finish("ledger removal"));
  return removal;
}

std::string LedgerKey(std::string_view group, std::string_view key) {
  std::string out(1, kLedgerKind);
  out.append(group).push_back('\0');
  return out.append(key);
}

// The sign bit is turned, so that byte order is number order.
std::string LedgerEndKey(int64_t expires_ms, std::string_view group, std::string_view key) {
  std::string out(1, kLedgerEndKind);
  index::AppendBigEndian64(out, static_cast<uint64_t>(expires_ms) ^ (uint64_t{1} << 63));
  out.append(group).push_back('\0');
  return out.append(key);
}

absl::StatusOr<LedgerEnd> DecodeLedgerEndKey(std::string_view key) {
  constexpr size_t kNamesAt = 1 + sizeof(uint64_t);
  const size_t zero = key.find('\0', kNamesAt);
  if (key.size() < kNamesAt || key[0] != kLedgerEndKind || zero == key.npos) return absl::DataLossError("the index holds a bad key of the ledger's ends");
  const uint64_t number = index::ReadBigEndian64(key.substr(1));
  return LedgerEnd{.expires_ms = static_cast<int64_t>(number ^ (uint64_t{1} << 63)),
                   .group = std::string(key.substr(kNamesAt, zero - kNamesAt)),
                   .key = std::string(key.substr(zero + 1))};
}

absl::StatusOr<std::optional<LedgerEntry>> LedgerApply::Find(const std::string& key) const {
  if (const auto changed = changed_.find(key); changed != changed_.end()) return changed->second;
  const std::optional<std::string> bytes = kv_.Get(key);
  if (!bytes.has_value()) return std::nullopt;
  FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(*bytes));
  FULMAR_ASSIGN_OR_RETURN(LedgerEntry entry, DecodeLedgerEntry(stored.body));
  return entry;
}

absl::Status LedgerApply::Entry(std::string_view body, LogPosition position, index::KvBatch& batch) {
  FULMAR_ASSIGN_OR_RETURN(LedgerEntry entry, DecodeLedgerEntry(body));
  if (entry.token == 0) entry.token = static_cast<uint64_t>(position.value) + 1;
  const std::string key = LedgerKey(entry.group, entry.key);
  FULMAR_ASSIGN_OR_RETURN(const std::optional<LedgerEntry> before, Find(key));
  if (before.has_value() && before->expires_ms != entry.expires_ms) batch.Delete(LedgerEndKey(before->expires_ms, entry.group, entry.key));
  batch.Put(key, index::EncodeStored(position, Encode(entry)));
  batch.Put(LedgerEndKey(entry.expires_ms, entry.group, entry.key), index::EncodeStored(position, ""));
  changed_[key] = std::move(entry);
  return absl::OkStatus();
}

absl::Status LedgerApply::Removal(std::string_view body, index::KvBatch& batch) {
  FULMAR_ASSIGN_OR_RETURN(const LedgerRemoval removal, DecodeLedgerRemoval(body));
  for (const LedgerRemoval::Item& item : removal.items) {
    const std::string key = LedgerKey(item.group, item.key);
    FULMAR_ASSIGN_OR_RETURN(const std::optional<LedgerEntry> there, Find(key));
    if (!there.has_value() || there->token != item.token || there->expires_ms != item.expires_ms) continue;
    batch.Delete(key);
    batch.Delete(LedgerEndKey(item.expires_ms, item.group, item.key));
    changed_[key] = std::nullopt;
  }
  return absl::OkStatus();
}

}  // namespace fulmar::offset
