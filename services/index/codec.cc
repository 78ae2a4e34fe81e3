#include "services/index/codec.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace fulmar::index {

void ByteWriter::Varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) U8(static_cast<uint8_t>(value | 0x80));
  U8(static_cast<uint8_t>(value));
}

void ByteWriter::String(std::string_view value) {
  Varint(value.size());
  out_.append(value);
}

uint8_t ByteReader::U8() { return Fixed<uint8_t>(); }

uint64_t ByteReader::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const uint8_t byte = U8();
    if (!ok_) return 0;
    if (shift == 63 && byte > 1) break;  // more than 64 bits
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  Fail();
  return 0;
}

int64_t ByteReader::SignedVarint() {
  const uint64_t value = Varint();
  return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

std::string_view ByteReader::String() {
  const uint64_t size = Varint();
  if (!ok_ || size > rest_.size()) {
    Fail();
    return {};
  }
  const std::string_view value = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return value;
}

absl::Time ByteReader::Time() { return TimeFromMicros(I64()); }

absl::Time TimeFromMicros(int64_t micros) {
  if (micros == std::numeric_limits<int64_t>::max()) return absl::InfiniteFuture();
  if (micros == std::numeric_limits<int64_t>::min()) return absl::InfinitePast();
  return absl::FromUnixMicros(micros);
}

size_t ByteReader::Count(size_t min_bytes) {
  const uint64_t count = Varint();
  if (!ok_ || count > rest_.size() / min_bytes) {
    Fail();
    return 0;
  }
  return count;
}

absl::Status ByteReader::Finish(std::string_view what) const {
  if (!ok_) return absl::DataLossError(absl::StrCat(what, ": bytes end too early or hold an impossible value"));
  if (!rest_.empty()) return absl::DataLossError(absl::StrCat(what, ": ", rest_.size(), " bytes too many"));
  return absl::OkStatus();
}

uint32_t ReadBigEndian32(std::string_view bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

uint64_t ReadBigEndian64(std::string_view bytes) {
  return static_cast<uint64_t>(ReadBigEndian32(bytes)) << 32 | ReadBigEndian32(bytes.substr(4));
}

}  // namespace fulmar::index
