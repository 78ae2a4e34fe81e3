#include "services/common/posix_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "services/common/posix_file.h"
#include "services/common/status.h"

namespace fulmar::common {
namespace {

int OpenFlags(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead: return O_RDONLY;
    case OpenMode::kReadWrite: return O_RDWR;
    case OpenMode::kCreate: return O_RDWR | O_CREAT | O_EXCL;
    case OpenMode::kCreateOrOpen: return O_RDWR | O_CREAT;
  }
  return O_RDONLY;
}

absl::StatusOr<std::unique_ptr<PosixFile>> OpenFd(const std::string& path, int flags) {
  int fd;
  do fd = open(path.c_str(), flags | O_CLOEXEC, 0640);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return FileError(errno, "open", path);
  return std::make_unique<PosixFile>(fd, path);
}

std::string ParentOf(std::string_view path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, std::max<size_t>(slash, 1)));
}

}  // namespace

absl::Status FileError(int error, std::string_view call, std::string_view path) {
  absl::Status named = absl::ErrnoToStatus(error, absl::StrCat(call, " ", path));
  const std::string text = absl::StrCat(named.message(), " (", error, ")");
  switch (error) {
    case ENOENT: return absl::NotFoundError(text);
    case EEXIST: return absl::AlreadyExistsError(text);
    case ENOSPC:
    case EDQUOT: return absl::ResourceExhaustedError(text);
    case EIO: return absl::DataLossError(text);
    case EACCES:
    case EPERM:
    case EROFS: return absl::PermissionDeniedError(text);
    default: return absl::UnknownError(text);
  }
}

absl::StatusOr<std::unique_ptr<File>> PosixFiles::Open(const std::string& path, OpenMode mode) {
  return OpenFd(path, OpenFlags(mode));
}

absl::Status PosixFiles::MakeDirs(const std::string& dir) {
  std::string path = dir;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (mkdir(path.c_str(), 0750) == 0) return SyncDir(ParentOf(path));
  if (errno == EEXIST) {
    struct stat info{};
    if (stat(path.c_str(), &info) != 0) return FileError(errno, "stat", path);
    return S_ISDIR(info.st_mode) ? absl::OkStatus() : FileError(ENOTDIR, "mkdir", path);
  }
  if (errno != ENOENT) return FileError(errno, "mkdir", path);
  FULMAR_RETURN_IF_ERROR(MakeDirs(ParentOf(path)));
  if (mkdir(path.c_str(), 0750) != 0 && errno != EEXIST) return FileError(errno, "mkdir", path);
  return SyncDir(ParentOf(path));
}

absl::StatusOr<std::vector<std::string>> PosixFiles::List(const std::string& dir) {
  DIR* open_dir = opendir(dir.c_str());
  if (open_dir == nullptr) return FileError(errno, "opendir", dir);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(open_dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  const int error = errno;
  closedir(open_dir);
  if (error != 0) return FileError(error, "readdir", dir);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<bool> PosixFiles::Exists(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return FileError(errno, "stat", path);
}

absl::Status PosixFiles::Remove(const std::string& path) {
  if (unlink(path.c_str()) == 0) return absl::OkStatus();
  if ((errno == EISDIR || errno == EPERM) && rmdir(path.c_str()) == 0) return absl::OkStatus();
  return FileError(errno, "remove", path);
}

absl::Status PosixFiles::Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return FileError(errno, "rename", absl::StrCat(from, " to ", to));
}

absl::Status PosixFiles::SyncDir(const std::string& dir) {
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<PosixFile> open_dir, OpenFd(dir, O_RDONLY | O_DIRECTORY));
  if (fsync(open_dir->fd()) != 0) return FileError(errno, "fsync", dir);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> PosixFiles::FreeBytes(const std::string& dir) {
  struct statvfs info{};
  if (statvfs(dir.c_str(), &info) != 0) return FileError(errno, "statvfs", dir);
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

absl::StatusOr<std::unique_ptr<File>> PosixFiles::Lock(const std::string& path) {
  FULMAR_ASSIGN_OR_RETURN(std::unique_ptr<PosixFile> file, OpenFd(path, O_RDWR | O_CREAT));
  if (flock(file->fd(), LOCK_EX | LOCK_NB) == 0) return file;
  if (errno == EWOULDBLOCK) return absl::UnavailableError(absl::StrCat("lock ", path, ": held by another process"));
  return FileError(errno, "flock", path);
}

}  // namespace fulmar::common
