#ifndef FULMAR_INDEX_ROCKS_FILES_H_
#define FULMAR_INDEX_ROCKS_FILES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "rocksdb/file_system.h"

namespace fulmar::index {

// The file system that RocksDB sees: on a full disk its background threads wait here until there is space again, and RocksDB never
// learns of it. When told of it, RocksDB 7.8 refuses writes, and its Resume() can wait for ever for a flush that it has lost
// count of (a flush task that finds the error of another one leaves its request in the queue and nobody to serve it).
// Threads: any.
class PatientFiles : public rocksdb::FileSystemWrapper {
 public:
  // Told, with an internal lock held, what a thread waits for whenever an attempt fails, and OK when nobody waits any longer.
  using OnWait = absl::AnyInvocable<void(const rocksdb::IOStatus&)>;

  // `retry`: the pause between two attempts.
  PatientFiles(const std::shared_ptr<rocksdb::FileSystem>& files, absl::Duration retry, OnWait on_wait)
      : FileSystemWrapper(files), retry_(retry), on_wait_(std::move(on_wait)) {}
  const char* Name() const override { return "fulmar.PatientFiles"; }

  // The calling thread opens the database until EndOpening: it is not made to wait; once it was refused, nobody is.
  void BeginOpening();
  void EndOpening();
  // From now on nobody waits; who does so fails.
  void Stop();

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result, rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  class File;
  rocksdb::IOStatus Insist(absl::FunctionRef<rocksdb::IOStatus()> attempt);

  const absl::Duration retry_;
  absl::Mutex mutex_;
  OnWait on_wait_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<uint64_t> opener_ ABSL_GUARDED_BY(mutex_);
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Of ENOSPC and EDQUOT.
bool SaysDiskFull(const rocksdb::Status& status);

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_ROCKS_FILES_H_
