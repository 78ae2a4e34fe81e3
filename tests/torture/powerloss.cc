// Preloaded into a server by the torture test: turns kill -9 into a loss of power.
//
// What a process has written is safe from kill -9 as soon as it is in the page cache, synced or not. Here writes to the files of the
// commit logs stay inside the process until fdatasync, so that SIGKILL takes along whatever was not synced, as pulling the plug does.
//
//   pwrite ──► pending pages of the inode ──(fdatasync)──► the file          pread: the file, then the pending pages over it
//                  └──(now and then)── some sectors at once ──► the file     a disk may write early, and in any order
//
// Environment:
//   FULMAR_POWERLOSS_LEAK      share of pages of which some sectors are written at once, 0 to 1; default 0.1
//   FULMAR_POWERLOSS_SEED      of the above
//   FULMAR_POWERLOSS_LATE_MS   a planted bug: fdatasync of a segment answers at once and happens so much later
//
// Files that count: raft.state and everything in a folder "segments". RocksDB's files do not: its index may lose what it likes, and is
// not written through these calls. Creations, renames and lengths are durable at once; the simulated files lose those too.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kSector = 512;
constexpr int kMaxFds = 1 << 16;
// The planted bug is about records, not about the making of segments.
constexpr size_t kLateMaxPages = 256;

template <class Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

auto* const real_pwrite = Real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
auto* const real_pread = Real<ssize_t(int, void*, size_t, off_t)>("pread");
auto* const real_fdatasync = Real<int(int)>("fdatasync");
auto* const real_fsync = Real<int(int)>("fsync");
auto* const real_ftruncate = Real<int(int, off_t)>("ftruncate");
// Called by other libraries before this one's variables are there.
int RealClose(int fd) {
  static auto* const real = Real<int(int)>("close");
  return real(fd);
}

using Page = std::array<char, kPage>;
using InodeKey = std::pair<dev_t, ino_t>;

struct Inode {
  InodeKey key;
  bool is_segment = false;
  int open_fds = 0;
  std::map<uint64_t, Page> pending;
};

double Setting(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == 0 ? otherwise : std::atof(text);
}

// Everything below is under mutex_; the calls it wraps are short.
class PowerLoss {
 public:
  static PowerLoss& Get() {
    static PowerLoss& only = *new PowerLoss;  // never destroyed: threads write until the end
    return only;
  }

  static bool Counts(std::string_view path) {
    return path.find("/segments/") != std::string_view::npos || (path.size() >= 10 && path.substr(path.size() - 10) == "raft.state") ||
           path.find("raft.state.") != std::string_view::npos;
  }

  bool Has(int fd) const { return fd >= 0 && fd < kMaxFds && fds_[static_cast<size_t>(fd)].load(std::memory_order_acquire) != nullptr; }

  void Opened(int fd, const char* path) {
    struct stat info{};
    if (fd < 0 || fd >= kMaxFds || !Counts(path) || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return;
    std::lock_guard lock(mutex_);
    std::unique_ptr<Inode>& inode = inodes_[{info.st_dev, info.st_ino}];
    if (inode == nullptr) inode = std::make_unique<Inode>();
    inode->key = {info.st_dev, info.st_ino};
    inode->is_segment = std::string_view(path).find("/segments/") != std::string_view::npos;
    ++inode->open_fds;
    fds_[static_cast<size_t>(fd)].store(inode.get(), std::memory_order_release);
  }

  void Closing(int fd) {
    std::lock_guard lock(mutex_);
    Inode* inode = fds_[static_cast<size_t>(fd)].exchange(nullptr);
    if (inode != nullptr && --inode->open_fds == 0 && inode->pending.empty()) inodes_.erase(inode->key);
  }

  void Unlinking(const char* path) {
    struct stat info{};
    if (!Counts(path) || stat(path, &info) != 0 || info.st_nlink != 1) return;
    std::lock_guard lock(mutex_);
    const auto found = inodes_.find({info.st_dev, info.st_ino});
    if (found == inodes_.end()) return;
    found->second->pending.clear();
    if (found->second->open_fds == 0) inodes_.erase(found);
  }

  ssize_t Write(int fd, const char* data, size_t size, off_t offset) {
    std::lock_guard lock(mutex_);
    Inode* inode = Of(fd);
    // The length is metadata and durable at once; what is in it is not.
    struct stat info{};
    if (fstat(fd, &info) != 0) return -1;
    if (info.st_size < offset + static_cast<off_t>(size) && real_ftruncate(fd, offset + static_cast<off_t>(size)) != 0) return -1;
    for (size_t done = 0; done < size;) {
      const uint64_t at = static_cast<uint64_t>(offset) + done;
      const size_t in_page = at % kPage, part = std::min(kPage - in_page, size - done);
      auto [entry, fresh] = inode->pending.try_emplace(at / kPage);
      if (fresh) Load(fd, entry->first, entry->second);
      std::memcpy(entry->second.data() + in_page, data + done, part);
      if (leak_ > 0 && std::uniform_real_distribution<>(0, 1)(random_) < leak_) Leak(fd, entry->first, entry->second);
      done += part;
    }
    return static_cast<ssize_t>(size);
  }

  ssize_t Read(int fd, char* out, size_t size, off_t offset) {
    std::lock_guard lock(mutex_);
    const ssize_t got = real_pread(fd, out, size, offset);
    if (got <= 0) return got;
    const Inode* inode = Of(fd);
    const uint64_t begin = static_cast<uint64_t>(offset), end = begin + static_cast<uint64_t>(got);
    for (auto page = inode->pending.lower_bound(begin / kPage); page != inode->pending.end() && page->first * kPage < end; ++page) {
      const uint64_t from = std::max(begin, page->first * kPage), to = std::min(end, (page->first + 1) * kPage);
      std::memcpy(out + (from - begin), page->second.data() + from % kPage, to - from);
    }
    return got;
  }

  int Truncate(int fd, off_t size) {
    std::lock_guard lock(mutex_);
    const int result = real_ftruncate(fd, size);
    if (result != 0) return result;
    Inode* inode = Of(fd);
    const uint64_t whole = static_cast<uint64_t>(size) / kPage;
    inode->pending.erase(inode->pending.upper_bound(whole), inode->pending.end());
    const auto last = inode->pending.find(whole);
    if (last != inode->pending.end()) std::fill(last->second.begin() + size % static_cast<off_t>(kPage), last->second.end(), 0);
    return 0;
  }

  int Sync(int fd, int (*real_sync)(int)) {
    std::unique_lock lock(mutex_);
    Inode* inode = Of(fd);
    if (late_ms_ > 0 && inode->is_segment && inode->pending.size() <= kLateMaxPages && inode->pending.count(0) == 0) {
      // The bug: an answer before the disk has it.
      std::thread([this, fd, inode, own = dup(fd)] {
        std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(late_ms_));
        std::lock_guard late(mutex_);
        if (Of(fd) == inode) Forward(own, *inode);
        RealClose(own);
      }).detach();
      return 0;
    }
    if (!Forward(fd, *inode)) return -1;
    lock.unlock();
    return real_sync(fd);
  }

 private:
  PowerLoss()
      : leak_(Setting("FULMAR_POWERLOSS_LEAK", 0.1)),
        late_ms_(Setting("FULMAR_POWERLOSS_LATE_MS", 0)),
        random_(static_cast<uint64_t>(Setting("FULMAR_POWERLOSS_SEED", 1))) {}

  Inode* Of(int fd) const { return fds_[static_cast<size_t>(fd)].load(std::memory_order_acquire); }

  // The file's part of a page; zeros behind its end.
  static void Load(int fd, uint64_t number, Page& page) {
    page.fill(0);
    (void)!real_pread(fd, page.data(), kPage, static_cast<off_t>(number * kPage));
  }

  static bool Put(int fd, uint64_t number, const Page& page, size_t from, size_t to, off_t file_bytes) {
    const off_t begin = static_cast<off_t>(number * kPage + from);
    const off_t size = std::min<off_t>(static_cast<off_t>(to - from), file_bytes - begin);
    return size <= 0 || real_pwrite(fd, page.data() + from, static_cast<size_t>(size), begin) == size;
  }

  void Leak(int fd, uint64_t number, const Page& page) {
    struct stat info{};
    if (fstat(fd, &info) != 0) return;
    for (size_t sector = 0; sector < kPage; sector += kSector)
      if (random_() % 2 == 0) Put(fd, number, page, sector, sector + kSector, info.st_size);
  }

  static bool Forward(int fd, Inode& inode) {
    struct stat info{};
    if (fstat(fd, &info) != 0) return false;
    while (!inode.pending.empty()) {
      const auto first = inode.pending.begin();
      if (!Put(fd, first->first, first->second, 0, kPage, info.st_size)) return false;
      inode.pending.erase(first);
    }
    return true;
  }

  const double leak_, late_ms_;
  std::mutex mutex_;
  std::mt19937_64 random_;
  std::map<InodeKey, std::unique_ptr<Inode>> inodes_;
  std::array<std::atomic<Inode*>, kMaxFds> fds_{};
};

ssize_t WriteV(int fd, const iovec* pieces, int count, off_t offset) {
  ssize_t total = 0;
  for (int i = 0; i < count; ++i) {
    const ssize_t written = PowerLoss::Get().Write(fd, static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len, offset + total);
    if (written < 0) return total > 0 ? total : written;
    total += written;
  }
  return total;
}

int Open(const char* name, const char* path, int flags, mode_t mode) {
  const int fd = Real<int(const char*, int, ...)>(name)(path, flags, mode);
  if (fd >= 0) PowerLoss::Get().Opened(fd, path);
  return fd;
}

}  // namespace

// The C library's functions, in both spellings.
extern "C" {

#define FULMAR_OPEN(NAME)                          \
  int NAME(const char* path, int flags, ...) {     \
    mode_t mode = 0;                               \
    if (flags & (O_CREAT | __O_TMPFILE)) {         \
      va_list more;                                \
      va_start(more, flags);                       \
      mode = va_arg(more, mode_t);                 \
      va_end(more);                                \
    }                                              \
    return Open(#NAME, path, flags, mode);         \
  }
FULMAR_OPEN(open)
FULMAR_OPEN(open64)

#define FULMAR_BOTH(NAME, RESULT, PARAMETERS, ARGUMENTS, OURS)                       \
  RESULT NAME PARAMETERS {                                                           \
    if (PowerLoss::Get().Has(fd)) return OURS;                                       \
    static auto* const real = Real<RESULT PARAMETERS>(#NAME);                        \
    return real ARGUMENTS;                                                           \
  }

FULMAR_BOTH(pwrite, ssize_t, (int fd, const void* data, size_t size, off_t offset), (fd, data, size, offset),
            PowerLoss::Get().Write(fd, static_cast<const char*>(data), size, offset))
FULMAR_BOTH(pwrite64, ssize_t, (int fd, const void* data, size_t size, off64_t offset), (fd, data, size, offset),
            PowerLoss::Get().Write(fd, static_cast<const char*>(data), size, offset))
FULMAR_BOTH(pwritev, ssize_t, (int fd, const iovec* pieces, int count, off_t offset), (fd, pieces, count, offset), WriteV(fd, pieces, count, offset))
FULMAR_BOTH(pwritev64, ssize_t, (int fd, const iovec* pieces, int count, off64_t offset), (fd, pieces, count, offset),
            WriteV(fd, pieces, count, offset))
FULMAR_BOTH(pread, ssize_t, (int fd, void* out, size_t size, off_t offset), (fd, out, size, offset),
            PowerLoss::Get().Read(fd, static_cast<char*>(out), size, offset))
FULMAR_BOTH(pread64, ssize_t, (int fd, void* out, size_t size, off64_t offset), (fd, out, size, offset),
            PowerLoss::Get().Read(fd, static_cast<char*>(out), size, offset))
FULMAR_BOTH(ftruncate, int, (int fd, off_t size), (fd, size), PowerLoss::Get().Truncate(fd, size))
FULMAR_BOTH(ftruncate64, int, (int fd, off64_t size), (fd, size), PowerLoss::Get().Truncate(fd, size))
FULMAR_BOTH(fdatasync, int, (int fd), (fd), PowerLoss::Get().Sync(fd, real_fdatasync))
FULMAR_BOTH(fsync, int, (int fd), (fd), PowerLoss::Get().Sync(fd, real_fsync))
// A hint about when the kernel writes; it promises nothing.
FULMAR_BOTH(sync_file_range, int, (int fd, off64_t offset, off64_t size, unsigned flags), (fd, offset, size, flags), 0)

int close(int fd) {
  if (PowerLoss::Get().Has(fd)) PowerLoss::Get().Closing(fd);
  return RealClose(fd);
}

int unlink(const char* path) {
  static auto* const real = Real<int(const char*)>("unlink");
  PowerLoss::Get().Unlinking(path);
  return real(path);
}

}  // extern "C"
