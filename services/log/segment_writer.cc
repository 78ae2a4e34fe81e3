#include "services/log/segment_writer.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/crc32c.h"
#include "services/common/status.h"
#include "services/log/recovery.h"
#include "services/log/segment_names.h"

namespace fulmar::log {
namespace {

// A failed call that must not be repeated, whatever its code was.
absl::Status Final(const absl::Status& status) {
  return status.ok() || absl::IsDataLoss(status) ? status : absl::DataLossError(status.message());
}

// A full disk is the one thing that may get better by waiting.
absl::Status FinalUnlessFull(const absl::Status& status) {
  return absl::IsResourceExhausted(status) ? status : Final(status);
}

}  // namespace

SegmentWriter::SegmentWriter(common::Files& files, common::Clock& clock, LogObserver* observer, std::string dir,
                             std::unique_ptr<common::File> open_file, LogPosition base, uint32_t chain,
                             std::unique_ptr<RaftStateFile> state_file)
    : files_(files),
      clock_(clock),
      observer_(observer),
      dir_(std::move(dir)),
      file_(std::move(open_file)),
      base_(base),
      chain_(chain),
      state_file_(std::move(state_file)) {}

absl::Status SegmentWriter::Write(WriteJob& job) {
  if (job.state.has_value()) {
    FULMAR_RETURN_IF_ERROR(FinalUnlessFull(state_file_->Write(*job.state)));
    job.state.reset();
  }
  if (job.truncate.has_value()) {
    FULMAR_RETURN_IF_ERROR(Final(Truncate(*job.truncate)));
    job.truncate.reset();
  }
  if (job.roll.has_value()) {
    FULMAR_RETURN_IF_ERROR(FinalUnlessFull(Roll(*job.roll)));
    job.roll.reset();
  }
  return job.entries.empty() ? absl::OkStatus() : FinalUnlessFull(WriteEntries(job));
}

absl::Status SegmentWriter::Sync() {
  if (!dirty_) return absl::OkStatus();
  const absl::Duration begin = clock_.Steady();
  // Not FinalUnlessFull: after a failed sync the kernel may have dropped the bytes.
  FULMAR_RETURN_IF_ERROR(Final(file_->Sync()));
  if (observer_ != nullptr) observer_->OnSync(clock_.Steady() - begin, dirty_bytes_, dirty_records_);
  dirty_ = false;
  dirty_bytes_ = dirty_records_ = 0;
  return absl::OkStatus();
}

absl::Status SegmentWriter::Truncate(const WriteJob::Truncate& truncate) {
  FULMAR_RETURN_IF_ERROR(Sync());
  if (!truncate.drop.empty()) {
    file_.reset();
    // Newest first, each durably: a crash in between must not leave a hole.
    for (const std::string& path : truncate.drop) {
      FULMAR_RETURN_IF_ERROR(files_.Remove(path));
      FULMAR_RETURN_IF_ERROR(files_.SyncDir(SegmentsDir(dir_)));
    }
    FULMAR_ASSIGN_OR_RETURN(file_, files_.Open(truncate.open_path, common::OpenMode::kReadWrite));
    base_ = truncate.open_base;
  }
  chain_ = truncate.base_chain;
  if (truncate.previous.has_value()) {
    char bytes[kFrameHeaderBytes];
    const uint64_t offset = kSegmentHeaderBytes + static_cast<uint64_t>(truncate.previous->value - base_.value);
    FULMAR_ASSIGN_OR_RETURN(const size_t got, file_->PRead(offset, sizeof(bytes), bytes));
    const std::optional<FrameHeader> header = ParseFrameHeader({bytes, got});
    if (!header.has_value() || header->position != *truncate.previous)
      return absl::DataLossError(absl::StrCat(file_->path(), " is damaged at byte ", offset, ": no frame header"));
    chain_ = header->crc;
  }
  // The void frames stay: what is written over them has a higher term and another chain, so they never count again. But
  // until something is, a restart would find them; wipe the first.
  const uint64_t offset = kSegmentHeaderBytes + static_cast<uint64_t>(truncate.to.value - base_.value);
  FULMAR_RETURN_IF_ERROR(file_->PWrite(offset, std::string(kFrameHeaderBytes, '\0')));
  return file_->Sync();
}

absl::Status SegmentWriter::Roll(WriteJob::Roll& roll) {
  // A segment that is not the last one is durable as a whole: recovery relies on it.
  FULMAR_RETURN_IF_ERROR(Sync());
  roll.header.chain = chain_;
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<common::File> file,
                          files_.Open(roll.spare_path, common::OpenMode::kReadWrite));
  const absl::Status turned = TurnIntoSegment(files_, *file, roll.spare_path, dir_, roll.header);
  // Without space for its name (the sync of the folder says so), the file takes its old name again, so that the next attempt does all
  // of it anew: what a failed sync left of the rename, nobody knows. When that fails, too, the next attempt finds no spare: final.
  if (absl::IsResourceExhausted(turned)) (void)files_.Rename(SegmentPath(dir_, roll.header.base), roll.spare_path);
  FULMAR_RETURN_IF_ERROR(turned);
  file_ = std::move(file);
  base_ = roll.header.base;
  return absl::OkStatus();
}

absl::Status SegmentWriter::WriteEntries(const WriteJob& job) {
  headers_.resize(job.entries.size() * kFrameHeaderBytes);
  pieces_.clear();
  uint32_t chain = chain_;
  uint64_t bytes = 0;
  char* out = headers_.data();
  for (const Entry& entry : job.entries) {
    // The shard laid the records out; checksums are left to this thread.
    if (entry.kind == EntryKind::kRecords && !entry.sealed)
      SealRecords(entry.payload.get(), entry.payload_bytes, entry.payload_begin());
    FrameHeader header{.position = entry.begin,
                       .index = entry.index,
                       .term = entry.term,
                       .time_ms = entry.time_ms,
                       .payload_bytes = entry.payload_bytes,
                       .payload_crc = common::Crc32c(entry.payload_view()),
                       .chain = chain,
                       .durable_lag = static_cast<uint32_t>(
                           std::min<int64_t>(entry.begin.value - job.durable_end.value,
                                             std::numeric_limits<uint32_t>::max())),
                       .record_count = entry.record_count,
                       .kind = entry.kind};
    EncodeFrameHeader(header, out);
    chain = header.crc;
    pieces_.emplace_back(out, kFrameHeaderBytes);
    if (entry.payload_bytes > 0) pieces_.push_back(entry.payload_view());
    bytes += kFrameHeaderBytes + entry.payload_bytes;
    out += kFrameHeaderBytes;
  }
  const uint64_t offset =
      kSegmentHeaderBytes + static_cast<uint64_t>(job.entries.front().begin.value - base_.value);
  dirty_ = true;  // also when the write fails half way
  FULMAR_RETURN_IF_ERROR(file_->PWriteV(offset, pieces_));
  chain_ = chain;
  dirty_bytes_ += bytes;
  dirty_records_ += job.records;
  return absl::OkStatus();
}

}  // namespace fulmar::log
