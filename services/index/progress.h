#ifndef FULMAR_INDEX_PROGRESS_H_
#define FULMAR_INDEX_PROGRESS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fulmar::index {

// Half-open range of queue offsets.
struct OffsetRange {
  int64_t begin = 0, end = 0;
  friend bool operator==(const OffsetRange&, const OffsetRange&) = default;
};

struct InFlight {
  int64_t offset = 0;
  int32_t attempt = 0;             // of the delivery that is out, from 1
  absl::Time invisible_until;      // when it may be delivered again
  absl::Duration given;            // how long it was made invisible for, so that a wall clock that steps back lengthens nothing; 0: unknown
  bool auto_renew = false;
  bool waiting_retry = false;      // nobody holds it: it waits for its time (nack), its handle is void
  bool acknowledged = false;       // counts when the messages of its message group before it are done; with waiting_retry: for good
  friend bool operator==(const InFlight&, const InFlight&) = default;
};

// How far one group is in one queue. Everything below `cursor` is done; above it: `acked` is done, `in_flight` is out,
// the rest has never been delivered.
//
// Of an ordered group instead: below `cursor` every message is done but those of the message groups that have a message in `in_flight` or
// `open`: of these groups everything from the first such message on is not done. `acked` is empty; nothing above the cursor was touched.
struct QueueProgress {
  std::string group;
  uint32_t topic_id = 0;
  int32_t queue = 0;
  int64_t cursor = 0;
  std::vector<OffsetRange> acked;     // sorted, disjoint, above cursor
  std::vector<InFlight> in_flight;    // sorted by offset
  bool ordered = false;
  std::vector<int64_t> open;          // ordered only, sorted: first messages not done, of message groups that have nothing in flight there
  bool deleted = false;               // the group was deleted: forget the entry
  uint64_t sequence = 0;              // the shard raises it with every copy it writes: of two copies the higher one is newer
  friend bool operator==(const QueueProgress&, const QueueProgress&) = default;
};

std::string Encode(const QueueProgress& progress);
// At least as many bytes as Encode() makes of it, in less time: for filling a record or a request up to a bound.
size_t MaxEncodedBytes(const QueueProgress& progress);
absl::StatusOr<QueueProgress> DecodeProgress(std::string_view bytes);

// InvalidArgument unless the entry is as described above: sorted, disjoint, nothing negative or below the cursor.
// Encode takes any entry; DecodeProgress gives back only such.
absl::Status CheckProgress(const QueueProgress& progress);

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_PROGRESS_H_
