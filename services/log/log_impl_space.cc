// The part of LogImpl that keeps files at hand: spares, recycling, a full disk.

#include <algorithm>
#include <utility>

#include "services/common/status.h"
#include "services/log/log_impl.h"

namespace fulmar::log {
namespace {

// Between two pieces of a spare that is not urgent. A disk that has to write zeros all the time makes the log's syncs wait, and
// the processors have other things to do too: a spare of 256 MiB comes within some seconds, without anybody noticing.
constexpr absl::Duration kPauseBetweenPieces = absl::Milliseconds(20);

}  // namespace

void LogImpl::MaintainSpares() {
  if (stopping_ || !fault_.ok()) return;
  if (spares_.size() >= WantedSpares()) return SetSpaceExhausted(false);
  if (spare_maker_ != nullptr || space_timer_ != 0) return;
  const SpareFile wanted{next_spare_number_++, static_cast<uint64_t>(options_.segment_bytes)};
  spare_maker_ = std::make_shared<SpareMaker>(env_.files, env_.reader, options_.dir, wanted, MinSpareBytes(options_));
  auto on_piece = Guarded([this](SpareMaker::Progress progress) { OnSparePiece(progress); });
  spare_maker_->Start([&shard = env_.shard, on_piece](SpareMaker::Progress progress) {
                        shard.Post([on_piece, progress]() mutable { on_piece(progress); });
                      },
                      [&shard = env_.shard, made = Guarded([this](absl::StatusOr<SpareFile> spare) {
                         OnSpareMade(std::move(spare));
                       })](absl::StatusOr<SpareFile> spare) mutable {
    shard.Post([made = std::move(made), spare = std::move(spare)]() mutable { made(std::move(spare)); });
  });
}

void LogImpl::OnSparePiece(SpareMaker::Progress progress) {
  if (stopping_ || IsSpareUrgent(progress)) return spare_maker_->Continue();
  spare_timer_ = env_.shard.After(kPauseBetweenPieces, Guarded([this] {
                                    spare_timer_ = 0;
                                    spare_maker_->Continue();
                                  }));
}

// Whether the open segment may be full before the spare is there: the spare is to be ahead of what the open one has used, by a quarter of a
// segment as soon as that can be. So the zeros are written at the speed at which they are used, and not in bursts.
bool LogImpl::IsSpareUrgent(SpareMaker::Progress progress) const {
  if (!spares_.empty()) return false;
  if (space_exhausted_) return true;
  const RecoveredSegment& open = segments_.open();
  const uint64_t used = static_cast<uint64_t>(end_.value - open.header.base.value);
  const uint64_t room = open.header.file_bytes > used ? open.header.file_bytes - used : 0;
  return room < progress.file_bytes - progress.written + std::min(used, open.header.file_bytes / 4);
}

void LogImpl::OnSpareMade(absl::StatusOr<SpareFile> spare) {
  spare_maker_.reset();
  if (spare.ok()) {
    spares_.push_back(*spare);
  } else if (!absl::IsCancelled(spare.status()) && spares_.size() < WantedSpares()) {
    // Whatever the reason: as long as there is no spare, what is left of the open segment is kept for internal records. If the
    // disk is broken altogether, the next write will say so.
    SetSpaceExhausted(true);
    RetrySpaceLater();
  }
  MaintainSpares();
  Pump();
}

void LogImpl::SetSpaceExhausted(bool exhausted) {
  if (std::exchange(space_exhausted_, exhausted) != exhausted) machine_.OnSpace(exhausted);
}

void LogImpl::RetrySpaceLater() {
  if (space_timer_ != 0 || stopping_) return;
  space_timer_ = env_.shard.After(options_.space_retry_interval, Guarded([this] {
                                    space_timer_ = 0;
                                    RemoveNextDoomed();
                                    MaintainSpares();
                                  }));
}

void LogImpl::RemoveSegmentsBelow(LogPosition position) {
  // Whatever the caller believes: what is not applied is still needed, and a segment stays until its successor is durable.
  // That one is known here as soon as it was laid out, while its roll may yet fail.
  const LogPosition limit = std::min({position, next_apply_.position, LogPosition{durable_end_.value - 1}});
  for (RecoveredSegment& segment : segments_.RemoveBelow(limit))
    doomed_.push_back(std::move(segment));
  RemoveNextDoomed();
}

// Full size, or any when space is short: a small file now is better than none.
bool LogImpl::IsRecyclable(uint64_t file_bytes) const {
  const uint64_t full = static_cast<uint64_t>(options_.segment_bytes);
  return file_bytes == full || (space_exhausted_ && file_bytes >= MinSpareBytes(options_) && file_bytes < full);
}

// One at a time, oldest first, each durably: whenever the power goes, what remains has no hole.
void LogImpl::RemoveNextDoomed() {
  if (doomed_.empty() || stopping_ || !fault_.ok() || std::exchange(removing_, true)) return;
  const RecoveredSegment& segment = doomed_.front();
  // One more than wanted: the next roll then finds a file without anybody having to fill one. An attempt that failed may have got as
  // far as the new name, so it is repeated with the same.
  if (!recycled_as_.has_value() && IsRecyclable(segment.header.file_bytes) && spares_.size() <= WantedSpares())
    recycled_as_ = SpareFile{next_spare_number_++, segment.header.file_bytes};
  RunOn(
      env_.reader,
      [&files = env_.files, cold = cold_, dir = options_.dir, base = segment.header.base, spare = recycled_as_] {
        cold->Forget(base);
        return spare.has_value() ? RecycleSegment(files, dir, base, spare->number) : RemoveSegment(files, dir, base);
      },
      [this](absl::Status status) { OnRemoved(std::move(status)); });
}

void LogImpl::OnRemoved(absl::Status status) {
  removing_ = false;
  // Not found: somebody else removed it.
  if (!status.ok() && !absl::IsNotFound(status)) {
    RetrySpaceLater();
    return MaybeFinishStop();
  }
  doomed_.pop_front();
  const std::optional<SpareFile> spare = std::exchange(recycled_as_, std::nullopt);
  if (spare.has_value() && status.ok()) spares_.push_back(*spare);
  RemoveNextDoomed();
  MaintainSpares();
  Pump();
}

}  // namespace fulmar::log
