#ifndef FULMAR_BROKER_HELD_RECORDS_H_
#define FULMAR_BROKER_HELD_RECORDS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

// Bodies of the records of held messages. Numbers are little-endian; decoding gives DataLoss on damage.
//
//   kHeldMessage   u8 version=1 | u8 kind | u8 flags (1 released, 2 parked) | u8 0 | u32 checks | i64 id | i64 due ms | message record
//   kHeldReleased  u8 version=1 | u8 kind | u32 topic_id | u32 queue | u32 tag hash | u32 message bytes | i64 id | i64 offset | i64 store time ms
//   kHeldDropped   u8 version=1 | u8 kind | u8 reason | u32 topic_id | i64 id
//   kHeldUpdated   u8 version=1 | u8 flags (2 parked) | u32 checks | i64 id | i64 due ms
//
// The id of a held message is the position of its first record, which says 0 there: it does not know it yet. Retention appends a copy with
// the id before it removes the segment of a body that is still needed; the copy says all that became of the message until then.
namespace fulmar::broker {

// Numbers are on disk.
enum class HeldKind : uint8_t { kTimed = 1, kHalf = 2 };
enum class DropReason : uint8_t { kRecalled = 1, kRolledBack = 2, kTopicDeleted = 3 };

inline constexpr size_t kHeldHeaderBytes = 24;

struct HeldMessageRecord {
  HeldKind kind = HeldKind::kTimed;
  bool released = false;  // copies only: its place is given, only the body is still needed
  bool parked = false;    // half messages: no more checks
  uint32_t checks = 0;    // half messages: really asked so far
  int64_t id = 0;
  int64_t due_ms = 0;     // timers: delivery time; half messages: next check (parked: when it was parked)
  std::string_view message;  // EncodeMessageRecord(); placed with its topic and the time of its send, no queue
};
std::string EncodeHeldMessage(const HeldMessageRecord& record);
absl::StatusOr<HeldMessageRecord> DecodeHeldMessage(std::string_view body);

struct HeldReleased {
  HeldKind kind = HeldKind::kTimed;
  uint32_t topic_id = 0;
  int32_t queue = 0;
  uint32_t tag_hash = 0;
  uint32_t message_bytes = 0;  // of the message record
  int64_t id = 0;
  int64_t offset = 0;
  int64_t store_time_ms = 0;
};
std::string EncodeHeldReleased(const HeldReleased& released);
absl::StatusOr<HeldReleased> DecodeHeldReleased(std::string_view body);

struct HeldDropped {
  HeldKind kind = HeldKind::kTimed;
  DropReason reason = DropReason::kRecalled;
  uint32_t topic_id = 0;
  int64_t id = 0;
};
std::string EncodeHeldDropped(const HeldDropped& dropped);
absl::StatusOr<HeldDropped> DecodeHeldDropped(std::string_view body);

struct HeldUpdated {
  bool parked = false;
  uint32_t checks = 0;
  int64_t id = 0;
  int64_t due_ms = 0;
};
std::string EncodeHeldUpdated(const HeldUpdated& updated);
absl::StatusOr<HeldUpdated> DecodeHeldUpdated(std::string_view body);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_HELD_RECORDS_H_
