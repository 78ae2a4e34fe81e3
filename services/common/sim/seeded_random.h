#ifndef FULMAR_COMMON_SIM_SEEDED_RANDOM_H_
#define FULMAR_COMMON_SIM_SEEDED_RANDOM_H_

#include <random>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/common/random.h"

namespace fulmar::sim {

// The same numbers for the same seed, on every machine (std::mt19937_64 is fixed by the standard; its distributions
// are not, so use common::RandomBelow instead of those).
class SeededRandom final : public common::Random {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}
  uint64_t Next() override;
  void Fill(void* out, size_t size) override;

 private:
  absl::Mutex mutex_;
  std::mt19937_64 engine_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::sim

#endif  // FULMAR_COMMON_SIM_SEEDED_RANDOM_H_
