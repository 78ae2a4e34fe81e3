#include "services/common/sim/sim_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "services/common/posix_files.h"
#include "services/common/status.h"

namespace fulmar::sim {
namespace {

using common::FileError;
using common::OpenMode;

std::string Clean(const std::string& path) {
  size_t size = path.size();
  while (size > 1 && path[size - 1] == '/') --size;
  return path.substr(0, size);
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return path.substr(0, std::max<size_t>(slash, 1));
}

}  // namespace

// A handle. It dies with its generation: when the process or the power goes.
class SimFile final : public common::File {
 public:
  SimFile(SimFiles& files, SimFiles::InodePtr inode, std::string path, bool writable, bool locked, int64_t generation)
      : files_(files),
        inode_(std::move(inode)),
        path_(std::move(path)),
        writable_(writable),
        locked_(locked),
        generation_(generation) {}

  ~SimFile() override {
    absl::MutexLock lock(&files_.mutex_);
    if (locked_ && generation_ == files_.generation_) files_.locked_.erase(path_);
  }

  absl::StatusOr<size_t> PRead(uint64_t offset, size_t size, char* out) const override {
    files_.Delay(FileOp::kRead, path_, size);
    absl::MutexLock lock(&files_.mutex_);
    FULMAR_RETURN_IF_ERROR(Alive());
    FULMAR_RETURN_IF_ERROR(files_.Begin(FileOp::kRead, path_));
    const std::string& data = inode_->current();
    if (offset >= data.size()) return 0;
    const size_t got = std::min<uint64_t>(size, data.size() - offset);
    std::memcpy(out, data.data() + offset, got);
    return got;
  }

  absl::Status PWrite(uint64_t offset, std::string_view data) override {
    files_.Delay(FileOp::kWrite, path_, data.size());
    absl::MutexLock lock(&files_.mutex_);
    return Write(FileOp::kWrite, offset, data);
  }

  absl::Status PWriteV(uint64_t offset, absl::Span<const std::string_view> pieces) override {
    std::string data;
    for (const std::string_view piece : pieces) data.append(piece);
    return PWrite(offset, data);
  }

  absl::Status Sync() override {
    files_.Delay(FileOp::kSync, path_);
    absl::MutexLock lock(&files_.mutex_);
    return SyncLocked();
  }

  absl::Status Truncate(uint64_t size) override {
    files_.Delay(FileOp::kTruncate, path_);
    absl::MutexLock lock(&files_.mutex_);
    FULMAR_RETURN_IF_ERROR(Alive());
    FULMAR_RETURN_IF_ERROR(Writable("ftruncate"));
    FULMAR_RETURN_IF_ERROR(files_.Begin(FileOp::kTruncate, path_));
    FULMAR_RETURN_IF_ERROR(files_.NeedSpace(*inode_, size, path_));
    inode_->Resize(size);
    return absl::OkStatus();
  }

  absl::Status ZeroFill(uint64_t size) override {
    files_.Delay(FileOp::kZeroFill, path_, size);
    absl::MutexLock lock(&files_.mutex_);
    FULMAR_RETURN_IF_ERROR(Write(FileOp::kZeroFill, 0, std::string(size, '\0')));
    inode_->Resize(size);
    return SyncLocked();
  }

  absl::StatusOr<uint64_t> Size() const override {
    absl::MutexLock lock(&files_.mutex_);
    FULMAR_RETURN_IF_ERROR(Alive());
    return inode_->current().size();
  }

  const std::string& path() const override { return path_; }

 private:
  absl::Status Alive() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(files_.mutex_) {
    if (generation_ == files_.generation_) return absl::OkStatus();
    return absl::UnknownError(absl::StrCat(path_, ": this handle died with its process"));
  }
  absl::Status Writable(std::string_view call) const {
    return writable_ ? absl::OkStatus() : FileError(EBADF, call, path_);
  }

  absl::Status Write(FileOp op, uint64_t offset, std::string_view data) ABSL_EXCLUSIVE_LOCKS_REQUIRED(files_.mutex_) {
    FULMAR_RETURN_IF_ERROR(Alive());
    FULMAR_RETURN_IF_ERROR(Writable("pwrite"));
    FULMAR_RETURN_IF_ERROR(files_.NeedSpace(*inode_, offset + data.size(), path_));
    const absl::Status fault = files_.Begin(op, path_);
    if (!fault.ok()) data = data.substr(0, common::RandomBelow(files_.random_, data.size() + 1));
    inode_->Write(offset, data);
    return fault;
  }

  absl::Status SyncLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(files_.mutex_) {
    FULMAR_RETURN_IF_ERROR(Alive());
    const absl::Status fault = files_.Begin(FileOp::kSync, path_);
    if (fault.ok()) {
      inode_->Sync();
    } else {
      inode_->FailSync();
    }
    return fault;
  }

  SimFiles& files_;
  const SimFiles::InodePtr inode_;
  const std::string path_;
  const bool writable_;
  const bool locked_;
  const int64_t generation_;
};

SimFiles::SimFiles(uint64_t seed) : random_(seed), dirs_({"/", "."}) {}

SimFiles::~SimFiles() = default;

absl::StatusOr<std::unique_ptr<common::File>> SimFiles::Open(const std::string& path, OpenMode mode) {
  const std::string name = Clean(path);
  Delay(FileOp::kOpen, name);
  absl::MutexLock lock(&mutex_);
  FULMAR_RETURN_IF_ERROR(Begin(FileOp::kOpen, name));
  auto found = names_.find(name);
  const bool create = mode == OpenMode::kCreate || mode == OpenMode::kCreateOrOpen;
  if (found != names_.end() && mode == OpenMode::kCreate) return FileError(EEXIST, "open", name);
  if (dirs_.contains(name)) return FileError(EISDIR, "open", name);
  if (found == names_.end()) {
    if (!create || !dirs_.contains(ParentOf(name))) return FileError(ENOENT, "open", name);
    found = names_.emplace(name, std::make_shared<SimInode>()).first;
    unsynced_names_.push_back({{name, found->second}});
  }
  return std::make_unique<SimFile>(*this, found->second, name, mode != OpenMode::kRead, false, generation_);
}

absl::Status SimFiles::MakeDirs(const std::string& dir) {
  absl::MutexLock lock(&mutex_);
  for (std::string path = Clean(dir); !dirs_.contains(path); path = ParentOf(path)) {
    if (names_.contains(path)) return FileError(ENOTDIR, "mkdir", path);
    dirs_.insert(path);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SimFiles::List(const std::string& dir) {
  const std::string parent = Clean(dir);
  absl::MutexLock lock(&mutex_);
  if (!dirs_.contains(parent)) return FileError(ENOENT, "opendir", parent);
  std::vector<std::string> names;
  const auto add = [&names, &parent](const std::string& path) {
    if (path != parent && path != "/" && path != "." && ParentOf(path) == parent)
      names.push_back(path.substr(path.find_last_of('/') + 1));
  };
  for (const auto& [path, inode] : names_) add(path);
  for (const std::string& path : dirs_) add(path);
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<bool> SimFiles::Exists(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  return names_.contains(Clean(path)) || dirs_.contains(Clean(path));
}

absl::Status SimFiles::Remove(const std::string& path) {
  const std::string name = Clean(path);
  Delay(FileOp::kRemove, name);
  absl::MutexLock lock(&mutex_);
  FULMAR_RETURN_IF_ERROR(Begin(FileOp::kRemove, name));
  if (names_.erase(name) > 0) {
    unsynced_names_.push_back({{name, nullptr}});
    return absl::OkStatus();
  }
  if (!dirs_.contains(name)) return FileError(ENOENT, "remove", name);
  const auto inside = [&name](const std::string& other) { return other != name && ParentOf(other) == name; };
  const bool empty =
      std::none_of(dirs_.begin(), dirs_.end(), inside) &&
      std::none_of(names_.begin(), names_.end(), [&inside](const auto& entry) { return inside(entry.first); });
  if (!empty) return FileError(ENOTEMPTY, "remove", name);
  dirs_.erase(name);
  return absl::OkStatus();
}

absl::Status SimFiles::Rename(const std::string& from, const std::string& to) {
  const std::string old_name = Clean(from);
  const std::string new_name = Clean(to);
  Delay(FileOp::kRename, old_name);
  absl::MutexLock lock(&mutex_);
  FULMAR_RETURN_IF_ERROR(Begin(FileOp::kRename, old_name));
  const auto found = names_.find(old_name);
  if (found == names_.end() || !dirs_.contains(ParentOf(new_name)))
    return FileError(ENOENT, "rename", absl::StrCat(old_name, " to ", new_name));
  if (old_name == new_name) return absl::OkStatus();
  const InodePtr inode = found->second;
  names_.erase(found);
  names_[new_name] = inode;
  unsynced_names_.push_back({{old_name, nullptr}, {new_name, inode}});
  return absl::OkStatus();
}

absl::Status SimFiles::SyncDir(const std::string& dir) {
  const std::string parent = Clean(dir);
  Delay(FileOp::kSyncDir, parent);
  absl::MutexLock lock(&mutex_);
  FULMAR_RETURN_IF_ERROR(Begin(FileOp::kSyncDir, parent));
  if (!dirs_.contains(parent)) return FileError(ENOENT, "open", parent);
  for (NameStep& step : unsynced_names_) {
    // The other half of a rename into another folder stays unsynced.
    const auto ours = [&parent](const NameChange& change) { return ParentOf(change.path) == parent; };
    const auto first_ours = std::stable_partition(step.begin(), step.end(), std::not_fn(ours));
    ApplyDurably(NameStep(first_ours, step.end()));
    step.erase(first_ours, step.end());
  }
  std::erase_if(unsynced_names_, [](const NameStep& step) { return step.empty(); });
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SimFiles::FreeBytes(const std::string&) {
  absl::MutexLock lock(&mutex_);
  constexpr uint64_t kUnlimited = uint64_t{1} << 50;
  const uint64_t capacity = capacity_.value_or(kUnlimited);
  return capacity - std::min(capacity, UsedLocked());
}

absl::StatusOr<std::unique_ptr<common::File>> SimFiles::Lock(const std::string& path) {
  FULMAR_RETURN_IF_ERROR(Open(path, OpenMode::kCreateOrOpen).status());
  const std::string name = Clean(path);
  absl::MutexLock lock(&mutex_);
  if (!locked_.insert(name).second)
    return absl::UnavailableError(absl::StrCat("lock ", name, ": held by another process"));
  return std::make_unique<SimFile>(*this, Existing(name), name, true, true, generation_);
}

void SimFiles::LosePower() {
  absl::MutexLock lock(&mutex_);
  KillHandles();
  const uint64_t kept =
      common::RandomBelow(random_, 2) == 0 ? 0 : common::RandomBelow(random_, unsynced_names_.size() + 1);
  for (uint64_t i = 0; i < kept; ++i) ApplyDurably(unsynced_names_[i]);
  unsynced_names_.clear();
  names_ = durable_names_;
  std::set<SimInode*> done;  // half a rename may have left two names of one file
  for (const auto& [name, inode] : names_)
    if (done.insert(inode.get()).second) inode->LosePower(random_);
}

void SimFiles::KillProcess() {
  absl::MutexLock lock(&mutex_);
  KillHandles();
}

void SimFiles::FailNth(FileOp op, int nth, std::string path_part) {
  FULMAR_CHECK(nth >= 1, "the next call is number 1");
  absl::MutexLock lock(&mutex_);
  faults_.push_back({op, nth, std::move(path_part)});
}

void SimFiles::SetCapacity(std::optional<uint64_t> bytes) {
  absl::MutexLock lock(&mutex_);
  capacity_ = bytes;
}

void SimFiles::FlipBit(const std::string& path, uint64_t offset, int bit) {
  absl::MutexLock lock(&mutex_);
  Existing(Clean(path))->FlipBit(offset, bit);
}

void SimFiles::TruncateFile(const std::string& path, uint64_t size) {
  absl::MutexLock lock(&mutex_);
  Existing(Clean(path))->Cut(size);
}

void SimFiles::SetLatencyHook(std::function<void(FileOp, const std::string&, uint64_t)> hook) {
  absl::MutexLock lock(&mutex_);
  hook_ = std::move(hook);
}

std::string SimFiles::Contents(const std::string& path) const {
  absl::MutexLock lock(&mutex_);
  return Existing(Clean(path))->current();
}

std::string SimFiles::DurableContents(const std::string& path) const {
  absl::MutexLock lock(&mutex_);
  return Existing(Clean(path))->durable();
}

int64_t SimFiles::Count(FileOp op) const {
  absl::MutexLock lock(&mutex_);
  const auto found = counts_.find(op);
  return found == counts_.end() ? 0 : found->second;
}

uint64_t SimFiles::UsedBytes() const {
  absl::MutexLock lock(&mutex_);
  return UsedLocked();
}

void SimFiles::Delay(FileOp op, const std::string& path, uint64_t bytes) {
  std::function<void(FileOp, const std::string&, uint64_t)> hook;
  {
    absl::MutexLock lock(&mutex_);
    hook = hook_;
  }
  if (hook) hook(op, path, bytes);
}

absl::Status SimFiles::Begin(FileOp op, const std::string& path) {
  ++counts_[op];
  bool strikes = false;
  for (Fault& fault : faults_)
    if (fault.op == op && absl::StrContains(path, fault.path_part) && --fault.calls_left == 0) strikes = true;
  std::erase_if(faults_, [](const Fault& fault) { return fault.calls_left == 0; });
  return strikes ? FileError(EIO, "injected fault on", path) : absl::OkStatus();
}

absl::Status SimFiles::NeedSpace(const SimInode& inode, uint64_t new_size, const std::string& path) const {
  const uint64_t size = inode.current().size();
  if (!capacity_.has_value() || new_size <= size || UsedLocked() + (new_size - size) <= *capacity_)
    return absl::OkStatus();
  return FileError(ENOSPC, "pwrite", path);
}

uint64_t SimFiles::UsedLocked() const {
  uint64_t used = 0;
  for (const auto& [name, inode] : names_) used += inode->current().size();
  return used;
}

SimFiles::InodePtr SimFiles::Existing(const std::string& path) const {
  const auto found = names_.find(path);
  FULMAR_CHECK(found != names_.end(), path);
  return found->second;
}

void SimFiles::KillHandles() {
  ++generation_;
  locked_.clear();
}

void SimFiles::ApplyDurably(const NameStep& step) {
  for (const NameChange& change : step) {
    if (change.inode == nullptr) {
      durable_names_.erase(change.path);
    } else {
      durable_names_[change.path] = change.inode;
    }
  }
}

}  // namespace fulmar::sim
