#ifndef FULMAR_BROKER_RECEIPT_HANDLE_H_
#define FULMAR_BROKER_RECEIPT_HANDLE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "services/common/ids.h"

namespace fulmar::broker {

// What a consumer gets with a message and gives back to end it. Text: URL-safe base64 without padding of
//
//   u8 version=1 | u8 key id | u8 shard bytes | shard | u32 topic_id | u32 queue | i64 offset | u32 attempt | u64 term | u32 serial | 16 bytes tag
//
// all little-endian. The tag is SipHash-2-4-128 (libsodium's siphashx24), keyed, over everything before it and over the names of the
// group and the topic, so that a handle works for nobody else's group. A front door reads only the shard (ShardOfHandle).
struct ReceiptHandle {
  std::string_view shard;  // decoded: borrowed from the scratch buffer
  uint32_t topic_id = 0;
  int32_t queue = 0;
  int64_t offset = 0;
  int32_t attempt = 0;
  Term term;
  uint32_t serial = 0;  // of this delivery inside its term
};

struct HandleKey {
  uint8_t id = 0;
  std::array<unsigned char, 16> secret{};
};

std::string EncodeHandle(const ReceiptHandle& handle, const HandleKey& key, std::string_view group, std::string_view topic);

// Raw bytes of a decoded handle that need no allocation; keep it as long as the views into it.
struct HandleBytes {
  std::array<char, 320> bytes;
  size_t size = 0;
};
// The fields without looking at the tag. Errors: InvalidReceiptHandle for whatever EncodeHandle() cannot have made.
absl::StatusOr<ReceiptHandle> ParseHandle(std::string_view text, HandleBytes& scratch);
// The key id of parsed bytes, and whether their tag is right for these names.
uint8_t KeyIdOfHandle(const HandleBytes& parsed);
bool VerifyHandle(const HandleBytes& parsed, const HandleKey& key, std::string_view group, std::string_view topic);

// The name of the shard that made `text`; for routing only, nothing is verified. Errors: InvalidReceiptHandle.
absl::StatusOr<std::string> ShardOfHandle(std::string_view text);

inline constexpr size_t kMaxShardNameBytes = 200;

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_RECEIPT_HANDLE_H_
