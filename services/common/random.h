#ifndef FULMAR_COMMON_RANDOM_H_
#define FULMAR_COMMON_RANDOM_H_

#include <cstddef>
#include <cstdint>

namespace fulmar::common {

// The only source of chance of the core. Real: SystemRandom (from the kernel). Simulated: SeededRandom.
// Threads: any.
class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t Next() = 0;
  // Fills `size` bytes fit for a secret key (SeededRandom: only as good as its seed).
  virtual void Fill(void* out, size_t size) = 0;
};

// A number from 0 to `bound` - 1; `bound` is at least 1. The modulo favours small numbers by bound / 2^64.
inline uint64_t RandomBelow(Random& random, uint64_t bound) { return random.Next() % bound; }

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_RANDOM_H_
