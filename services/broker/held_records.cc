#include "services/broker/held_records.h"

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/index/codec.h"

namespace fulmar::broker {
namespace {

using index::ByteReader;
using index::ByteWriter;

constexpr uint8_t kVersion = 1;
constexpr uint8_t kReleasedFlag = 1, kParkedFlag = 2;

absl::StatusOr<ByteReader> Begin(std::string_view body, std::string_view what) {
  ByteReader reader(body);
  if (reader.U8() != kVersion) return absl::DataLossError(absl::StrCat(what, " record: ", body.empty() ? "empty" : "unknown version"));
  return reader;
}

HeldKind ReadKind(ByteReader& reader) {
  const uint8_t kind = reader.U8();
  if (kind != static_cast<uint8_t>(HeldKind::kTimed) && kind != static_cast<uint8_t>(HeldKind::kHalf)) reader.Fail();
  return static_cast<HeldKind>(kind);
}

// A position in the log, never the first byte.
int64_t ReadId(ByteReader& reader) {
  const int64_t id = reader.I64();
  if (id <= 0) reader.Fail();
  return id;
}

}  // namespace

std::string EncodeHeldMessage(const HeldMessageRecord& record) {
  std::string body;
  body.reserve(kHeldHeaderBytes + record.message.size());
  ByteWriter writer(body);
  writer.U8(kVersion);
  writer.U8(static_cast<uint8_t>(record.kind));
  writer.U8(static_cast<uint8_t>((record.released ? kReleasedFlag : 0) | (record.parked ? kParkedFlag : 0)));
  writer.U8(0);
  writer.U32(record.checks);
  writer.I64(record.id);
  writer.I64(record.due_ms);
  body.append(record.message);
  return body;
}

absl::StatusOr<HeldMessageRecord> DecodeHeldMessage(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(ByteReader reader, Begin(body, "held message"));
  HeldMessageRecord record;
  record.kind = ReadKind(reader);
  const uint8_t flags = reader.U8();
  if ((flags & ~(kReleasedFlag | kParkedFlag)) != 0 || reader.U8() != 0) reader.Fail();
  record.released = (flags & kReleasedFlag) != 0;
  record.parked = (flags & kParkedFlag) != 0;
  record.checks = reader.U32();
  record.id = reader.I64();
  record.due_ms = reader.I64();
  if (record.id < 0 || record.due_ms < 0 || !reader.ok()) return absl::DataLossError("held message record: impossible header");
  record.message = reader.rest();
  return record;
}

std::string EncodeHeldReleased(const HeldReleased& released) {
  std::string body;
  ByteWriter writer(body);
  writer.U8(kVersion);
  writer.U8(static_cast<uint8_t>(released.kind));
  writer.U32(released.topic_id);
  writer.U32(static_cast<uint32_t>(released.queue));
  writer.U32(released.tag_hash);
  writer.U32(released.message_bytes);
  writer.I64(released.id);
  writer.I64(released.offset);
  writer.I64(released.store_time_ms);
  return body;
}

absl::StatusOr<HeldReleased> DecodeHeldReleased(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(ByteReader reader, Begin(body, "release of a held message"));
  HeldReleased released;
  released.kind = ReadKind(reader);
  released.topic_id = reader.U32();
  released.queue = static_cast<int32_t>(reader.U32());
  released.tag_hash = reader.U32();
  released.message_bytes = reader.U32();
  released.id = ReadId(reader);
  released.offset = reader.I64();
  released.store_time_ms = reader.I64();
  if (released.offset < 0 || released.queue < 0) reader.Fail();
  FULMAR_RETURN_IF_ERROR(reader.Finish("release of a held message"));
  return released;
}

std::string EncodeHeldDropped(const HeldDropped& dropped) {
  std::string body;
  ByteWriter writer(body);
  writer.U8(kVersion);
  writer.U8(static_cast<uint8_t>(dropped.kind));
  writer.U8(static_cast<uint8_t>(dropped.reason));
  writer.U32(dropped.topic_id);
  writer.I64(dropped.id);
  return body;
}

absl::StatusOr<HeldDropped> DecodeHeldDropped(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(ByteReader reader, Begin(body, "drop of a held message"));
  HeldDropped dropped;
  dropped.kind = ReadKind(reader);
  const uint8_t reason = reader.U8();
  if (reason < static_cast<uint8_t>(DropReason::kRecalled) || reason > static_cast<uint8_t>(DropReason::kTopicDeleted)) reader.Fail();
  dropped.reason = static_cast<DropReason>(reason);
  dropped.topic_id = reader.U32();
  dropped.id = ReadId(reader);
  FULMAR_RETURN_IF_ERROR(reader.Finish("drop of a held message"));
  return dropped;
}

std::string EncodeHeldUpdated(const HeldUpdated& updated) {
  std::string body;
  ByteWriter writer(body);
  writer.U8(kVersion);
  writer.U8(updated.parked ? kParkedFlag : 0);
  writer.U32(updated.checks);
  writer.I64(updated.id);
  writer.I64(updated.due_ms);
  return body;
}

absl::StatusOr<HeldUpdated> DecodeHeldUpdated(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(ByteReader reader, Begin(body, "checks of a half message"));
  HeldUpdated updated;
  const uint8_t flags = reader.U8();
  if ((flags & ~kParkedFlag) != 0) reader.Fail();
  updated.parked = flags != 0;
  updated.checks = reader.U32();
  updated.id = ReadId(reader);
  updated.due_ms = reader.I64();
  if (updated.due_ms < 0) reader.Fail();
  FULMAR_RETURN_IF_ERROR(reader.Finish("checks of a half message"));
  return updated;
}

}  // namespace fulmar::broker
