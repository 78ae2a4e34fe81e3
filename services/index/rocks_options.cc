#include "services/index/rocks_options.h"

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/convenience.h"
#include "rocksdb/env.h"
#include "rocksdb/slice_transform.h"
#include "rocksdb/table.h"
#include "services/index/keys.h"
#include "services/index/rocks_files.h"

namespace fulmar::index {
namespace {

// Entries of one queue arrive in order: remembering where in the memtable the queue's last one went makes the next put a
// third of the price (0.7-1.4 µs instead of 2.4-2.7 with 64 queues taking turns).
class QueuePrefix : public rocksdb::SliceTransform {
 public:
  const char* Name() const override { return "fulmar.QueuePrefix"; }
  rocksdb::Slice Transform(const rocksdb::Slice& key) const override { return {key.data(), kQueueEntryPrefixBytes}; }
  bool InDomain(const rocksdb::Slice& key) const override {
    return key.size() == kQueueEntryKeyBytes && key[0] == kQueueEntryKind;
  }
};

rocksdb::CompressionType BestCompression() {
  const std::vector<rocksdb::CompressionType> supported = rocksdb::GetSupportedCompressions();
  for (rocksdb::CompressionType type : {rocksdb::kLZ4Compression, rocksdb::kSnappyCompression}) {
    if (std::find(supported.begin(), supported.end(), type) != supported.end()) return type;
  }
  return rocksdb::kNoCompression;
}

}  // namespace

rocksdb::Options MakeRocksOptions(const RocksKvOptions& options) {
  rocksdb::Options rocks;
  rocks.create_if_missing = true;
  if (options.env != nullptr) rocks.env = options.env;

  rocks.write_buffer_size = options.memtable_bytes;
  rocks.max_write_buffer_number = options.max_memtables;
  // The hint works with one writer only, which is what we have.
  rocks.memtable_insert_with_hint_prefix_extractor = std::make_shared<QueuePrefix>();
  rocks.allow_concurrent_memtable_write = false;
  rocks.enable_write_thread_adaptive_yield = false;

  // Closing is not flushing: who wants that calls Flush(), and a crash in a test is a destructor.
  rocks.avoid_flush_during_shutdown = true;

  // The shard thread never waits: no throttling by compaction debt. Full memtables make a write fail at once (no_slowdown).
  rocks.level0_slowdown_writes_trigger = std::numeric_limits<int>::max();
  rocks.level0_stop_writes_trigger = std::numeric_limits<int>::max();
  rocks.soft_pending_compaction_bytes_limit = 0;
  rocks.hard_pending_compaction_bytes_limit = 0;

  // What PatientFiles lets through is not to be tried again: after a failed sync nobody knows what a file holds.
  rocks.max_bgerror_resume_count = 0;

  rocks.max_open_files = options.max_open_files;
  rocks.max_background_jobs = 2;
  rocks.avoid_unnecessary_blocking_io = true;  // old files are deleted in the background, not by an iterator's end
  rocks.compression = BestCompression();
  rocks.level_compaction_dynamic_level_bytes = true;

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  table.block_size = 16 << 10;
  table.cache_index_and_filter_blocks = true;  // so that the cache's size is a bound
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.format_version = 5;
  rocks.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));

  rocks.stats_dump_period_sec = 0;
  rocks.stats_persist_period_sec = 0;
  rocks.info_log_level = rocksdb::WARN_LEVEL;
  rocks.max_log_file_size = 4 << 20;
  rocks.keep_log_file_num = 2;
  return rocks;
}

absl::Status FromRocks(const rocksdb::Status& status, const std::string& what) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat(what, ": ", status.ToString());
  if (SaysDiskFull(status)) return absl::ResourceExhaustedError(text);
  if (status.IsCorruption()) return absl::DataLossError(text);
  if (status.IsIOError() && absl::StrContains(text, "lock ")) return absl::UnavailableError(text);
  return absl::UnknownError(text);
}

}  // namespace fulmar::index
