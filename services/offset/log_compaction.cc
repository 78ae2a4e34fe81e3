#include "services/offset/log_compaction.h"

#include <utility>

#include "services/common/status.h"
#include "services/index/keys.h"
#include "services/offset/ledger_records.h"

namespace fulmar::offset {
namespace {

constexpr size_t kProgressPerRecord = 512;

}  // namespace

bool LogCompaction::BeginIfWanted(const std::vector<log::SegmentInfo>& segments) {
  if (active_) return true;
  std::vector<const log::SegmentInfo*> sealed;
  uint64_t sealed_bytes = 0;
  for (const log::SegmentInfo& segment : segments) {
    if (!segment.sealed) continue;
    sealed.push_back(&segment);
    sealed_bytes += static_cast<uint64_t>(segment.end.value - segment.base.value);
  }
  if (sealed.size() <= static_cast<size_t>(options_.max_sealed_segments)) return false;
  if (sealed_bytes < 2 * last_live_bytes_) return false;
  const size_t kept = static_cast<size_t>(options_.max_sealed_segments) / 2;
  target_ = sealed[sealed.size() - kept - 1]->end;
  cursor_.clear();
  live_bytes_ = 0;
  active_ = true;
  return true;
}

absl::StatusOr<LogCompaction::Chunk> LogCompaction::NextChunk() {
  Chunk chunk;
  chunk_size_ = 0;
  const auto it = kv_.Scan(cursor_, "\xff");
  size_t keys = 0;
  for (; it->Valid() && keys < options_.chunk_keys && chunk_size_ < options_.chunk_bytes; it->Next(), ++keys) {
    FULMAR_RETURN_IF_ERROR(Add(it->key(), it->value(), chunk));
  }
  FULMAR_RETURN_IF_ERROR(it->status());
  chunk.last = !it->Valid();
  if (chunk.last) {
    last_live_bytes_ = live_bytes_;
  } else {
    cursor_ = it->key();
  }
  FinishProgress(chunk);
  return chunk;
}

absl::Status LogCompaction::Add(std::string_view key, std::string_view value, Chunk& chunk) {
  using log::RecordType;
  if (key == index::kAppliedKey || key == index::kFormatKey) return absl::OkStatus();
  live_bytes_ += key.size() + value.size();
  FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(value));
  if (stored.position >= target_) return absl::OkStatus();

  switch (key[0]) {
    case kLedgerKind: chunk.records.push_back({RecordType::kLedgerEntry, std::string(stored.body)}); break;
    case kLedgerEndKind: return absl::OkStatus();  // comes with its entry
    case 'P': {
      FULMAR_ASSIGN_OR_RETURN(index::QueueProgress progress, index::DecodeProgress(stored.body));
      AddProgress(key, std::move(progress), chunk);
      break;
    }
    case 'g': {
      FULMAR_ASSIGN_OR_RETURN(index::GroupDefinition group, index::DecodeGroup(stored.body));
      chunk.records.push_back({RecordType::kGroupDefinition, Encode(GroupRecord{state_.counters(), std::move(group)})});
      break;
    }
    case 't': {
      FULMAR_ASSIGN_OR_RETURN(index::TopicDefinition topic, index::DecodeTopic(stored.body));
      chunk.records.push_back({RecordType::kTopicDefinition, Encode(TopicRecord{state_.counters(), std::move(topic)})});
      break;
    }
    case 'x': {
      FULMAR_ASSIGN_OR_RETURN(Deletion deletion, DecodeDeletion(stored.body));
      const RecordType type = deletion.kind == Deletion::Kind::kTopic ? RecordType::kTopicDefinitionDeleted
                                                                      : RecordType::kGroupDefinitionDeleted;
      chunk.records.push_back(
          {type, Encode(DeletionRecord{.counters = state_.counters(), .again = true, .deletion = std::move(deletion)})});
      break;
    }
    case 'k': chunk.records.push_back({RecordType::kClaim, std::string(stored.body)}); break;
    case 'n': chunk.records.push_back({RecordType::kDefinitionCounters, std::string(stored.body)}); break;
    default: return absl::DataLossError("the offset index holds a key of an unknown kind");
  }
  chunk_size_ += stored.body.size();
  return absl::OkStatus();
}

void LogCompaction::AddProgress(std::string_view key, index::QueueProgress progress, Chunk& chunk) {
  const std::string shard(key.substr(1, key.find('\0', 1) - 1));
  if (shard != progress_.shard || progress_.entries.size() == kProgressPerRecord) FinishProgress(chunk);
  progress_.shard = shard;
  progress_.term = state_.ClaimOf(shard).value_or(Term{});
  progress_.entries.push_back(std::move(progress));
}

void LogCompaction::FinishProgress(Chunk& chunk) {
  if (!progress_.entries.empty()) chunk.records.push_back({log::RecordType::kProgress, Encode(progress_)});
  progress_ = {};
}

}  // namespace fulmar::offset
