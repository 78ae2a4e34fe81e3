#include "services/broker/message_record.h"

#include <array>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "sodium/crypto_shorthash.h"

namespace fulmar::broker {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian; add byte swaps for this machine");

constexpr uint8_t kVersion = 1;

// Where things lie; see the drawing in the header.
constexpr size_t kTypeAt = 1, kFlagsAt = 2, kTopicIdAt = 4, kQueueAt = 8, kTagHashAt = 12, kOffsetAt = 16, kStoreTimeAt = 24, kBornTimeAt = 32;
constexpr size_t kSizesAt = 40;
constexpr size_t kParts = 7;
constexpr uint16_t kHasDedupKey = 1, kHasGroup = 2;
constexpr size_t kMessageHeaderBytes = kSizesAt + kParts * sizeof(uint32_t);

template <class T>
T Load(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
template <class T>
void Store(char* bytes, size_t at, T value) {
  std::memcpy(bytes + at, &value, sizeof value);
}

template <class View>
auto PartsOf(View& message) {
  return std::array{&message.message_id, &message.tag, &message.system, &message.user, &message.body, &message.origin_topic, &message.origin_id};
}

}  // namespace

absl::StatusOr<MessageView> ParseMessageRecord(std::string_view record) {
  if (record.size() < kMessageHeaderBytes)
    return absl::DataLossError(absl::StrCat("message record of ", record.size(), " bytes is shorter than its header of ", kMessageHeaderBytes));
  if (const auto version = Load<uint8_t>(record, 0); version != kVersion)
    return absl::DataLossError(absl::StrCat("message record has version ", version, ", this program knows ", kVersion));

  MessageView message;
  message.type = Load<uint8_t>(record, kTypeAt);
  message.topic_id = Load<uint32_t>(record, kTopicIdAt);
  message.queue = Load<int32_t>(record, kQueueAt);
  message.tag_hash = Load<uint32_t>(record, kTagHashAt);
  message.offset = Load<int64_t>(record, kOffsetAt);
  message.store_time_ms = Load<int64_t>(record, kStoreTimeAt);
  message.born_time_ms = Load<int64_t>(record, kBornTimeAt);

  size_t at = kMessageHeaderBytes;
  size_t size_at = kSizesAt;
  for (std::string_view* part : PartsOf(message)) {
    const size_t size = Load<uint32_t>(record, size_at);
    if (size > record.size() - at)
      return absl::DataLossError(absl::StrCat("message record of ", record.size(), " bytes has a part of ", size, " bytes at ", at));
    *part = record.substr(at, size);
    at += size;
    size_at += sizeof(uint32_t);
  }
  const auto flags = Load<uint16_t>(record, kFlagsAt);
  if ((flags & ~(kHasDedupKey | kHasGroup)) != 0) return absl::DataLossError(absl::StrCat("message record has flags ", flags, ", which this program does not know"));
  if ((flags & kHasGroup) != 0) {
    if (record.size() - at < sizeof message.group_hash) return absl::DataLossError(absl::StrCat("message record of ", record.size(), " bytes lacks its message group"));
    message.group_hash = Load<uint64_t>(record, at);
    if (message.group_hash == 0) return absl::DataLossError("message record has a message group without a hash");
    at += sizeof message.group_hash;
  }
  if ((flags & kHasDedupKey) != 0) {
    if (record.size() - at < kDedupKeyBytes) return absl::DataLossError(absl::StrCat("message record of ", record.size(), " bytes lacks its dedup key"));
    message.dedup_key = record.substr(at, kDedupKeyBytes);
    at += kDedupKeyBytes;
  }
  if (at != record.size())
    return absl::DataLossError(absl::StrCat("message record of ", record.size(), " bytes has parts of ", at, " bytes"));
  return message;
}

std::string EncodeMessageRecord(const MessageView& message) {
  size_t bytes = kMessageHeaderBytes;
  for (const std::string_view* part : PartsOf(message)) bytes += part->size();
  if (message.group_hash != 0) bytes += sizeof message.group_hash;

  std::string record;
  record.reserve(bytes);
  record.resize(kMessageHeaderBytes);
  Store<uint8_t>(record.data(), 0, kVersion);
  Store<uint8_t>(record.data(), kTypeAt, message.type);
  Store<uint32_t>(record.data(), kTagHashAt, message.tag_hash);
  Store<int64_t>(record.data(), kBornTimeAt, message.born_time_ms);
  PlaceMessage(record, message.topic_id, message.queue, message.offset, message.store_time_ms);
  size_t size_at = kSizesAt;
  for (const std::string_view* part : PartsOf(message)) {
    Store<uint32_t>(record.data(), size_at, static_cast<uint32_t>(part->size()));
    size_at += sizeof(uint32_t);
  }
  for (const std::string_view* part : PartsOf(message)) record.append(*part);
  if (message.group_hash != 0) {
    Store<uint16_t>(record.data(), kFlagsAt, kHasGroup);
    record.resize(bytes);
    Store<uint64_t>(record.data(), bytes - sizeof message.group_hash, message.group_hash);
  }
  return record;
}

void PlaceMessage(std::string& record, uint32_t topic_id, int32_t queue, int64_t offset, int64_t store_time_ms) {
  Store<uint32_t>(record.data(), kTopicIdAt, topic_id);
  Store<int32_t>(record.data(), kQueueAt, queue);
  Store<int64_t>(record.data(), kOffsetAt, offset);
  Store<int64_t>(record.data(), kStoreTimeAt, store_time_ms);
}

void AddDedupKey(std::string& record, std::string_view key) {
  Store<uint16_t>(record.data(), kFlagsAt, static_cast<uint16_t>(Load<uint16_t>(record, kFlagsAt) | kHasDedupKey));
  record.append(key.substr(0, kDedupKeyBytes));
}

// SipHash-2-4 with a fixed key. The value decides in which queue a group lies: it can never change.
uint64_t MessageGroupHash(std::string_view message_group) {
  if (message_group.empty()) return 0;
  static constexpr unsigned char kKey[crypto_shorthash_KEYBYTES] = {'f', 'u', 'l', 'm', 'a', 'r'};
  uint64_t hash = 0;
  static_assert(sizeof hash == crypto_shorthash_BYTES);
  crypto_shorthash(reinterpret_cast<unsigned char*>(&hash), reinterpret_cast<const unsigned char*>(message_group.data()),
                   message_group.size(), kKey);
  return hash == 0 ? 1 : hash;
}

// FNV-1a. The value is stored in every record and index entry: it can never change.
uint32_t TagHash(std::string_view tag) {
  if (tag.empty()) return 0;
  uint32_t hash = 2166136261u;
  for (const char c : tag) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash == 0 ? 1 : hash;
}

}  // namespace fulmar::broker
