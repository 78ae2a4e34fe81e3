#include "services/broker/wire_reader.h"

#include <cstring>

namespace fulmar::broker::wire {
namespace {

// As deep as the generated parser goes.
constexpr int kMaxGroupDepth = 100;
constexpr int kMaxShortVarintBytes = 5;  // of tags and lengths
constexpr int kMaxVarintBytes = 10;

}  // namespace

bool Reader::Next() {
  if (!ok_ || at_ == end_) return false;
  if (ReadTag() && type_ != WireType::kEndGroup && ReadValue()) return true;
  Fail();
  return false;
}

bool Reader::ReadTag() {
  const char* begin = at_;
  uint64_t tag = 0;
  if (!ReadVarint(tag) || at_ - begin > kMaxShortVarintBytes) return false;
  field_ = static_cast<uint32_t>(tag) >> 3;
  type_ = static_cast<WireType>(tag & 7);
  return field_ != 0;
}

bool Reader::ReadVarint(uint64_t& value) {
  value = 0;
  for (int i = 0; i < kMaxVarintBytes && at_ != end_; ++i) {
    const auto byte = static_cast<uint8_t>(*at_++);
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) return true;
  }
  return false;
}

bool Reader::Skip(uint64_t bytes) {
  if (bytes > static_cast<uint64_t>(end_ - at_)) return false;
  at_ += bytes;
  return true;
}

bool Reader::ReadValue() {
  switch (type_) {
    case WireType::kVarint: return ReadVarint(varint_);
    case WireType::kFixed64: return Skip(8);
    case WireType::kFixed32: return Skip(4);
    case WireType::kGroup: return SkipGroup();
    case WireType::kBytes: {
      const char* begin = at_;
      uint64_t size = 0;
      if (!ReadVarint(size) || at_ - begin > kMaxShortVarintBytes || !Skip(size)) return false;
      bytes_ = {at_ - size, static_cast<size_t>(size)};
      return true;
    }
    default: return false;  // kEndGroup without a group; 6 and 7 do not exist
  }
}

// Groups are a form that nobody writes any more, but an unknown field may be one. Without recursion: depth is not stack.
bool Reader::SkipGroup() {
  uint32_t open[kMaxGroupDepth];
  int depth = 0;
  const uint32_t outer = field_;
  open[depth++] = field_;
  while (depth > 0) {
    if (at_ == end_ || !ReadTag()) return false;
    if (type_ == WireType::kEndGroup) {
      if (field_ != open[--depth]) return false;
    } else if (type_ == WireType::kGroup) {
      if (depth == kMaxGroupDepth) return false;
      open[depth++] = field_;
    } else if (!ReadValue()) {
      return false;
    }
  }
  field_ = outer;
  type_ = WireType::kGroup;
  return true;
}

bool IsUtf8(std::string_view text) {
  const auto* at = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const end = at + text.size();
  const auto follows = [&](int n, uint8_t low, uint8_t high) {  // the first continuation byte has limits of its own
    if (end - at <= n || at[1] < low || at[1] > high) return false;
    for (int i = 2; i <= n; ++i)
      if ((at[i] & 0xc0) != 0x80) return false;
    at += n + 1;
    return true;
  };
  while (at != end) {
    uint64_t eight;
    if (end - at >= 8 && (std::memcpy(&eight, at, 8), (eight & 0x8080808080808080ull) == 0)) {
      at += 8;
      continue;
    }
    const uint8_t lead = *at;
    if (lead < 0x80) ++at;
    else if (lead < 0xc2) return false;
    else if (lead < 0xe0) { if (!follows(1, 0x80, 0xbf)) return false; }
    else if (lead == 0xe0) { if (!follows(2, 0xa0, 0xbf)) return false; }
    else if (lead == 0xed) { if (!follows(2, 0x80, 0x9f)) return false; }
    else if (lead < 0xf0) { if (!follows(2, 0x80, 0xbf)) return false; }
    else if (lead == 0xf0) { if (!follows(3, 0x90, 0xbf)) return false; }
    else if (lead < 0xf4) { if (!follows(3, 0x80, 0xbf)) return false; }
    else if (lead == 0xf4) { if (!follows(3, 0x80, 0x8f)) return false; }
    else return false;
  }
  return true;
}

}  // namespace fulmar::broker::wire
