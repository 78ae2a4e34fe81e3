#include "services/common/files.h"

#include "absl/strings/str_cat.h"
#include "services/common/status.h"

namespace fulmar::common {

absl::StatusOr<std::string> ReadWholeFile(Files& files, const std::string& path) {
  FULMAR_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files.Open(path, OpenMode::kRead));
  FULMAR_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  std::string data(size, '\0');
  FULMAR_ASSIGN_OR_RETURN(const size_t got, file->PRead(0, data.size(), data.data()));
  data.resize(got);
  return data;
}

absl::Status ReplaceFile(Files& files, const std::string& path, std::string_view data) {
  const std::string fresh = absl::StrCat(path, ".new");
  {
    // A crash may have left one behind; its content is of no interest.
    FULMAR_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, files.Open(fresh, OpenMode::kCreateOrOpen));
    FULMAR_RETURN_IF_ERROR(file->Truncate(0));
    FULMAR_RETURN_IF_ERROR(file->PWrite(0, data));
    FULMAR_RETURN_IF_ERROR(file->Sync());
  }
  FULMAR_RETURN_IF_ERROR(files.Rename(fresh, path));
  const size_t slash = path.find_last_of('/');
  return files.SyncDir(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

}  // namespace fulmar::common
