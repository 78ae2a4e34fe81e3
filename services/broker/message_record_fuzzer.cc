// Damaged records are refused, and what is taken encodes to the same bytes again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "services/broker/filter.h"
#include "services/broker/message_record.h"
#include "services/common/status.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulmar::broker;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);

  const absl::StatusOr<MessageView> message = ParseMessageRecord(bytes);
  if (message.ok()) {
    std::string again = EncodeMessageRecord(*message);
    if (!message->dedup_key.empty()) AddDedupKey(again, message->dedup_key);
    FULMAR_CHECK(again == bytes);
    FULMAR_CHECK(ParseMessageRecord(again)->body == message->body);
  }
  const absl::StatusOr<Filter> filter = Filter::Parse(FilterKind::kTag, bytes);
  if (filter.ok() && message.ok()) (void)filter->Matches(*message);
  return 0;
}
