// Any bytes as each record body of a shard's log: refused or decoded, never read outside.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "services/broker/message_record.h"
#include "services/broker/records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulmar::broker;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  (void)DecodeTopicCopy(body);
  (void)DecodeTopicDeleted(body);
  (void)DecodeGroupCopy(body);
  (void)DecodeGroupDeleted(body);
  (void)DecodeHandleKey(body);
  (void)DecodeCountersRecord(body);
  (void)ParseMessageRecord(body);
  if (const auto batch = DecodeProgressBatch(body); batch.ok()) {
    for (const std::string_view entry : *batch) (void)fulmar::index::DecodeProgress(entry);
  }
  return 0;
}
