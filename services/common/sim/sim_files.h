#ifndef FULMAR_COMMON_SIM_SIM_FILES_H_
#define FULMAR_COMMON_SIM_SIM_FILES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/common/files.h"
#include "services/common/sim/seeded_random.h"
#include "services/common/sim/sim_inode.h"

namespace fulmar::sim {

enum class FileOp { kOpen, kRead, kWrite, kSync, kTruncate, kZeroFill, kRename, kRemove, kSyncDir };

// A file system in memory that forgets what was not synced, and breaks on demand.
//
// What the "disk" keeps: bytes of a file since the last successful Sync() or ZeroFill() of it; names (creation,
// removal, rename) since the last SyncDir() of their folder; MakeDirs() at once. Until the power is lost everybody
// sees everything, as through the page cache.
// Threads: any; one lock. A latency hook runs before the lock is taken.
class SimFiles final : public common::Files {
 public:
  explicit SimFiles(uint64_t seed);
  ~SimFiles() override;

  absl::StatusOr<std::unique_ptr<common::File>> Open(const std::string& path, common::OpenMode mode) override;
  absl::Status MakeDirs(const std::string& dir) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status SyncDir(const std::string& dir) override;
  absl::StatusOr<uint64_t> FreeBytes(const std::string& dir) override;
  absl::StatusOr<std::unique_ptr<common::File>> Lock(const std::string& path) override;

  // --- The machine.

  // The power goes: of every unsynced range each 512-byte sector has its old or its new bytes (a random choice
  // between none, all, a prefix and any subset), an unsynced change of size happened or did not, and of the changes
  // of names that were not synced a random prefix (often none) happened. Open handles and locks are dead.
  void LosePower();
  // kill -9: open handles and locks are dead, every byte stays.
  void KillProcess();

  // --- Faults. Each is consumed when it strikes.

  // The `nth` call of `op` from now (1: the next one) on a path that contains `path_part` fails with DataLoss (EIO).
  // A failed write leaves a random prefix of the data. After a failed sync the unsynced bytes count as clean, as in
  // Linux: they are still read, later syncs succeed without writing them, and power loss may lose them.
  void FailNth(FileOp op, int nth = 1, std::string path_part = "");
  // All files together may hold `bytes`; what needs more fails with ResourceExhausted (ENOSPC). nullopt: no limit.
  void SetCapacity(std::optional<uint64_t> bytes);
  // Damage on the disk, seen at once. The file exists and is long enough.
  void FlipBit(const std::string& path, uint64_t offset, int bit = 0);
  void TruncateFile(const std::string& path, uint64_t size);
  // Called before each operation with the number of bytes; a test advances its SimClock there to make the disk slow.
  void SetLatencyHook(std::function<void(FileOp op, const std::string& path, uint64_t bytes)> hook);

  // --- What tests look at.

  std::string Contents(const std::string& path) const;         // as read now; the file exists
  std::string DurableContents(const std::string& path) const;  // what is left if no unsynced byte survives
  int64_t Count(FileOp op) const;                               // calls so far, failed ones too
  uint64_t UsedBytes() const;

 private:
  friend class SimFile;
  using InodePtr = std::shared_ptr<SimInode>;
  struct Fault {
    FileOp op;
    int calls_left;
    std::string path_part;
  };
  // A change of names that is not durable yet. Without `inode` the name goes away.
  struct NameChange {
    std::string path;
    InodePtr inode;
  };
  // Several that happen together: a rename is one step.
  using NameStep = std::vector<NameChange>;

  // Every operation begins here: the hook, then (under the lock) the count and the injected faults.
  void Delay(FileOp op, const std::string& path, uint64_t bytes = 0) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Begin(FileOp op, const std::string& path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status NeedSpace(const SimInode& inode, uint64_t new_size, const std::string& path) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t UsedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  InodePtr Existing(const std::string& path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void KillHandles() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ApplyDurably(const NameStep& step) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  SeededRandom random_;
  std::map<std::string, InodePtr> names_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, InodePtr> durable_names_ ABSL_GUARDED_BY(mutex_);
  std::vector<NameStep> unsynced_names_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> dirs_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> locked_ ABSL_GUARDED_BY(mutex_);
  std::vector<Fault> faults_ ABSL_GUARDED_BY(mutex_);
  std::map<FileOp, int64_t> counts_ ABSL_GUARDED_BY(mutex_);
  std::optional<uint64_t> capacity_ ABSL_GUARDED_BY(mutex_);
  int64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;  // of handles; older ones are dead
  std::function<void(FileOp, const std::string&, uint64_t)> hook_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::sim

#endif  // FULMAR_COMMON_SIM_SIM_FILES_H_
