#ifndef FULMAR_OFFSET_LEDGER_RECORDS_H_
#define FULMAR_OFFSET_LEDGER_RECORDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/index/kv_store.h"
#include "services/log/replicated_log.h"

namespace fulmar::offset {

// One key of one group, in the ledger's record and in its index.
//   version u8 = 1 | state u8 | token u64 | lease until i64 ms | completed i64 ms | expires i64 ms | group | key | holder | result   (strings)
struct LedgerEntry {
  enum class State : uint8_t { kBegun = 1, kCompleted = 2 };
  State state = State::kBegun;
  std::string group, key;
  uint64_t token = 0;          // in a record 0: the record's own position + 1
  int64_t lease_until_ms = 0;  // of a begun one; wall clock
  int64_t completed_ms = 0;
  int64_t expires_ms = 0;      // then it counts as never begun
  std::string holder;
  std::string result;          // of a completed one
  friend bool operator==(const LedgerEntry&, const LedgerEntry&) = default;
};
std::string Encode(const LedgerEntry& entry);
absl::StatusOr<LedgerEntry> DecodeLedgerEntry(std::string_view bytes);

// Entries that are gone, if they are still the ones named: version u8 = 1 | count varint | for each: token u64 | expires i64 ms | group | key
struct LedgerRemoval {
  struct Item {
    std::string group, key;
    uint64_t token = 0;
    int64_t expires_ms = 0;
  };
  std::vector<Item> items;
};
std::string Encode(const LedgerRemoval& removal);
absl::StatusOr<LedgerRemoval> DecodeLedgerRemoval(std::string_view bytes);

// Keys of the index:
//   'L' group 0 key                      stored: LedgerEntry
//   'E' expires i64 ms | group 0 key     stored: nothing; in the order in which they end
inline constexpr char kLedgerKind = 'L';
inline constexpr char kLedgerEndKind = 'E';
std::string LedgerKey(std::string_view group, std::string_view key);
std::string LedgerEndKey(int64_t expires_ms, std::string_view group, std::string_view key);
struct LedgerEnd {
  int64_t expires_ms = 0;
  std::string group, key;
};
absl::StatusOr<LedgerEnd> DecodeLedgerEndKey(std::string_view key);

// Applies the ledger's records of one entry of the log to its batch. What the entry has changed so far counts.
class LedgerApply {
 public:
  explicit LedgerApply(const index::KvStore& kv) : kv_(kv) {}
  // DataLoss: the record or the index is damaged.
  absl::Status Entry(std::string_view body, LogPosition position, index::KvBatch& batch);
  absl::Status Removal(std::string_view body, index::KvBatch& batch);
  // The batch is written: the store knows now what the entry changed.
  void Written() { changed_.clear(); }

 private:
  absl::StatusOr<std::optional<LedgerEntry>> Find(const std::string& key) const;
  const index::KvStore& kv_;
  absl::btree_map<std::string, std::optional<LedgerEntry>> changed_;  // by LedgerKey()
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_LEDGER_RECORDS_H_
