#ifndef FULMAR_COMMON_CRC32C_H_
#define FULMAR_COMMON_CRC32C_H_

#include <cstdint>
#include <string_view>

namespace fulmar::common {

// CRC-32C (Castagnoli) as iSCSI, ext4 and RocksDB's checksums define it: initial value and final xor are all ones,
// Crc32c("123456789") == 0xE3069283. Not masked: a checksum stored inside the bytes that another one covers is rare
// here and the formats keep it out of the covered range.
uint32_t Crc32c(std::string_view data);

// Crc32cExtend(Crc32c(a), b) == Crc32c(a + b); Crc32cExtend(0, b) == Crc32c(b).
uint32_t Crc32cExtend(uint32_t crc, std::string_view data);

}  // namespace fulmar::common

#endif  // FULMAR_COMMON_CRC32C_H_
