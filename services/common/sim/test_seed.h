#ifndef FULMAR_COMMON_SIM_TEST_SEED_H_
#define FULMAR_COMMON_SIM_TEST_SEED_H_

#include <cstdint>

namespace fulmar::sim {

// The seed of this test process: FULMAR_SEED from the environment, else a random one. Printed to stderr at its first
// use, so that every failure can be replayed: FULMAR_SEED=<seed> <test>.
uint64_t TestSeed();

}  // namespace fulmar::sim

#endif  // FULMAR_COMMON_SIM_TEST_SEED_H_
