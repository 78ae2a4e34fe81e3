#ifndef FULMAR_LOG_APPEND_QUEUE_H_
#define FULMAR_LOG_APPEND_QUEUE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "services/common/ids.h"
#include "services/log/entry.h"
#include "services/log/record.h"
#include "services/log/replicated_log.h"

namespace fulmar::log {

// Somebody who waits for one record of a batch.
struct Waiter {
  ReplicatedLog::AppendDone done;  // empty when it was answered
  uint32_t offset = 0;             // of the record in the payload
  uint32_t body_bytes = 0;
  Durability durability = Durability::kSync;
};

// The records of one entry to come, already laid out as its payload (checksums excepted), and who waits for them.
struct Batch {
  std::shared_ptr<char[]> payload;
  uint32_t payload_bytes = 0;
  uint32_t capacity = 0;
  std::vector<Waiter> waiters;  // one per record
  bool wants_sync = false;      // holds a kSync record
  bool wants_early = false;     // holds a kAsync record

  // Set when it was proposed.
  LogIndex index;
  Term term;
  LogPosition begin;  // of its frame

  Entry ToEntry(int64_t time_ms) const;
  RecordPlace PlaceOf(const Waiter& waiter) const;
  // Answers those that wait for no more than this. Callbacks may append.
  void AnswerEarly();
  void AnswerAll();
  // Callbacks run now, and may append.
  void FailAll(const absl::Status& why);
};

// The records that wait to become an entry. A record is copied once, into the payload of the entry that it will be part of.
// Threads: one (the shard's).
class AppendQueue {
 public:
  explicit AppendQueue(int64_t max_batch_bytes) : max_batch_bytes_(static_cast<uint64_t>(max_batch_bytes)) {}

  void Add(RecordType type, std::string_view body, Durability durability, ReplicatedLog::AppendDone done);
  bool empty() const { return batches_.empty(); }
  const Batch& front() const { return batches_.front(); }
  Batch TakeFront();
  std::deque<Batch> TakeAll();
  // Payload bytes that wait.
  uint64_t bytes() const { return bytes_; }
  // Gives the memory of an answered batch's waiter list back for the next one.
  void Reuse(std::vector<Waiter> waiters);

 private:
  Batch& BatchFor(uint64_t record_bytes);

  const uint64_t max_batch_bytes_;
  std::deque<Batch> batches_;
  uint64_t bytes_ = 0;
  uint32_t usual_bytes_ = 4096;  // what a batch came to lately: the first guess of the next one's capacity
  std::vector<Waiter> reusable_;
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_APPEND_QUEUE_H_
