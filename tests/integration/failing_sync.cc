// Preloaded into a server: from the moment at which the file $FULMAR_FAILING_SYNC exists, fdatasync and fsync of the files in $FULMAR_FAILING_SYNC_DIR
// answer EIO, as a dying disk does.
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

bool Fails(int fd) {
  static const char* const trigger = std::getenv("FULMAR_FAILING_SYNC");
  static const char* const dir = std::getenv("FULMAR_FAILING_SYNC_DIR");
  if (trigger == nullptr || dir == nullptr || access(trigger, F_OK) != 0) return false;
  char path[4096];
  const ssize_t size = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
  return size > 0 && std::string_view(path, static_cast<size_t>(size)).find(dir) != std::string_view::npos;
}

int Sync(int fd, const char* name) {
  if (Fails(fd)) {
    errno = EIO;
    return -1;
  }
  return reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, name))(fd);
}

}  // namespace

extern "C" {
int fdatasync(int fd) { return Sync(fd, "fdatasync"); }
int fsync(int fd) { return Sync(fd, "fsync"); }
}
