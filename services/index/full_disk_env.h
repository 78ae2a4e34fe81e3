#ifndef FULMAR_INDEX_FULL_DISK_ENV_H_
#define FULMAR_INDEX_FULL_DISK_ENV_H_

#include <atomic>
#include <memory>
#include <string>

#include "rocksdb/env.h"
#include "rocksdb/file_system.h"

namespace fulmar::index {

// For tests: the real file system, on which files do not grow while `full` is set.
class FullDiskFiles : public rocksdb::FileSystemWrapper {
 public:
  FullDiskFiles() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FullDiskFiles"; }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    rocksdb::IOStatus status = target()->NewWritableFile(path, options, &file, debug);
    if (status.ok()) *result = std::make_unique<LimitedFile>(*this, std::move(file));
    return status;
  }

  std::atomic<bool> full = false;
  std::atomic<bool> broken = false;  // no sync succeeds
  std::atomic<int> refused = 0;

 private:
  class LimitedFile : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    LimitedFile(FullDiskFiles& disk, std::unique_ptr<rocksdb::FSWritableFile> file)
        : FSWritableFileOwnerWrapper(std::move(file)), disk_(disk) {}
    using FSWritableFileOwnerWrapper::PositionedAppend;
    rocksdb::IOStatus PositionedAppend(const rocksdb::Slice& data, uint64_t offset, const rocksdb::IOOptions& options,
                                       rocksdb::IODebugContext* debug) override {
      if (!disk_.full) return FSWritableFileOwnerWrapper::PositionedAppend(data, offset, options, debug);
      ++disk_.refused;
      // Half of it still found its place.
      FSWritableFileOwnerWrapper::PositionedAppend({data.data(), data.size() / 2}, offset, options, debug).PermitUncheckedError();
      rocksdb::IOStatus status = rocksdb::IOStatus::NoSpace("No space left on device");
      status.SetRetryable(true);  // as the POSIX file system says it
      return status;
    }

    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      return disk_.broken ? rocksdb::IOStatus::IOError("Input/output error") : FSWritableFileOwnerWrapper::Sync(options, debug);
    }
    rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
      return disk_.broken ? rocksdb::IOStatus::IOError("Input/output error") : FSWritableFileOwnerWrapper::Fsync(options, debug);
    }

   private:
    FullDiskFiles& disk_;
  };
};

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_FULL_DISK_ENV_H_
