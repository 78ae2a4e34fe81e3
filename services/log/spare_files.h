#ifndef FULMAR_LOG_SPARE_FILES_H_
#define FULMAR_LOG_SPARE_FILES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/common/executor.h"
#include "services/common/files.h"
#include "services/common/ids.h"
#include "services/log/segment_names.h"

namespace fulmar::log {

// Prepares one spare segment file: zeros written and synced, a piece at a time, so that reads which wait on the same
// executor (and the log's own syncs on the same disk) get their turn in between. Whoever asked for it says after each piece
// when to go on. On a disk that is nearly full, or small, the file is made smaller, down to `min_bytes`.
// Lives until its last piece ran: each task holds it.
class SpareMaker : public std::enable_shared_from_this<SpareMaker> {
 public:
  struct Progress {
    uint64_t written = 0;
    uint64_t file_bytes = 0;
  };
  using OnPiece = absl::AnyInvocable<void(Progress)>;
  using Done = absl::AnyInvocable<void(absl::StatusOr<SpareFile>) &&>;

  // Borrows: files, executor.
  SpareMaker(common::Files& files, common::Executor& executor, std::string dir, SpareFile wanted, uint64_t min_bytes)
      : files_(files), executor_(executor), dir_(std::move(dir)), min_bytes_(min_bytes), spare_(wanted) {}

  // Any thread. `on_piece` runs on the executor after each piece but the last, and nothing more happens then until Continue().
  // `done` runs once on the executor, when the file is durable under its name (SparePath).
  // Errors: ResourceExhausted (not enough space; nothing of the file remains), Cancelled, as Files.
  void Start(OnPiece on_piece, Done done);
  // Any thread; once for each call of `on_piece`.
  void Continue();
  // Any thread. Ends the work at the next piece, so an outstanding Continue() is still to be called.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  void RunPiece();
  absl::Status Begin();
  absl::Status WritePiece();
  void Finish(absl::Status status);

  common::Files& files_;
  common::Executor& executor_;
  const std::string dir_;
  const uint64_t min_bytes_;
  SpareFile spare_;
  std::atomic<bool> cancelled_{false};
  std::unique_ptr<common::File> file_;
  uint64_t written_ = 0;
  OnPiece on_piece_;
  Done done_;
};

// Turns a removed segment into a spare. Durable when it returns OK; after an error it may be repeated with the same number. Blocking.
absl::Status RecycleSegment(common::Files& files, const std::string& dir, LogPosition base, uint64_t spare_number);
// Removes a segment's file durably. A file that is gone already is fine. Blocking.
absl::Status RemoveSegment(common::Files& files, const std::string& dir, LogPosition base);

}  // namespace fulmar::log

#endif  // FULMAR_LOG_SPARE_FILES_H_
