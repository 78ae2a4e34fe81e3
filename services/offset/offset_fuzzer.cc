// The records of the offset service's log, from arbitrary bytes: the first one chooses the reader. What is read must come out the
// same when it is written.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "services/common/status.h"
#include "services/offset/ledger_records.h"
#include "services/offset/records.h"

using namespace fulmar::offset;  // NOLINT: this file is one function

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  // Numbers of variable length may be written longer than needed, so what is compared is the second reading.
  const auto check = [](const auto& record, auto decode) {
    if (record.ok()) FULMAR_CHECK(Encode(decode(Encode(*record)).value()) == Encode(*record));
  };
  switch (data[0] % 9) {
    case 0: check(DecodeTopicRecord(bytes), DecodeTopicRecord); break;
    case 1: check(DecodeGroupRecord(bytes), DecodeGroupRecord); break;
    case 2: check(DecodeDeletionRecord(bytes), DecodeDeletionRecord); break;
    case 3: check(DecodeClaimRecord(bytes), DecodeClaimRecord); break;
    case 4: check(DecodeProgressRecord(bytes), DecodeProgressRecord); break;
    case 5: check(DecodeDeletion(bytes), DecodeDeletion); break;
    case 6: check(DecodeCountersRecord(bytes), DecodeCountersRecord); break;
    case 7: check(DecodeLedgerEntry(bytes), DecodeLedgerEntry); break;
    case 8: check(DecodeLedgerRemoval(bytes), DecodeLedgerRemoval); break;
  }
  return 0;
}
