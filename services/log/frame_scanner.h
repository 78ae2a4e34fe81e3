#ifndef FULMAR_LOG_FRAME_SCANNER_H_
#define FULMAR_LOG_FRAME_SCANNER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/files.h"
#include "services/common/ids.h"
#include "services/log/frame.h"

namespace fulmar::log {

// Where in a log a walk over frames stands: what the next frame must fit to.
struct LogCursor {
  LogPosition position;          // of the next frame
  LogIndex next_index;
  Term term;                     // of the frame before
  int64_t time_ms = 0;           // of the frame before
  std::optional<uint32_t> chain;  // checksum of the frame before; nullopt: unknown, not checked

  static LogCursor AtBeginOf(const SegmentHeader& header);
  void Pass(const FrameHeader& frame);
};

struct ScannedFrame {
  FrameHeader header;
  std::string_view payload;  // valid until the next call
};

// Walks the frames of one segment file in order, each fully verified: header and payload checksum, position, index,
// term and chain, and that the payload splits into its records.
// Borrows: the file, which outlives it. Blocking; one thread at a time.
class FrameScanner {
 public:
  // `base`: position of the file's first frame.
  FrameScanner(const common::File& file, LogPosition base, LogCursor cursor);

  // The next frame; nullopt when what lies at cursor().position is not one. Errors: as PRead.
  absl::StatusOr<std::optional<ScannedFrame>> Next();

  const LogCursor& cursor() const { return cursor_; }
  uint64_t OffsetOf(LogPosition position) const {
    return kSegmentHeaderBytes + static_cast<uint64_t>(position.value - base_.value);
  }

  // After Next() gave nullopt: the first frame behind the cursor that was laid out when the bytes at the cursor were
  // already known to be durable. If there is one, the cursor stands on damage; if not, on the end (perhaps torn).
  absl::StatusOr<std::optional<FrameHeader>> FindProofOfDamage();

  // Whether anything but zeros lies where the next frame header would: a torn frame, or one of the file's earlier life.
  absl::StatusOr<bool> HasBytesAtCursor();

 private:
  // Bytes of the file from `offset`, at most `size` of them, fewer only at its end. Valid until the next call.
  absl::StatusOr<std::string_view> Fetch(uint64_t offset, size_t size);

  const common::File& file_;
  const LogPosition base_;
  LogCursor cursor_;
  std::optional<uint64_t> file_bytes_;
  std::vector<RecordView> records_;  // scratch
  std::unique_ptr<char[]> buffer_;
  size_t buffer_capacity_ = 0;
  uint64_t buffer_offset_ = 0;
  size_t buffer_size_ = 0;
};

}  // namespace fulmar::log

#endif  // FULMAR_LOG_FRAME_SCANNER_H_
