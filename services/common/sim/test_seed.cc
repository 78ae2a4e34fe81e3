#include "services/common/sim/test_seed.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "services/common/status.h"
#include "services/common/system_random.h"

namespace fulmar::sim {
namespace {

uint64_t ChooseSeed() {
  uint64_t seed = 0;
  if (const char* text = std::getenv("FULMAR_SEED"); text != nullptr && *text != '\0') {
    FULMAR_CHECK(absl::SimpleAtoi(text, &seed), "FULMAR_SEED is not a number");
  } else {
    seed = common::SystemRandom().Next() >> 33;  // short enough to type
  }
  std::fprintf(stderr, "FULMAR_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace

uint64_t TestSeed() {
  static const uint64_t seed = ChooseSeed();
  return seed;
}

}  // namespace fulmar::sim
