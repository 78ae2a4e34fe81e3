#include "services/broker/lookup_keys.h"

#include <sodium/crypto_shorthash.h>

#include "services/broker/wire_reader.h"

namespace fulmar::broker {
namespace {

constexpr uint32_t kKeysField = 2;  // of SystemProperties

}  // namespace

uint32_t LookupHash(LookupKind kind, uint32_t topic_id, std::string_view text) {
  // Kind and topic take the place of a secret: it is the spread that counts here, and what is found is checked.
  unsigned char key[crypto_shorthash_KEYBYTES] = {'f', 'u', 'l', 'm', 'a', 'r', 'k', 'e', 'y', 's', '1', static_cast<unsigned char>(kind)};
  for (int i = 0; i < 4; ++i) key[12 + i] = static_cast<unsigned char>(topic_id >> (8 * i));
  unsigned char out[crypto_shorthash_BYTES];
  crypto_shorthash(out, reinterpret_cast<const unsigned char*>(text.data()), text.size(), key);
  uint32_t hash = 0;
  for (int i = 0; i < 4; ++i) hash |= static_cast<uint32_t>(out[i]) << (8 * i);
  return hash;
}

void ForEachKey(const MessageView& message, absl::FunctionRef<void(std::string_view)> visit) {
  for (wire::Reader in(message.system); in.Next();) {
    if (in.field() == kKeysField && in.Is(wire::WireType::kBytes)) visit(in.bytes());
  }
}

bool HasKey(const MessageView& message, std::string_view key) {
  bool found = false;
  ForEachKey(message, [&](std::string_view one) { found = found || one == key; });
  return found;
}

void AddLookups(index::KeyIndex& keys, const MessageView& message, LogPosition record, uint32_t length, bool held) {
  keys.Add(LookupHash(LookupKind::kMessageId, message.topic_id, message.message_id), record, length, held);
  ForEachKey(message, [&](std::string_view key) { keys.Add(LookupHash(LookupKind::kKey, message.topic_id, key), record, length, held); });
}

std::optional<absl::Time> TimeOfMessageId(std::string_view id) {
  constexpr int64_t k2021 = 1609459200;
  if (id.size() != 34 || !id.starts_with("01")) return std::nullopt;
  int64_t seconds = 0;
  for (size_t i = 2; i < id.size(); ++i) {
    const char c = id[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return std::nullopt;
    if (i >= 18 && i < 26) seconds = seconds * 16 + digit;
  }
  return absl::FromUnixSeconds(k2021 + seconds);
}

}  // namespace fulmar::broker
