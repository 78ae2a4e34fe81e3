#include "services/log/append_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "services/common/status.h"

namespace fulmar::log {
namespace {

void Grow(Batch& batch, uint64_t wanted, uint64_t usual) {
  if (wanted <= batch.capacity) return;
  const uint64_t capacity = std::max({wanted, usual, uint64_t{batch.capacity} * 2});
  FULMAR_CHECK(capacity <= UINT32_MAX);
  std::shared_ptr<char[]> larger = std::make_shared_for_overwrite<char[]>(capacity);
  if (batch.payload_bytes > 0) std::memcpy(larger.get(), batch.payload.get(), batch.payload_bytes);
  batch.payload = std::move(larger);
  batch.capacity = static_cast<uint32_t>(capacity);
}

}  // namespace

Entry Batch::ToEntry(int64_t time_ms) const {
  return {.index = index,
          .term = term,
          .kind = EntryKind::kRecords,
          .record_count = static_cast<uint32_t>(waiters.size()),
          .time_ms = time_ms,
          .begin = begin,
          .payload = payload,
          .payload_bytes = payload_bytes,
          .memory_bytes = capacity};
}

RecordPlace Batch::PlaceOf(const Waiter& waiter) const {
  const int64_t position = begin.value + static_cast<int64_t>(kFrameHeaderBytes) + waiter.offset;
  return {.index = index, .term = term, .position = {position}, .length = waiter.body_bytes};
}

void Batch::AnswerEarly() {
  if (!wants_early) return;
  for (Waiter& waiter : waiters)
    if (waiter.durability == Durability::kAsync && waiter.done) std::exchange(waiter.done, nullptr)(PlaceOf(waiter));
}

void Batch::AnswerAll() {
  for (Waiter& waiter : waiters)
    if (waiter.done) std::exchange(waiter.done, nullptr)(PlaceOf(waiter));
}

void Batch::FailAll(const absl::Status& why) {
  for (Waiter& waiter : waiters)
    if (waiter.done) std::exchange(waiter.done, nullptr)(why);
}

Batch& AppendQueue::BatchFor(uint64_t record_bytes) {
  if (batches_.empty() || batches_.back().payload_bytes + record_bytes > max_batch_bytes_) {
    batches_.emplace_back();
    batches_.back().waiters = std::exchange(reusable_, {});
  }
  return batches_.back();
}

void AppendQueue::Add(RecordType type, std::string_view body, Durability durability,
                      ReplicatedLog::AppendDone done) {
  const uint64_t record_bytes = kRecordHeaderBytes + body.size();
  Batch& batch = BatchFor(record_bytes);
  Grow(batch, batch.payload_bytes + record_bytes, usual_bytes_);
  char* const out = batch.payload.get() + batch.payload_bytes;
  PutRecordHeader(out, type, static_cast<uint32_t>(body.size()));
  if (!body.empty()) std::memcpy(out + kRecordHeaderBytes, body.data(), body.size());
  batch.waiters.push_back({std::move(done), batch.payload_bytes, static_cast<uint32_t>(body.size()), durability});
  batch.payload_bytes += static_cast<uint32_t>(record_bytes);
  (durability == Durability::kSync ? batch.wants_sync : batch.wants_early) = true;
  bytes_ += record_bytes;
}

Batch AppendQueue::TakeFront() {
  Batch batch = std::move(batches_.front());
  batches_.pop_front();
  bytes_ -= batch.payload_bytes;
  // Follows growth at once and forgets it slowly; a quarter on top so that a slightly larger one still fits.
  const uint32_t generous = batch.payload_bytes + batch.payload_bytes / 4;
  usual_bytes_ = std::clamp<uint32_t>(std::max(generous, usual_bytes_ - usual_bytes_ / 8), 1024,
                                      static_cast<uint32_t>(std::min<uint64_t>(max_batch_bytes_, 1 << 30)));
  return batch;
}

std::deque<Batch> AppendQueue::TakeAll() {
  bytes_ = 0;
  return std::exchange(batches_, {});
}

void AppendQueue::Reuse(std::vector<Waiter> waiters) {
  waiters.clear();
  if (reusable_.capacity() < waiters.capacity()) reusable_ = std::move(waiters);
}

}  // namespace fulmar::log
