// Any text as a receipt handle: refused, or parsed into fields that make the same text again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "services/broker/receipt_handle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulmar::broker;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  HandleBytes scratch;
  const auto handle = ParseHandle(text, scratch);
  if (!handle.ok()) return 0;
  HandleKey key;
  key.id = KeyIdOfHandle(scratch);
  const bool verified = VerifyHandle(scratch, key, "group", "topic");
  if (verified != (EncodeHandle(*handle, key, "group", "topic") == text)) abort();
  return 0;
}
