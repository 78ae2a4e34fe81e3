#ifndef FULMAR_INDEX_ROCKS_KV_H_
#define FULMAR_INDEX_ROCKS_KV_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/common/executor.h"
#include "services/index/kv_store.h"

namespace rocksdb {
class Env;
}

namespace fulmar::index {

struct RocksKvOptions {
  std::string dir;
  uint64_t memtable_bytes = 32 << 20;  // one memtable; also bounds what is applied again after a crash
  int max_memtables = 4;               // full ones wait for their flush; when all are full, batches wait in memory
  uint64_t block_cache_bytes = 32 << 20;
  uint64_t max_overlay_bytes = 64 << 20;  // of what waits in memory; above, the store is crowded()
  int max_open_files = 512;
  absl::Duration retry_interval = absl::Seconds(1);  // between attempts to write to a full disk
  rocksdb::Env* env = nullptr;                       // borrowed; tests put faults here
};

// The index in RocksDB, without its write-ahead log: what was not flushed is lost in a crash and applied again from the log.
// Owns:    the database in `dir` and RocksDB's threads. Borrows: `background`, where blocking maintenance runs
//          (starting a flush, writing what had to wait); outlives it.
// Threads: one writer, readers anywhere. Write never waits for the disk: what RocksDB does not take at once (memtables full)
//          stays in memory, in order, visible to readers, and is retried on `background`.
// Errors:  a full disk is waited out on RocksDB's threads. Any other error is final: nothing is flushed until the next Open.
// Crash:   whole batches, in order, up to some batch at or behind the last flush. Destruction without Flush() is a crash.
class RocksKv : public KvStore {
 public:
  // Blocking. Errors: Unavailable (another process has it open), DataLoss (damaged: Remove it and let the log fill it again),
  // ResourceExhausted (disk full), Unknown.
  static absl::StatusOr<std::unique_ptr<RocksKv>> Open(const RocksKvOptions& options, common::Executor& background);
  // Deletes the database in `dir`, which nobody has open; fine when there is none.
  static absl::Status Remove(const std::string& dir);
  ~RocksKv() override;  // waits for maintenance that is under way

  void Write(const KvBatch& batch) override;
  bool crowded() const override;
  std::optional<std::string> Get(std::string_view key) const override;
  std::unique_ptr<Iterator> Scan(std::string_view begin, std::string_view end) const override;
  void FlushAsync() override;
  absl::Status Flush() override;
  std::optional<std::string> GetDurable(std::string_view key) const override;
  Stats GetStats() const override;

 private:
  class State;
  explicit RocksKv(std::shared_ptr<State> state);
  const std::shared_ptr<State> state_;  // shared with tasks that wait on `background`
};

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_ROCKS_KV_H_
