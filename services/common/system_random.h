#ifndef FULMAR_COMMON_SYSTEM_RANDOM_H_
#define FULMAR_COMMON_SYSTEM_RANDOM_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/common/random.h"

namespace fulmar::common {

// Random numbers of the kernel (getrandom). Fill() asks the kernel each time, so that no copy of a key stays here;
// Next() takes from a small stock, one system call per 64 numbers.
class SystemRandom final : public Random {
 public:
  uint64_t Next() override;
  void Fill(void* out, size_t size) override;

 private:
  absl::Mutex mutex_;
  std::array<uint64_t, 64> stock_ ABSL_GUARDED_BY(mutex_) = {};
  size_t left_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_SYSTEM_RANDOM_H_
