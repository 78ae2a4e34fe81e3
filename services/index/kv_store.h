#ifndef FULMAR_INDEX_KV_STORE_H_
#define FULMAR_INDEX_KV_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fulmar::index {

// Changes that become visible together and, after a crash, are there together or not at all.
class KvBatch {
 public:
  void Put(std::string_view key, std::string_view value) { ops_.push_back({Op::kPut, std::string(key), std::string(value)}); }
  void Delete(std::string_view key) { ops_.push_back({Op::kDelete, std::string(key), {}}); }
  void DeleteRange(std::string_view begin, std::string_view end) { ops_.push_back({Op::kDeleteRange, std::string(begin), std::string(end)}); }
  bool empty() const { return ops_.empty(); }
  void Clear() { ops_.clear(); }
  struct Op { enum Kind : uint8_t { kPut, kDelete, kDeleteRange } kind; std::string key, value; };
  const std::vector<Op>& ops() const { return ops_; }
 private:
  std::vector<Op> ops_;
};

// An ordered map that is a view of a log: no write-ahead log of its own, what was not flushed is lost in a crash and applied again
// from the log. Real: RocksKv (RocksDB). Simulated: MemKv (keeps only flushed state over Crash()).
// Threads: one writer (the shard); reads from any thread.
class KvStore {
 public:
  virtual ~KvStore() = default;

  // Never fails: while the disk refuses (full), the batch is kept in memory, visible to reads, and retried in the background.
  virtual void Write(const KvBatch& batch) = 0;

  // True: so much waits in memory that nothing which can be refused should be written; it goes by itself. Cheap.
  virtual bool crowded() const { return false; }

  // Nothing when the key is not there; damage is answered so too, and makes the store unhealthy for good (Stats).
  virtual std::optional<std::string> Get(std::string_view key) const = 0;

  class Iterator {
   public:
    virtual ~Iterator() = default;
    virtual void Seek(std::string_view key) = 0;
    virtual bool Valid() const = 0;
    virtual void Next() = 0;
    virtual std::string_view key() const = 0;
    virtual std::string_view value() const = 0;
    // Not OK: the walk ended early, on damage. Ask when Valid() became false and completeness matters.
    virtual absl::Status status() const { return absl::OkStatus(); }
  };
  // A consistent view of [begin, end), positioned at the first key. Keep it short-lived.
  virtual std::unique_ptr<Iterator> Scan(std::string_view begin, std::string_view end) const = 0;

  // Starts making everything written so far durable, in the background.
  virtual void FlushAsync() = 0;
  // The same, and waits. Blocking; start-up, shutdown, tools.
  virtual absl::Status Flush() = 0;
  // A value that only grows: a key's value as of the last finished flush (what survives a crash now). Used for the applied point.
  virtual std::optional<std::string> GetDurable(std::string_view key) const = 0;

  struct Stats {
    uint64_t disk_bytes = 0, memtable_bytes = 0, overlay_bytes = 0;  // overlay: written while the disk refused
    uint64_t block_cache_bytes = 0, pending_compaction_bytes = 0, estimated_keys = 0;
    bool healthy = true;
    bool damaged = false;  // a read met bytes that nobody wrote: what is missing may be there; only a new index helps
    std::string problem;  // of the last failed write, flush or recovery while not healthy
  };
  virtual Stats GetStats() const = 0;
};

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_KV_STORE_H_
