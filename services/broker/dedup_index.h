#ifndef FULMAR_BROKER_DEDUP_INDEX_H_
#define FULMAR_BROKER_DEDUP_INDEX_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "services/common/ids.h"
#include "services/index/kv_store.h"

namespace fulmar::broker {

// Names a message among those of its topic: a hash of client id, message id and body digest (dedup.h makes it).
using DedupKey = std::array<uint8_t, 16>;

// Where a message lies that was sent to a topic with a dedup window.
struct DedupEntry {
  uint32_t topic_id = 0;
  DedupKey key{};
  int32_t queue = 0;
  int64_t offset = 0;
  int64_t store_time_ms = 0;
  LogPosition position;  // of the newest record that says so: the message's, or a later kDedupEntries
  friend bool operator==(const DedupEntry&, const DedupEntry&) = default;
};

// The entries of all windows of one shard, in its index; so that they cost no memory. All are a function of the log, but for what was
// expired. An entry may outlive its window: who finds it looks at its time.
//
//   'd' 'k' topic_id u32 | key (16 bytes)                   position u64 | queue u32 | offset i64 | store time i64 ms
//   'd' 'p' position u64 | topic_id u32 | key (16 bytes)    nothing; what lies in which segment. Void when 'd' 'k' names another position
class DedupIndex {
 public:
  explicit DedupIndex(const index::KvStore& kv) : kv_(kv) {}

  static void Put(index::KvBatch& batch, const DedupEntry& entry);
  std::optional<DedupEntry> Find(uint32_t topic_id, const DedupKey& key) const;
  // At most `max` whose newest record lies below `position`, and which `wanted` takes; in the order of the log.
  std::vector<DedupEntry> Below(LogPosition position, size_t max, absl::FunctionRef<bool(const DedupEntry&)> wanted) const;

  // Removes from the next `slice` rows those that `is_over` names and those that are void. The walk begins anew at the end.
  // False: there is not one row.
  bool Expire(size_t slice, absl::FunctionRef<bool(const DedupEntry&)> is_over, index::KvBatch& batch);

 private:
  const index::KvStore& kv_;
  std::string walk_;  // where Expire() goes on
};

// Body of a record of type kDedupEntries (log/record.h): version u8 (1) | count varint | entries without their position. Decode: DataLoss.
std::string EncodeDedupEntries(const std::vector<DedupEntry>& entries);
absl::StatusOr<std::vector<DedupEntry>> DecodeDedupEntries(std::string_view body, LogPosition position);

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_DEDUP_INDEX_H_
