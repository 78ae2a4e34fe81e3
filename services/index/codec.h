#ifndef FULMAR_INDEX_CODEC_H_
#define FULMAR_INDEX_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

// Little-endian bytes of values and records, big-endian numbers of keys (so that byte order is number order).
namespace fulmar::index {

// Appends to `out`, which is borrowed.
class ByteWriter {
 public:
  explicit ByteWriter(std::string& out) : out_(out) {}
  void U8(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void U32(uint32_t value) { Fixed(value); }
  void U64(uint64_t value) { Fixed(value); }
  void I64(int64_t value) { Fixed(static_cast<uint64_t>(value)); }
  // 7 bits a byte, low ones first, like protobuf.
  void Varint(uint64_t value);
  // Small numbers of either sign become short.
  void SignedVarint(int64_t value) {
    Varint((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  // Varint length, then the bytes.
  void String(std::string_view value);
  // Microseconds since 1970; the infinite past and future survive.
  void Time(absl::Time time) { I64(absl::ToUnixMicros(time)); }
  void Duration(absl::Duration duration) { SignedVarint(absl::ToInt64Microseconds(duration)); }

 private:
  template <class T>
  void Fixed(T value) {
    char bytes[sizeof(T)];
    for (size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<char>(value >> (8 * i));
    out_.append(bytes, sizeof(T));
  }
  std::string& out_;
};

// Reads what ByteWriter wrote from bytes that may be anything. After the first read that does not fit, every read gives
// zero and ok() is false; so a caller may read a whole struct and ask once, if it bounds its loops by ok().
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}
  uint8_t U8();
  uint32_t U32() { return Fixed<uint32_t>(); }
  uint64_t U64() { return Fixed<uint64_t>(); }
  int64_t I64() { return static_cast<int64_t>(Fixed<uint64_t>()); }
  uint64_t Varint();
  int64_t SignedVarint();
  std::string_view String();
  absl::Time Time();
  absl::Duration Duration() { return absl::Microseconds(SignedVarint()); }
  // A count of things that take at least `min_bytes` each: false input cannot make a caller reserve more than it sent.
  size_t Count(size_t min_bytes);

  bool ok() const { return ok_; }
  std::string_view rest() const { return rest_; }
  void Fail() { ok_ = false; rest_ = {}; }
  // OK when everything was read and fitted; else DataLoss that names `what`.
  absl::Status Finish(std::string_view what) const;

 private:
  template <class T>
  T Fixed() {
    if (rest_.size() < sizeof(T)) {
      Fail();
      return 0;
    }
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<uint8_t>(rest_[i])) << (8 * i);
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  std::string_view rest_;
  bool ok_ = true;
};

absl::Time TimeFromMicros(int64_t micros);  // what ToUnixMicros gave, infinities too

inline void AppendBigEndian32(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}
inline void AppendBigEndian64(std::string& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}
// `bytes` holds at least 4 (8) bytes.
uint32_t ReadBigEndian32(std::string_view bytes);
uint64_t ReadBigEndian64(std::string_view bytes);

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_CODEC_H_
