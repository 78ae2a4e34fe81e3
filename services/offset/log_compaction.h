#ifndef FULMAR_OFFSET_LOG_COMPACTION_H_
#define FULMAR_OFFSET_LOG_COMPACTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/common/ids.h"
#include "services/index/kv_store.h"
#include "services/log/replicated_log.h"
#include "services/offset/offset_state.h"

namespace fulmar::offset {

// One pass of compaction: which segments may go, and which records have to be appended again first, namely those of the
// live state whose newest record lies in them.
//
//   |--- doomed ---|------- kept -------|  head
//    a1 b1 c1 a2 b2   c2 d1               b2' (b is live and its newest record is doomed; a was deleted, c is newer)
//
// Borrows: the store, the state. Threads: the shard executor.
class LogCompaction {
 public:
  struct Options {
    int32_t max_sealed_segments = 4;      // more, and a pass leaves half of them
    uint64_t chunk_bytes = 256 << 10;     // of records appended again at once
    size_t chunk_keys = 4096;             // looked at in one task
  };

  LogCompaction(Options options, const index::KvStore& kv, const OffsetState& state)
      : options_(options), kv_(kv), state_(state) {}

  // Begins a pass if there are too many sealed segments and they hold at least twice what the last pass found alive
  // (else a large live state would be copied round and round). True: it is active now.
  bool BeginIfWanted(const std::vector<log::SegmentInfo>& segments);
  bool active() const { return active_; }
  void End() { active_ = false; }
  // Where the kept segments begin.
  LogPosition target() const { return target_; }

  struct Record {
    log::RecordType type;
    std::string body;
  };
  struct Chunk {
    std::vector<Record> records;
    bool last = false;  // everything was looked at
  };
  // The next records to be appended again. They say what the state says now, so no append may be under way when this is
  // called, and none may come between it and the appending of the chunk. DataLoss: the index is damaged.
  absl::StatusOr<Chunk> NextChunk();

 private:
  absl::Status Add(std::string_view key, std::string_view value, Chunk& chunk);
  void AddProgress(std::string_view key, index::QueueProgress progress, Chunk& chunk);
  void FinishProgress(Chunk& chunk);

  const Options options_;
  const index::KvStore& kv_;
  const OffsetState& state_;
  bool active_ = false;
  LogPosition target_;
  std::string cursor_;          // first key not looked at
  uint64_t live_bytes_ = 0;     // found in this pass so far
  uint64_t last_live_bytes_ = 0;  // of the last whole pass
  uint64_t chunk_size_ = 0;
  ProgressRecord progress_;     // of one shard, being gathered
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_LOG_COMPACTION_H_
