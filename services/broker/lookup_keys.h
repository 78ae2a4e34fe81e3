#ifndef FULMAR_BROKER_LOOKUP_KEYS_H_
#define FULMAR_BROKER_LOOKUP_KEYS_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "services/broker/message_record.h"
#include "services/index/key_index.h"

// Under what a message is found again: its id and its keys, each within its topic.
namespace fulmar::broker {

enum class LookupKind : uint8_t { kMessageId = 1, kKey = 2 };

// SipHash-2-4 under a fixed key. The value is stored in the index: it can never change.
uint32_t LookupHash(LookupKind kind, uint32_t topic_id, std::string_view text);

void ForEachKey(const MessageView& message, absl::FunctionRef<void(std::string_view)> visit);
bool HasKey(const MessageView& message, std::string_view key);

// Adds what a record says of `message` to the entry that is being applied. `held`: the message lies inside of a held message's record.
void AddLookups(index::KeyIndex& keys, const MessageView& message, LogPosition record, uint32_t length, bool held);

// When the client made the id, as the official clients write it: "01", 6 bytes of MAC address, 2 of process, seconds since 2021-01-01 UTC,
// counter, in hexadecimal digits. Nothing for ids of another form.
std::optional<absl::Time> TimeOfMessageId(std::string_view id);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_LOOKUP_KEYS_H_
