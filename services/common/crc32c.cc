#include "services/common/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <cstddef>

namespace fulmar::common {

uint32_t Crc32c(std::string_view data) { return Crc32cExtend(0, data); }

uint32_t Crc32cExtend(uint32_t crc, std::string_view data) {
  constexpr size_t kMaxPiece = 1 << 30;  // isa-l takes the length as an int
  uint32_t state = ~crc;                 // isa-l does neither of the two inversions
  while (!data.empty()) {
    const std::string_view piece = data.substr(0, kMaxPiece);
    // isa-l declares the buffer as mutable but only reads it.
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<char*>(piece.data()));
    state = crc32_iscsi(bytes, static_cast<int>(piece.size()), state);
    data.remove_prefix(piece.size());
  }
  return ~state;
}

}  // namespace fulmar::common
