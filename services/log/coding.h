#ifndef FULMAR_LOG_CODING_H_
#define FULMAR_LOG_CODING_H_

#include <bit>
#include <cstdint>
#include <cstring>

namespace fulmar::log {

// Fixed-width numbers on disk are little-endian. The copies compile to one move each.
static_assert(std::endian::native == std::endian::little, "swap bytes here for a big-endian machine");

template <class T>
inline void Put(char* out, T value) {
  std::memcpy(out, &value, sizeof(value));
}

template <class T>
inline T Get(const char* in) {
  T value;
  std::memcpy(&value, in, sizeof(value));
  return value;
}

}  // namespace fulmar::log

#endif  // FULMAR_LOG_CODING_H_
