#ifndef FULMAR_INDEX_KEY_INDEX_H_
#define FULMAR_INDEX_KEY_INDEX_H_

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/ids.h"
#include "services/index/kv_store.h"

namespace fulmar::index {

// Finds records by a hash (of a message id, of a key) without an index row per record: what a *block* of the log holds is written together,
// split by the hash, so that a search for one hash reads one small value per block.
//
//   bytes of the key                            value
//   'm' 'b' | bucket u8 | block u64             items of a closed block whose hash begins with the bits of `bucket`, in log order
//   'm' 'o' | position u64                      of the open block, one row per entry of the log (at its first item): time of the entry i64 ms | items
//   'm' 't' | block u64                         of a closed block: time of its last entry with items i64 ms
//   item: hash u32 | position of the record - begin of the block u32 | length u32 (bit 31: tag of the caller)
//
// Block n begins at position n * block_bytes. It is closed by the first item of a later one. All of it follows from the log alone, so an index
// that is built again has the same bytes.
// A hash may lie: the reader of a hit checks the record.
//
// Owns:    the items of the open block in memory (at most block_bytes / 3 of them; usual: 10,000). Borrows: the store.
// Threads: one writer (the shard); Find() is static and runs anywhere.
// Crash:   the open block's rows are part of the batches that apply the log, so Load() needs no log.
class KeyIndex {
 public:
  static constexpr int64_t kBlockBytes = 8 << 20;
  static constexpr int kBucketBits = 7;

  // `block_bytes` is part of the format; other values are for tests.
  explicit KeyIndex(const KvStore& kv, int64_t block_bytes = kBlockBytes) : kv_(kv), block_bytes_(block_bytes) {}
  absl::Status Load();

  // Of the log's entry that is being applied; positions ascend.
  void Add(uint32_t hash, LogPosition record, uint32_t length, bool tagged) { pending_.push_back({hash, record, length | (tagged ? kTag : 0)}); }
  // Closes the batch that applies the entry. `time_ms` never goes back inside a log.
  void EndEntry(int64_t time_ms, KvBatch& batch);
  // Forgets what lies below `begin`, where an entry begins.
  void Trim(LogPosition begin, KvBatch& batch);

  struct Hit {
    LogPosition position;
    uint32_t length = 0;
    bool tagged = false;
    friend bool operator==(const Hit&, const Hit&) = default;
  };
  struct Query {
    uint32_t hash = 0;
    LogPosition below{std::numeric_limits<int64_t>::max()};  // positions from here on are not looked at
    int64_t from_ms = std::numeric_limits<int64_t>::min();   // entries that were laid out before it are left out, as far as
    int64_t to_ms = std::numeric_limits<int64_t>::max();     // whole blocks tell; those behind it, too
    size_t max_hits = 64;
    size_t max_blocks = 4096;  // what one call looks at
  };
  struct Page {
    std::vector<Hit> hits;      // the newest first
    LogPosition below;          // where the next call goes on
    bool finished = false;      // nothing is left below
  };
  // Errors: DataLoss (damage).
  static absl::StatusOr<Page> Find(const KvStore& kv, const Query& query, int64_t block_bytes = kBlockBytes);

 private:
  static constexpr uint32_t kTag = 1u << 31;
  struct Pending {
    uint32_t hash;
    LogPosition record;
    uint32_t length;
  };
  struct Item {
    uint32_t hash, offset, length;
  };
  static void Write(const Item& item, std::string& out);
  static absl::Status Read(std::string_view bytes, std::vector<Item>& out);
  void Close(KvBatch& batch);
  void TrimClosed(int64_t block, uint32_t below, KvBatch& batch);

  const KvStore& kv_;
  const int64_t block_bytes_;
  std::vector<Pending> pending_;
  int64_t open_block_ = -1;
  int64_t open_time_ms_ = 0;
  std::vector<Item> open_;
};

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_KEY_INDEX_H_
