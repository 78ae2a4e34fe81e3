#ifndef FULMAR_COMMON_UNITS_H_
#define FULMAR_COMMON_UNITS_H_

#include <cstdint>

namespace fulmar {

// 256_MiB and the like, visible in every namespace below fulmar.
inline namespace literals {
constexpr int64_t operator""_KiB(unsigned long long n) { return static_cast<int64_t>(n) << 10; }
constexpr int64_t operator""_MiB(unsigned long long n) { return static_cast<int64_t>(n) << 20; }
constexpr int64_t operator""_GiB(unsigned long long n) { return static_cast<int64_t>(n) << 30; }
}  // namespace literals

}  // namespace fulmar

#endif  // FULMAR_COMMON_UNITS_H_
