#ifndef FULMAR_LOG_COLD_READER_H_
#define FULMAR_LOG_COLD_READER_H_

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "services/common/bytes.h"
#include "services/common/files.h"
#include "services/common/ids.h"
#include "services/log/entry.h"
#include "services/log/frame_scanner.h"

namespace fulmar::log {

// Reads segment files: single records for deliveries, runs of entries for replay.
// Owns:    up to kMaxOpenFiles handles, the most recently used ones.
// Threads: any (the reader may be a pool); calls block.
class ColdReader {
 public:
  struct Segment {
    LogPosition base;
    std::string path;
  };

  explicit ColdReader(common::Files& files) : files_(files) {}

  // The body of the record at `position`, checksum verified.
  // Errors: DataLoss (no such record there, with file and byte), NotFound (no such file), as Files.
  absl::StatusOr<common::SharedBytes> ReadRecord(const Segment& segment, LogPosition position, uint32_t length);

  // Entries from `from` on, at most up to `last` and about `max_bytes` of payload, at least one.
  // Errors: DataLoss (no valid entry there, with file and byte), as Files.
  absl::StatusOr<std::vector<Entry>> ReadEntries(const Segment& segment, LogCursor from, LogIndex last,
                                                 int64_t max_bytes);

  // Closes the handle of a segment that is being removed.
  void Forget(LogPosition base);

 private:
  static constexpr size_t kMaxOpenFiles = 64;
  struct OpenFile {
    LogPosition base;
    std::shared_ptr<const common::File> file;
  };

  absl::StatusOr<std::shared_ptr<const common::File>> FileOf(const Segment& segment);

  common::Files& files_;
  absl::Mutex mutex_;
  std::list<OpenFile> open_ ABSL_GUARDED_BY(mutex_);  // most recently used first
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_COLD_READER_H_
