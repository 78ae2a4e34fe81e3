#include "services/offset/records.h"

#include <utility>

#include "services/common/status.h"
#include "services/index/codec.h"

namespace fulmar::offset {
namespace {

using index::ByteReader;
using index::ByteWriter;

constexpr uint8_t kFormat = 1;

void WriteCounters(ByteWriter& writer, const DefinitionCounters& counters) {
  writer.U8(kFormat);
  writer.U32(counters.next_topic_id);
  writer.U64(counters.version);
}

DefinitionCounters ReadCounters(ByteReader& reader) {
  if (reader.U8() != kFormat) reader.Fail();
  DefinitionCounters counters;
  counters.next_topic_id = reader.U32();
  counters.version = reader.U64();
  return counters;
}

std::string CountersThen(const DefinitionCounters& counters, std::string_view object) {
  std::string bytes;
  ByteWriter writer(bytes);
  WriteCounters(writer, counters);
  bytes.append(object);
  return bytes;
}

// Reads the counters and leaves the object in `bytes`.
absl::StatusOr<DefinitionCounters> TakeCounters(std::string_view& bytes, std::string_view what) {
  ByteReader reader(bytes);
  const DefinitionCounters counters = ReadCounters(reader);
  if (!reader.ok()) return reader.Finish(what);
  bytes = reader.rest();
  return counters;
}

}  // namespace

std::string Encode(const DefinitionCounters& counters) { return CountersThen(counters, ""); }

absl::StatusOr<DefinitionCounters> DecodeCountersRecord(std::string_view bytes) {
  ByteReader reader(bytes);
  const DefinitionCounters counters = ReadCounters(reader);
  FULMAR_RETURN_IF_ERROR(reader.Finish("definition counters"));
  return counters;
}

std::string Encode(const TopicRecord& record) { return CountersThen(record.counters, index::Encode(record.topic)); }

absl::StatusOr<TopicRecord> DecodeTopicRecord(std::string_view bytes) {
  TopicRecord record;
  FULMAR_ASSIGN_OR_RETURN(record.counters, TakeCounters(bytes, "topic record"));
  FULMAR_ASSIGN_OR_RETURN(record.topic, index::DecodeTopic(bytes));
  return record;
}

std::string Encode(const GroupRecord& record) { return CountersThen(record.counters, index::Encode(record.group)); }

absl::StatusOr<GroupRecord> DecodeGroupRecord(std::string_view bytes) {
  GroupRecord record;
  FULMAR_ASSIGN_OR_RETURN(record.counters, TakeCounters(bytes, "group record"));
  FULMAR_ASSIGN_OR_RETURN(record.group, index::DecodeGroup(bytes));
  return record;
}

std::string Encode(const DeletionRecord& record) {
  return CountersThen(record.counters, std::string(1, record.again ? 1 : 0) + Encode(record.deletion));
}

absl::StatusOr<DeletionRecord> DecodeDeletionRecord(std::string_view bytes) {
  DeletionRecord record;
  FULMAR_ASSIGN_OR_RETURN(record.counters, TakeCounters(bytes, "deletion record"));
  if (bytes.empty() || static_cast<uint8_t>(bytes[0]) > 1) return absl::DataLossError("deletion record: bad flags");
  record.again = bytes[0] == 1;
  FULMAR_ASSIGN_OR_RETURN(record.deletion, DecodeDeletion(bytes.substr(1)));
  return record;
}

std::string Encode(const Deletion& deletion) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.U8(kFormat);
  writer.U8(static_cast<uint8_t>(deletion.kind));
  writer.String(deletion.name);
  writer.U32(deletion.topic_id);
  writer.U64(deletion.version);
  return bytes;
}

absl::StatusOr<Deletion> DecodeDeletion(std::string_view bytes) {
  ByteReader reader(bytes);
  if (reader.U8() != kFormat) reader.Fail();
  Deletion deletion;
  deletion.kind = static_cast<Deletion::Kind>(reader.U8());
  if (deletion.kind != Deletion::Kind::kTopic && deletion.kind != Deletion::Kind::kGroup) reader.Fail();
  deletion.name = reader.String();
  deletion.topic_id = reader.U32();
  deletion.version = reader.U64();
  FULMAR_RETURN_IF_ERROR(reader.Finish("deletion"));
  return deletion;
}

std::string Encode(const ClaimRecord& record) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.U8(kFormat);
  writer.I64(record.term.value);
  writer.String(record.shard);
  return bytes;
}

absl::StatusOr<ClaimRecord> DecodeClaimRecord(std::string_view bytes) {
  ByteReader reader(bytes);
  if (reader.U8() != kFormat) reader.Fail();
  ClaimRecord record;
  record.term.value = reader.I64();
  record.shard = reader.String();
  FULMAR_RETURN_IF_ERROR(reader.Finish("claim record"));
  return record;
}

std::string Encode(const ProgressRecord& record) {
  std::string bytes;
  ByteWriter writer(bytes);
  writer.U8(kFormat);
  writer.I64(record.term.value);
  writer.String(record.shard);
  writer.Varint(record.entries.size());
  for (const index::QueueProgress& entry : record.entries) writer.String(index::Encode(entry));
  return bytes;
}

absl::StatusOr<ProgressRecord> DecodeProgressRecord(std::string_view bytes) {
  ByteReader reader(bytes);
  if (reader.U8() != kFormat) reader.Fail();
  ProgressRecord record;
  record.term.value = reader.I64();
  record.shard = reader.String();
  const size_t entries = reader.Count(1);
  record.entries.reserve(entries);
  for (size_t i = 0; i < entries && reader.ok(); ++i) {
    const std::string_view entry = reader.String();
    if (!reader.ok()) break;
    FULMAR_ASSIGN_OR_RETURN(index::QueueProgress progress, index::DecodeProgress(entry));
    record.entries.push_back(std::move(progress));
  }
  FULMAR_RETURN_IF_ERROR(reader.Finish("progress record"));
  return record;
}

}  // namespace fulmar::offset
