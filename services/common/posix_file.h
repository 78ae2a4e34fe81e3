#ifndef FULMAR_COMMON_POSIX_FILE_H_
#define FULMAR_COMMON_POSIX_FILE_H_

#include <string>

#include "services/common/files.h"

namespace fulmar::common {

// One open descriptor. Made by PosixFiles only; see files.h for the contract of each call.
class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path);  // takes the descriptor
  ~PosixFile() override;
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  absl::StatusOr<size_t> PRead(uint64_t offset, size_t size, char* out) const override;
  absl::Status PWrite(uint64_t offset, std::string_view data) override;
  absl::Status PWriteV(uint64_t offset, absl::Span<const std::string_view> pieces) override;
  absl::Status Sync() override;
  absl::Status Truncate(uint64_t size) override;
  absl::Status ZeroFill(uint64_t size) override;
  absl::StatusOr<uint64_t> Size() const override;
  const std::string& path() const override { return path_; }

  int fd() const { return fd_; }

 private:
  const int fd_;
  const std::string path_;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_POSIX_FILE_H_
