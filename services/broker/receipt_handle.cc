#include "services/broker/receipt_handle.h"

#include <sodium.h>

#include <cstring>
#include <utility>

#include "services/common/errors.h"
#include "services/common/status.h"

namespace fulmar::broker {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kTagBytes = 16;
constexpr size_t kNumberBytes = 4 + 4 + 8 + 4 + 8 + 4;
constexpr size_t kPrefixBytes = 3;

template <class T>
char* Put(char* out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) *out++ = static_cast<char>(static_cast<uint64_t>(value) >> (8 * i));
  return out;
}

template <class T>
const char* Get(const char* in, T& value) {
  uint64_t bits = 0;
  for (size_t i = 0; i < sizeof(T); ++i) bits |= static_cast<uint64_t>(static_cast<unsigned char>(*in++)) << (8 * i);
  value = static_cast<T>(bits);
  return in;
}

// The names follow the covered bytes, each behind its length, so that no two pairs of names give the same input.
void Tag(std::string_view covered, const HandleKey& key, std::string_view group, std::string_view topic,
         unsigned char* out) {
  static_assert(crypto_shorthash_siphashx24_BYTES == kTagBytes);
  static_assert(crypto_shorthash_siphashx24_KEYBYTES == std::tuple_size_v<decltype(HandleKey::secret)>);
  std::array<unsigned char, 1024> small;
  const size_t size = covered.size() + 8 + group.size() + topic.size();
  std::string large;
  unsigned char* input = small.data();
  if (size > small.size()) {
    large.resize(size);
    input = reinterpret_cast<unsigned char*>(large.data());
  }
  char* at = reinterpret_cast<char*>(input);
  std::memcpy(at, covered.data(), covered.size());
  at = Put(at + covered.size(), static_cast<uint32_t>(group.size()));
  std::memcpy(at, group.data(), group.size());
  at = Put(at + group.size(), static_cast<uint32_t>(topic.size()));
  std::memcpy(at, topic.data(), topic.size());
  crypto_shorthash_siphashx24(out, input, size, key.secret.data());
}

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string ToText(std::string_view bytes) {
  std::string text;
  text.resize((bytes.size() * 4 + 2) / 3);
  size_t out = 0;
  size_t i = 0;
  const auto* in = reinterpret_cast<const unsigned char*>(bytes.data());
  for (; i + 3 <= bytes.size(); i += 3) {
    const uint32_t v = (in[i] << 16) | (in[i + 1] << 8) | in[i + 2];
    text[out++] = kAlphabet[v >> 18];
    text[out++] = kAlphabet[(v >> 12) & 63];
    text[out++] = kAlphabet[(v >> 6) & 63];
    text[out++] = kAlphabet[v & 63];
  }
  if (const size_t rest = bytes.size() - i; rest != 0) {
    const uint32_t v = (in[i] << 16) | (rest == 2 ? in[i + 1] << 8 : 0);
    text[out++] = kAlphabet[v >> 18];
    text[out++] = kAlphabet[(v >> 12) & 63];
    if (rest == 2) text[out++] = kAlphabet[(v >> 6) & 63];
  }
  return text;
}

constexpr std::array<int8_t, 256> MakeReverse() {
  std::array<int8_t, 256> table{};
  for (auto& entry : table) entry = -1;
  for (size_t i = 0; i < kAlphabet.size(); ++i) table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  return table;
}
constexpr std::array<int8_t, 256> kReverse = MakeReverse();

// One text for each sequence of bytes: padding and spare bits that are not zero are refused.
bool FromText(std::string_view text, HandleBytes& out) {
  if (text.size() % 4 == 1 || text.size() / 4 * 3 + 2 > out.bytes.size()) return false;
  out.size = 0;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const int8_t value = kReverse[static_cast<unsigned char>(c)];
    if (value < 0) return false;
    bits = (bits << 6) | static_cast<uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      out.bytes[out.size++] = static_cast<char>(bits >> held);
      bits &= (1u << held) - 1;
    }
  }
  return bits == 0;
}

absl::Status Refuse(std::string_view why) {
  return errors::InvalidReceiptHandle(std::string("INVALID_RECEIPT_HANDLE: ").append(why));
}

}  // namespace

std::string EncodeHandle(const ReceiptHandle& handle, const HandleKey& key, std::string_view group,
                         std::string_view topic) {
  FULMAR_CHECK(handle.shard.size() <= kMaxShardNameBytes);
  std::array<char, kPrefixBytes + kMaxShardNameBytes + kNumberBytes + kTagBytes> bytes;
  char* at = Put(bytes.data(), kVersion);
  at = Put(at, key.id);
  at = Put(at, static_cast<uint8_t>(handle.shard.size()));
  std::memcpy(at, handle.shard.data(), handle.shard.size());
  at = Put(at + handle.shard.size(), handle.topic_id);
  at = Put(at, handle.queue);
  at = Put(at, handle.offset);
  at = Put(at, handle.attempt);
  at = Put(at, handle.term.value);
  at = Put(at, handle.serial);
  Tag({bytes.data(), static_cast<size_t>(at - bytes.data())}, key, group, topic, reinterpret_cast<unsigned char*>(at));
  return ToText({bytes.data(), static_cast<size_t>(at + kTagBytes - bytes.data())});
}

absl::StatusOr<ReceiptHandle> ParseHandle(std::string_view text, HandleBytes& scratch) {
  if (!FromText(text, scratch)) return Refuse("it is not a handle of this system");
  if (scratch.size < kPrefixBytes + kNumberBytes + kTagBytes || static_cast<uint8_t>(scratch.bytes[0]) != kVersion) {
    return Refuse("it is not a handle of this system");
  }
  const size_t shard_bytes = static_cast<unsigned char>(scratch.bytes[2]);
  if (scratch.size != kPrefixBytes + shard_bytes + kNumberBytes + kTagBytes || shard_bytes > kMaxShardNameBytes) {
    return Refuse("its length is wrong");
  }
  ReceiptHandle handle;
  handle.shard = {scratch.bytes.data() + kPrefixBytes, shard_bytes};
  const char* at = scratch.bytes.data() + kPrefixBytes + shard_bytes;
  at = Get(at, handle.topic_id);
  at = Get(at, handle.queue);
  at = Get(at, handle.offset);
  at = Get(at, handle.attempt);
  at = Get(at, handle.term.value);
  Get(at, handle.serial);
  return handle;
}

uint8_t KeyIdOfHandle(const HandleBytes& parsed) { return static_cast<uint8_t>(parsed.bytes[1]); }

bool VerifyHandle(const HandleBytes& parsed, const HandleKey& key, std::string_view group, std::string_view topic) {
  if (parsed.size < kTagBytes) return false;
  const std::string_view covered(parsed.bytes.data(), parsed.size - kTagBytes);
  std::array<unsigned char, kTagBytes> tag;
  Tag(covered, key, group, topic, tag.data());
  return sodium_memcmp(tag.data(), parsed.bytes.data() + covered.size(), kTagBytes) == 0;
}

absl::StatusOr<std::string> ShardOfHandle(std::string_view text) {
  HandleBytes scratch;
  absl::StatusOr<ReceiptHandle> handle = ParseHandle(text, scratch);
  if (!handle.ok()) return std::move(handle).status();
  return std::string(handle->shard);
}

}  // namespace fulmar::broker
