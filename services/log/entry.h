#ifndef FULMAR_LOG_ENTRY_H_
#define FULMAR_LOG_ENTRY_H_

#include <cstdint>
#include <memory>
#include <string_view>

#include "services/common/bytes.h"
#include "services/common/ids.h"
#include "services/log/frame.h"

namespace fulmar::log {

// One Raft entry with its payload in memory. The payload is shared by the cache, the records handed to the state machine
// and bodies on their way to consumers; nobody changes it once the writer has sealed it.
struct Entry {
  LogIndex index;
  Term term;
  EntryKind kind = EntryKind::kRecords;
  uint32_t record_count = 0;
  int64_t time_ms = 0;
  LogPosition begin;  // of its frame header
  std::shared_ptr<char[]> payload;
  uint32_t payload_bytes = 0;
  bool sealed = false;  // the checksums of its records are filled in
  uint32_t memory_bytes = 0;  // what `payload` really takes

  LogPosition payload_begin() const { return {begin.value + static_cast<int64_t>(kFrameHeaderBytes)}; }
  LogPosition end() const { return {payload_begin().value + static_cast<int64_t>(payload_bytes)}; }
  std::string_view payload_view() const { return {payload.get(), payload_bytes}; }
  common::SharedBytes Share(std::string_view part) const { return {payload, part}; }
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_ENTRY_H_
