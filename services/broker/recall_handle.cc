#include "services/broker/recall_handle.h"

#include <sodium.h>

#include "absl/strings/escaping.h"
#include "services/common/status.h"
#include "services/index/codec.h"

namespace fulmar::broker {
namespace {

constexpr uint8_t kVersion = 2;
constexpr size_t kTagBytes = 16;
constexpr size_t kMaxTextBytes = 4096;  // message ids have at most 1 KiB

std::string TagOf(std::string_view covered, const HandleKey& key, std::string_view topic) {
  static_assert(crypto_shorthash_siphashx24_BYTES == kTagBytes);
  std::string input(covered);
  index::ByteWriter writer(input);
  writer.U32(static_cast<uint32_t>(covered.size()));
  input.append(topic);
  std::string tag(kTagBytes, '\0');
  crypto_shorthash_siphashx24(reinterpret_cast<unsigned char*>(tag.data()), reinterpret_cast<const unsigned char*>(input.data()), input.size(),
                              key.secret.data());
  return tag;
}

}  // namespace

std::string EncodeRecallHandle(const RecallHandle& handle, const HandleKey& key, std::string_view topic) {
  FULMAR_CHECK(handle.shard.size() <= kMaxShardNameBytes);
  std::string bytes;
  index::ByteWriter writer(bytes);
  writer.U8(kVersion);
  writer.U8(key.id);
  writer.U8(static_cast<uint8_t>(handle.shard.size()));
  bytes.append(handle.shard);
  writer.U8(static_cast<uint8_t>(handle.kind));
  writer.I64(handle.id);
  bytes.append(handle.message_id);
  bytes.append(TagOf(bytes, key, topic));
  return absl::WebSafeBase64Escape(bytes);
}

std::optional<ParsedRecallHandle> ParseRecallHandle(std::string_view text) {
  std::string bytes;
  if (text.size() > kMaxTextBytes || !absl::WebSafeBase64Unescape(text, &bytes) || bytes.size() < kTagBytes) return std::nullopt;
  if (absl::WebSafeBase64Escape(bytes) != text) return std::nullopt;  // one text for each handle
  ParsedRecallHandle parsed;
  parsed.covered = bytes.substr(0, bytes.size() - kTagBytes);
  parsed.tag = bytes.substr(parsed.covered.size());
  index::ByteReader reader(parsed.covered);
  const uint8_t version = reader.U8();
  parsed.key_id = reader.U8();
  const size_t shard_bytes = reader.U8();
  if (!reader.ok() || version != kVersion || shard_bytes > kMaxShardNameBytes || reader.rest().size() < shard_bytes) return std::nullopt;
  parsed.handle.shard = std::string(reader.rest().substr(0, shard_bytes));
  index::ByteReader rest(reader.rest().substr(shard_bytes));
  parsed.handle.kind = static_cast<HeldKind>(rest.U8());
  parsed.handle.id = rest.I64();
  if (!rest.ok() || parsed.handle.id <= 0) return std::nullopt;
  if (parsed.handle.kind != HeldKind::kTimed && parsed.handle.kind != HeldKind::kHalf) return std::nullopt;
  parsed.handle.message_id = std::string(rest.rest());
  return parsed;
}

bool VerifyRecallHandle(const ParsedRecallHandle& parsed, const HandleKey& key, std::string_view topic) {
  const std::string tag = TagOf(parsed.covered, key, topic);
  return parsed.tag.size() == kTagBytes && sodium_memcmp(tag.data(), parsed.tag.data(), kTagBytes) == 0;
}

}  // namespace fulmar::broker
