#include "services/common/sim/seeded_random.h"

#include <algorithm>
#include <cstring>

namespace fulmar::sim {

uint64_t SeededRandom::Next() {
  absl::MutexLock lock(&mutex_);
  return engine_();
}

void SeededRandom::Fill(void* out, size_t size) {
  char* next = static_cast<char*>(out);
  while (size > 0) {
    const uint64_t number = Next();
    const size_t part = std::min(size, sizeof(number));
    std::memcpy(next, &number, part);
    next += part;
    size -= part;
  }
}

}  // namespace fulmar::sim
