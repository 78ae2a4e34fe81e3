#include "services/common/posix_file.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/posix_files.h"
#include "services/common/status.h"

namespace fulmar::common {
namespace {

// Zeros are written in pieces of 1 MiB: few system calls, and the source stays in the cache.
constexpr size_t kZeroPiece = 1 << 20;
// At most two of these are on their way to the disk while a segment is filled, so that the log's own small
// synced writes beside it do not queue behind hundreds of MiB.
constexpr uint64_t kZeroWindow = 8 << 20;

const std::string& Zeros() {
  static const std::string& zeros = *new std::string(kZeroPiece, '\0');
  return zeros;
}

// The pieces of one PWriteV that are still to be written, as the kernel takes them.
class IoVectors {
 public:
  explicit IoVectors(absl::Span<const std::string_view> pieces) : pieces_(pieces) { Refill(); }

  bool empty() const { return begin_ == end_; }
  const iovec* data() const { return vectors_.data() + begin_; }
  int count() const { return static_cast<int>(end_ - begin_); }

  // `size` bytes have been written.
  void Advance(size_t size) {
    while (size > 0) {
      iovec& first = vectors_[begin_];
      const size_t taken = std::min(size, first.iov_len);
      first.iov_base = static_cast<char*>(first.iov_base) + taken;
      first.iov_len -= taken;
      size -= taken;
      if (first.iov_len == 0) ++begin_;
    }
    if (begin_ == end_) Refill();
  }

 private:
  void Refill() {
    begin_ = end_ = 0;
    while (!pieces_.empty() && end_ < vectors_.size()) {
      const std::string_view piece = pieces_.front();
      pieces_.remove_prefix(1);
      if (!piece.empty()) vectors_[end_++] = {const_cast<char*>(piece.data()), piece.size()};
    }
  }

  absl::Span<const std::string_view> pieces_;
  std::array<iovec, 256> vectors_;
  size_t begin_ = 0;
  size_t end_ = 0;
};
static_assert(256 <= IOV_MAX);

}  // namespace

PosixFile::PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

PosixFile::~PosixFile() { close(fd_); }

absl::StatusOr<size_t> PosixFile::PRead(uint64_t offset, size_t size, char* out) const {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = pread(fd_, out + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, "pread", path_);
    if (got == 0) break;  // end of the file
    done += static_cast<size_t>(got);
  }
  return done;
}

absl::Status PosixFile::PWrite(uint64_t offset, std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "pwrite", path_);
    offset += static_cast<uint64_t>(written);
    data.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status PosixFile::PWriteV(uint64_t offset, absl::Span<const std::string_view> pieces) {
  IoVectors vectors(pieces);
  while (!vectors.empty()) {
    const ssize_t written = pwritev(fd_, vectors.data(), vectors.count(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "pwritev", path_);
    offset += static_cast<uint64_t>(written);
    vectors.Advance(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status PosixFile::Sync() {
  // No retry on EINTR or anything else: after a failed sync the kernel may have dropped the dirty pages.
  if (fdatasync(fd_) != 0) return FileError(errno, "fdatasync", path_);
  return absl::OkStatus();
}

absl::Status PosixFile::Truncate(uint64_t size) {
  while (ftruncate(fd_, static_cast<off_t>(size)) != 0)
    if (errno != EINTR) return FileError(errno, "ftruncate", path_);
  return absl::OkStatus();
}

absl::Status PosixFile::ZeroFill(uint64_t size) {
  FULMAR_RETURN_IF_ERROR(Truncate(size));
  // Reserving first finds a full disk at once and keeps the blocks together. The blocks are "unwritten" until the
  // zeros below reach them; only then do later writes leave the metadata alone.
  if (size > 0 && fallocate(fd_, 0, 0, static_cast<off_t>(size)) != 0 && errno != EOPNOTSUPP)
    return FileError(errno, "fallocate", path_);

  uint64_t offset = 0;
  while (offset < size) {
    const uint64_t window = std::min(kZeroWindow, size - offset);
    for (uint64_t done = 0; done < window; done += kZeroPiece)
      FULMAR_RETURN_IF_ERROR(
          PWrite(offset + done, std::string_view(Zeros()).substr(0, std::min<uint64_t>(kZeroPiece, window - done))));
    // A hint only; whether the bytes arrived is what Sync() below reports.
    (void)sync_file_range(fd_, static_cast<off_t>(offset), static_cast<off_t>(window), SYNC_FILE_RANGE_WRITE);
    if (offset >= kZeroWindow)
      (void)sync_file_range(fd_, static_cast<off_t>(offset - kZeroWindow), kZeroWindow,
                            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    offset += window;
  }
  return Sync();
}

absl::StatusOr<uint64_t> PosixFile::Size() const {
  struct stat info{};
  if (fstat(fd_, &info) != 0) return FileError(errno, "fstat", path_);
  return static_cast<uint64_t>(info.st_size);
}

}  // namespace fulmar::common
