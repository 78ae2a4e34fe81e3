#ifndef FULMAR_COMMON_POSIX_FILES_H_
#define FULMAR_COMMON_POSIX_FILES_H_

#include <memory>
#include <string>
#include <vector>

#include "services/common/files.h"

namespace fulmar::common {

// The machine's file system. Owns nothing but open descriptors. Threads: any. All descriptors are close-on-exec.
// Crash: as the kernel and the disk keep it; what Sync(), ZeroFill() and SyncDir() reported is there.
class PosixFiles final : public Files {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  absl::Status MakeDirs(const std::string& dir) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status SyncDir(const std::string& dir) override;
  absl::StatusOr<uint64_t> FreeBytes(const std::string& dir) override;
  absl::StatusOr<std::unique_ptr<File>> Lock(const std::string& path) override;
};

// The status for `error` (an errno), see files.h; the text is "<call> <path>: <errno in words> (<number>)".
absl::Status FileError(int error, std::string_view call, std::string_view path);

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_POSIX_FILES_H_
