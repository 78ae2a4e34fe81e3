#include "services/common/system_random.h"

#include <sys/random.h>

#include <cerrno>

#include "services/common/status.h"

namespace fulmar::common {

uint64_t SystemRandom::Next() {
  absl::MutexLock lock(&mutex_);
  if (left_ == 0) {
    Fill(stock_.data(), sizeof(stock_));
    left_ = stock_.size();
  }
  return stock_[--left_];
}

void SystemRandom::Fill(void* out, size_t size) {
  char* next = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = getrandom(next, size, 0);
    if (got < 0 && errno == EINTR) continue;
    FULMAR_CHECK(got > 0, "the kernel gives no random numbers (getrandom)");
    next += got;
    size -= static_cast<size_t>(got);
  }
}

}  // namespace fulmar::common
