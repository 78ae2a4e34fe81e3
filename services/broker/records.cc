#include "services/broker/records.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/index/codec.h"

namespace fulmar::broker {
namespace {

using index::ByteReader;
using index::ByteWriter;

constexpr char kVersion = 1;

absl::StatusOr<std::string_view> Unwrap(std::string_view body, std::string_view what) {
  if (body.empty() || body[0] != kVersion) {
    return absl::DataLossError(absl::StrCat(what, " record: ", body.empty() ? "empty" : "unknown version"));
  }
  return body.substr(1);
}

std::string Wrap(std::string_view bytes) { return absl::StrCat(std::string_view(&kVersion, 1), bytes); }

}  // namespace

std::string EncodeTopicCopy(const index::TopicDefinition& topic) { return Wrap(index::Encode(topic)); }

absl::StatusOr<index::TopicDefinition> DecodeTopicCopy(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(const std::string_view bytes, Unwrap(body, "topic copy"));
  return index::DecodeTopic(bytes);
}

std::string EncodeTopicDeleted(const TopicDeleted& deleted) {
  std::string body(1, kVersion);
  ByteWriter writer(body);
  writer.U32(deleted.topic_id);
  writer.U64(deleted.version);
  writer.String(deleted.name);
  return body;
}

absl::StatusOr<TopicDeleted> DecodeTopicDeleted(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(const std::string_view bytes, Unwrap(body, "topic deletion"));
  ByteReader reader(bytes);
  TopicDeleted deleted;
  deleted.topic_id = reader.U32();
  deleted.version = reader.U64();
  deleted.name = reader.String();
  FULMAR_RETURN_IF_ERROR(reader.Finish("topic deletion"));
  return deleted;
}

std::string EncodeGroupCopy(const index::GroupDefinition& group) { return Wrap(index::Encode(group)); }

absl::StatusOr<index::GroupDefinition> DecodeGroupCopy(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(const std::string_view bytes, Unwrap(body, "group copy"));
  return index::DecodeGroup(bytes);
}

std::string EncodeGroupDeleted(const GroupDeleted& deleted) {
  std::string body(1, kVersion);
  ByteWriter writer(body);
  writer.U64(deleted.version);
  writer.String(deleted.name);
  return body;
}

absl::StatusOr<GroupDeleted> DecodeGroupDeleted(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(const std::string_view bytes, Unwrap(body, "group deletion"));
  ByteReader reader(bytes);
  GroupDeleted deleted;
  deleted.version = reader.U64();
  deleted.name = reader.String();
  FULMAR_RETURN_IF_ERROR(reader.Finish("group deletion"));
  return deleted;
}

std::string EncodeHandleKey(const HandleKey& key) {
  std::string body(1, kVersion);
  body.push_back(static_cast<char>(key.id));
  body.append(reinterpret_cast<const char*>(key.secret.data()), key.secret.size());
  return body;
}

absl::StatusOr<HandleKey> DecodeHandleKey(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(const std::string_view bytes, Unwrap(body, "handle key"));
  HandleKey key;
  if (bytes.size() != 1 + key.secret.size()) {
    return absl::DataLossError(absl::StrCat("handle key record: ", bytes.size(), " bytes"));
  }
  key.id = static_cast<uint8_t>(bytes[0]);
  std::memcpy(key.secret.data(), bytes.data() + 1, key.secret.size());
  return key;
}

std::string EncodeCountersRecord(const CountersRecord& record) {
  std::string body(1, kVersion);
  ByteWriter writer(body);
  writer.U32(record.queue.topic_id);
  writer.U32(static_cast<uint32_t>(record.queue.queue));
  writer.I64(record.counters.next);
  writer.I64(record.counters.min);
  return body;
}

absl::StatusOr<CountersRecord> DecodeCountersRecord(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(const std::string_view bytes, Unwrap(body, "queue counters"));
  ByteReader reader(bytes);
  CountersRecord record;
  record.queue.topic_id = reader.U32();
  record.queue.queue = static_cast<int32_t>(reader.U32());
  record.counters.next = reader.I64();
  record.counters.min = reader.I64();
  FULMAR_RETURN_IF_ERROR(reader.Finish("queue counters"));
  return record;
}

std::string EncodeProgressBatch(const std::vector<std::string>& entries) {
  std::string body(1, kVersion);
  ByteWriter writer(body);
  writer.Varint(entries.size());
  for (const std::string& entry : entries) writer.String(entry);
  return body;
}

absl::StatusOr<std::vector<std::string_view>> DecodeProgressBatch(std::string_view body) {
  FULMAR_ASSIGN_OR_RETURN(const std::string_view bytes, Unwrap(body, "progress batch"));
  ByteReader reader(bytes);
  std::vector<std::string_view> entries(reader.Count(1));
  for (std::string_view& entry : entries) entry = reader.String();
  FULMAR_RETURN_IF_ERROR(reader.Finish("progress batch"));
  return entries;
}

}  // namespace fulmar::broker
