#include "services/index/rocks_files.h"

#include "absl/strings/match.h"
#include "rocksdb/env.h"

namespace fulmar::index {
namespace {

uint64_t ThisThread() { return rocksdb::Env::Default()->GetThreadID(); }

}  // namespace

// An attempt that failed may have written a part, so every attempt says where its bytes go.
class PatientFiles::File : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(PatientFiles& files, std::unique_ptr<rocksdb::FSWritableFile> file) : FSWritableFileOwnerWrapper(std::move(file)), files_(files) {}

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = files_.Insist([&] { return target()->PositionedAppend(data, end_, options, debug); });
    if (status.ok()) end_ += data.size();
    return status;
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options, const rocksdb::DataVerificationInfo&,
                           rocksdb::IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  rocksdb::IOStatus Truncate(uint64_t size, const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Truncate(size, options, debug);
    if (status.ok()) end_ = size;
    return status;
  }

 private:
  PatientFiles& files_;
  uint64_t end_ = 0;
};

bool SaysDiskFull(const rocksdb::Status& status) {
  // RocksDB has no code for a quota that is used up.
  return status.IsNoSpace() || (status.IsIOError() && absl::StrContains(status.ToString(), "quota exceeded"));
}

void PatientFiles::BeginOpening() {
  absl::MutexLock lock(&mutex_);
  opener_ = ThisThread();
}

void PatientFiles::EndOpening() {
  absl::MutexLock lock(&mutex_);
  opener_ = std::nullopt;
}

void PatientFiles::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
}

rocksdb::IOStatus PatientFiles::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                                std::unique_ptr<rocksdb::FSWritableFile>* result, rocksdb::IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  rocksdb::IOStatus status = Insist([&] { return target()->NewWritableFile(path, options, &file, debug); });
  if (status.ok()) *result = std::make_unique<File>(*this, std::move(file));
  return status;
}

rocksdb::IOStatus PatientFiles::RenameFile(const std::string& from, const std::string& to, const rocksdb::IOOptions& options,
                                           rocksdb::IODebugContext* debug) {
  return Insist([&] { return target()->RenameFile(from, to, options, debug); });
}

rocksdb::IOStatus PatientFiles::Insist(absl::FunctionRef<rocksdb::IOStatus()> attempt) {
  bool waiting = false;
  while (true) {
    rocksdb::IOStatus status = attempt();
    absl::MutexLock lock(&mutex_);
    // The opener would have to wait for others before it could fail itself.
    if (SaysDiskFull(status) && opener_ == ThisThread()) stopped_ = true;
    if (!SaysDiskFull(status) || stopped_) {
      if (waiting && --waiting_ == 0) on_wait_(rocksdb::IOStatus::OK());
      return status;
    }
    if (!waiting) ++waiting_;
    waiting = true;
    on_wait_(status);
    mutex_.AwaitWithTimeout(absl::Condition(&stopped_), retry_);
  }
}

}  // namespace fulmar::index
