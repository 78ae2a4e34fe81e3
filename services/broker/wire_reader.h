#ifndef FULMAR_BROKER_WIRE_READER_H_
#define FULMAR_BROKER_WIRE_READER_H_

#include <cstdint>
#include <string_view>

namespace fulmar::broker::wire {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kGroup = 3, kEndGroup = 4, kFixed32 = 5 };

// Steps through the fields of one protobuf message. Never reads outside of its bytes, whatever they are.
//   for (Reader in(bytes); in.Next();) switch (in.field()) { case 1: name = in.bytes(); ... }   then ask ok()
class Reader {
 public:
  explicit Reader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  // To the next field; false at the end and on damage.
  bool Next();
  bool ok() const { return ok_; }

  uint32_t field() const { return field_; }
  WireType type() const { return type_; }
  bool Is(WireType type) const { return type_ == type; }
  uint64_t varint() const { return varint_; }         // of a kVarint
  std::string_view bytes() const { return bytes_; }   // of a kBytes
  // For a field found to be damaged inside: ends the walk.
  void Fail() { ok_ = false; at_ = end_; }

 private:
  bool ReadTag();
  bool ReadVarint(uint64_t& value);
  bool ReadValue();
  bool Skip(uint64_t bytes);
  bool SkipGroup();

  const char* at_;
  const char* end_;
  uint32_t field_ = 0;
  WireType type_ = WireType::kVarint;
  uint64_t varint_ = 0;
  std::string_view bytes_;
  bool ok_ = true;
};

// As protobuf demands of `string` fields: no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(std::string_view text);

}  // namespace fulmar::broker::wire

#endif  // FULMAR_BROKER_WIRE_READER_H_
