#ifndef FULMAR_BROKER_WIRE_WRITER_H_
#define FULMAR_BROKER_WIRE_WRITER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace fulmar::broker::wire {

inline size_t VarintBytes(uint64_t value) {
  size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

// Appends protobuf fields to a string. Field numbers below 16 take one byte of tag.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }
  void Number(uint32_t field, int64_t value) {
    Varint(field << 3);
    Varint(static_cast<uint64_t>(value));
  }
  // What a field without presence wants: nothing at all for its default.
  void NumberIfSet(uint32_t field, int64_t value) { if (value != 0) Number(field, value); }
  // Only tag and length; the caller appends `bytes` bytes.
  void Head(uint32_t field, size_t bytes) {
    Varint(field << 3 | 2);
    Varint(bytes);
  }
  void Bytes(uint32_t field, std::string_view bytes) {
    Head(field, bytes.size());
    out_.append(bytes);
  }
  void BytesIfSet(uint32_t field, std::string_view bytes) { if (!bytes.empty()) Bytes(field, bytes); }

  // A sub-message that `fill()` appends through this same writer. For small ones: 128 bytes and more are moved once.
  template <class Fill>
  void Message(uint32_t field, Fill&& fill) {
    Varint(field << 3 | 2);
    const size_t at = out_.size();
    out_.push_back(0);
    fill();
    const size_t bytes = out_.size() - at - 1;
    if (bytes < 0x80) {
      out_[at] = static_cast<char>(bytes);
      return;
    }
    std::string length;
    Writer(length).Varint(bytes);
    out_.replace(at, 1, length);
  }

  // A Timestamp or Duration from its parts.
  void Time(uint32_t field, int64_t seconds, int32_t nanos) {
    Message(field, [&] {
      NumberIfSet(1, seconds);
      NumberIfSet(2, nanos);
    });
  }
  void TimeMs(uint32_t field, int64_t ms) {  // of a time after 1970
    Time(field, ms / 1000, static_cast<int32_t>(ms % 1000) * 1'000'000);
  }

 private:
  std::string& out_;
};

}  // namespace fulmar::broker::wire

#endif  // FULMAR_BROKER_WIRE_WRITER_H_
