// Everything an index or a log of definitions and progress may hold, from arbitrary bytes: the first one chooses the reader.
// What is read must come out the same when it is written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "services/common/status.h"
#include "services/index/definitions.h"
#include "services/index/keys.h"
#include "services/index/progress.h"
#include "services/index/queue_index.h"

using namespace fulmar::index;  // NOLINT: this file is one function

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 7) {
    case 0:
      if (auto topic = DecodeTopic(bytes); topic.ok()) FULMAR_CHECK(DecodeTopic(Encode(*topic)).value() == *topic);
      CheckTopicName(bytes).IgnoreError();
      break;
    case 1:
      if (auto group = DecodeGroup(bytes); group.ok()) FULMAR_CHECK(DecodeGroup(Encode(*group)).value() == *group);
      CheckGroupName(bytes).IgnoreError();
      break;
    case 2:
      if (auto progress = DecodeProgress(bytes); progress.ok()) {
        FULMAR_CHECK(DecodeProgress(Encode(*progress)).value() == *progress);
      }
      break;
    case 3:
      if (bytes.size() < kQueueEntryKeyBytes) break;
      if (auto entry = DecodeQueueEntry(bytes.substr(0, kQueueEntryKeyBytes), bytes.substr(kQueueEntryKeyBytes)); entry.ok()) {
        FULMAR_CHECK(EncodeQueueEntry(*entry) == bytes.substr(kQueueEntryKeyBytes));
      }
      break;
    case 4: DecodeApplied(bytes).status().IgnoreError(); break;
    case 5: DecodeStored(bytes).status().IgnoreError(); break;
    case 6: DecodeCounters(bytes).status().IgnoreError(); break;
  }
  return 0;
}
