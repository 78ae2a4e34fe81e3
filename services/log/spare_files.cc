#include "services/log/spare_files.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/status.h"
#include "services/log/segment_names.h"

namespace fulmar::log {
namespace {

// A few milliseconds of writing on an ordinary disk, which the log's own sync may have to wait for.
constexpr uint64_t kPieceBytes = 1 << 20;

const std::string& Zeros() {
  static const std::string& zeros = *new std::string(kPieceBytes, '\0');
  return zeros;
}

}  // namespace

void SpareMaker::Start(OnPiece on_piece, Done done) {
  on_piece_ = std::move(on_piece);
  done_ = std::move(done);
  Continue();
}

void SpareMaker::Continue() {
  executor_.Post([self = shared_from_this()] { self->RunPiece(); });
}

void SpareMaker::RunPiece() {
  absl::Status status = cancelled_.load(std::memory_order_relaxed) ? absl::CancelledError("stopping") : absl::OkStatus();
  if (status.ok() && file_ == nullptr) status = Begin();
  if (status.ok()) status = WritePiece();
  if (!status.ok() || written_ == spare_.file_bytes) return Finish(std::move(status));
  on_piece_({written_, spare_.file_bytes});
}

absl::Status SpareMaker::Begin() {
  // Asked before, so that a nearly full disk is not filled to the last byte and emptied again on every attempt: the index
  // writes to the same disk.
  FULMAR_ASSIGN_OR_RETURN(const uint64_t free, files_.FreeBytes(dir_));
  const auto wanted = [](uint64_t file_bytes) { return file_bytes + file_bytes / 8; };
  while (free < wanted(spare_.file_bytes) && spare_.file_bytes > min_bytes_)
    spare_.file_bytes = std::max(spare_.file_bytes / 2, min_bytes_);
  if (free < wanted(spare_.file_bytes))
    return absl::ResourceExhaustedError(absl::StrCat(SegmentsDir(dir_), " has ", free,
                                                     " bytes free, the next segment wants ", wanted(spare_.file_bytes)));
  FULMAR_ASSIGN_OR_RETURN(file_, files_.Open(UnfinishedSparePath(dir_, spare_.number), common::OpenMode::kCreateOrOpen));
  return absl::OkStatus();
}

absl::Status SpareMaker::WritePiece() {
  const uint64_t size = std::min(kPieceBytes, spare_.file_bytes - written_);
  FULMAR_RETURN_IF_ERROR(file_->PWrite(written_, std::string_view(Zeros()).substr(0, size)));
  FULMAR_RETURN_IF_ERROR(file_->Sync());
  written_ += size;
  return absl::OkStatus();
}

void SpareMaker::Finish(absl::Status status) {
  const bool created = file_ != nullptr;
  file_.reset();
  std::string path = UnfinishedSparePath(dir_, spare_.number);
  if (status.ok()) status = files_.Rename(path, SparePath(dir_, spare_.number));
  if (status.ok()) {
    path = SparePath(dir_, spare_.number);
    status = files_.SyncDir(SegmentsDir(dir_));
  }
  // What is left of a failure goes away now, or at the next Open().
  if (!status.ok() && created) (void)files_.Remove(path);
  if (status.ok()) return std::exchange(done_, nullptr)(spare_);
  std::exchange(done_, nullptr)(std::move(status));
}

absl::Status RecycleSegment(common::Files& files, const std::string& dir, LogPosition base, uint64_t spare_number) {
  const absl::Status renamed = files.Rename(SegmentPath(dir, base), SparePath(dir, spare_number));
  if (absl::IsNotFound(renamed)) {  // an earlier attempt got as far as the name, and only failed to make that durable
    FULMAR_ASSIGN_OR_RETURN(const bool there, files.Exists(SparePath(dir, spare_number)));
    if (!there) return renamed;
  } else if (!renamed.ok()) {
    return renamed;
  }
  return files.SyncDir(SegmentsDir(dir));
}

absl::Status RemoveSegment(common::Files& files, const std::string& dir, LogPosition base) {
  const absl::Status removed = files.Remove(SegmentPath(dir, base));
  if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  return files.SyncDir(SegmentsDir(dir));
}

}  // namespace fulmar::log
