#ifndef FULMAR_COMMON_FILES_H_
#define FULMAR_COMMON_FILES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fulmar::common {

// One open file. Calls block. Threads: PRead from any, the others from one thread at a time.
// Errors: NotFound, AlreadyExists, ResourceExhausted (ENOSPC, EDQUOT), DataLoss (EIO), PermissionDenied, else Unknown;
// the text names the path, the call and errno. A short PRead at the end of the file returns what is there.
class File {
 public:
  virtual ~File() = default;  // closes
  virtual absl::StatusOr<size_t> PRead(uint64_t offset, size_t size, char* out) const = 0;
  // Writes all or fails; after an error the range is undefined.
  virtual absl::Status PWrite(uint64_t offset, std::string_view data) = 0;
  // Like PWrite of the pieces one after the other, in as few system calls as possible.
  virtual absl::Status PWriteV(uint64_t offset, absl::Span<const std::string_view> pieces) = 0;
  // fdatasync. After an error the file's unsynced bytes are lost for good: do not retry.
  virtual absl::Status Sync() = 0;
  virtual absl::Status Truncate(uint64_t size) = 0;
  // Makes the file `size` bytes of zeros (old content is overwritten too), with real blocks written (not a hole) and
  // synced, so that later writes inside neither allocate nor change metadata. After an error, which ResourceExhausted
  // is the usual one of, size and content are undefined and space may be taken: remove the file.
  virtual absl::Status ZeroFill(uint64_t size) = 0;
  virtual absl::StatusOr<uint64_t> Size() const = 0;
  virtual const std::string& path() const = 0;
};

enum class OpenMode { kRead, kReadWrite, kCreate /* must not exist */, kCreateOrOpen };

// The file system as the core sees it. Real: PosixFiles. Simulated: SimFiles (power loss, EIO, ENOSPC, bit flips).
class Files {
 public:
  virtual ~Files() = default;
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  // Makes the folders of `dir` that are missing; they are durable on return.
  virtual absl::Status MakeDirs(const std::string& dir) = 0;
  // Names (not paths) of the entries of `dir`, sorted.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& dir) = 0;
  virtual absl::StatusOr<bool> Exists(const std::string& path) = 0;
  // A file or an empty folder.
  virtual absl::Status Remove(const std::string& path) = 0;
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  // Makes creations, removals and renames inside `dir` durable.
  virtual absl::Status SyncDir(const std::string& dir) = 0;
  virtual absl::StatusOr<uint64_t> FreeBytes(const std::string& dir) = 0;
  // Holds an exclusive lock on `path` (created if missing) while the result lives. Unavailable: someone else has it.
  virtual absl::StatusOr<std::unique_ptr<File>> Lock(const std::string& path) = 0;
};

// Small helpers on top of the interface.
absl::StatusOr<std::string> ReadWholeFile(Files& files, const std::string& path);
// Writes a new file next to `path`, syncs it, renames it over `path` and syncs the folder: old or new, never half.
absl::Status ReplaceFile(Files& files, const std::string& path, std::string_view data);

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_FILES_H_
