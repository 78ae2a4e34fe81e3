// Fuzzes every parser of the log's own files: segment headers, frames, records, raft.state slots and the walk over a segment.
// Checksums would stop random bytes at the door, so the first byte chooses: take the bytes as they are, or repair the
// checksums first and see what the values behind them can do.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/common/crc32c.h"
#include "services/common/status.h"
#include "services/log/coding.h"
#include "services/log/frame.h"
#include "services/log/frame_scanner.h"
#include "services/log/raft_state.h"

namespace fulmar::log {
namespace {

class BytesFile final : public common::File {
 public:
  explicit BytesFile(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::StatusOr<size_t> PRead(uint64_t offset, size_t size, char* out) const override {
    if (offset >= bytes_.size()) return size_t{0};
    const size_t got = std::min(size, bytes_.size() - static_cast<size_t>(offset));
    std::memcpy(out, bytes_.data() + offset, got);
    return got;
  }
  absl::Status PWrite(uint64_t, std::string_view) override { return absl::UnimplementedError("read only"); }
  absl::Status PWriteV(uint64_t, absl::Span<const std::string_view>) override {
    return absl::UnimplementedError("read only");
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::Status Truncate(uint64_t) override { return absl::UnimplementedError("read only"); }
  absl::Status ZeroFill(uint64_t) override { return absl::UnimplementedError("read only"); }
  absl::StatusOr<uint64_t> Size() const override { return bytes_.size(); }
  const std::string& path() const override { return path_; }

 private:
  const std::string bytes_;
  const std::string path_ = "fuzz";
};

void RepairSegmentHeader(std::string& block) {
  if (block.size() < kSegmentHeaderBytes) return;
  std::memcpy(block.data(), "FULMLOG1\1\0\0\0\0\0\0\0", 16);
  const uint32_t crc = common::Crc32c(std::string_view(block).substr(0, kSegmentHeaderBytes));
  Put<uint32_t>(block.data() + 12, crc);
}

void RepairSlot(std::string& slot) {
  if (slot.size() < kRaftStateSlotBytes) return;
  std::memcpy(slot.data(), "FLMRAFT1\1\0\0\0", 12);
  const std::string_view view = slot;
  Put<uint32_t>(slot.data() + 12,
                common::Crc32cExtend(common::Crc32c(view.substr(0, 12)), view.substr(16, kRaftStateSlotBytes - 16)));
}

// Turns the bytes into frames whose checksums, positions and chain are right and whose other values are the input's.
std::string RepairFrames(std::string_view input) {
  std::string out;
  uint32_t chain = 0;
  while (input.size() >= 16) {
    const size_t payload_bytes = std::min<size_t>(Get<uint16_t>(input.data()) % 512, input.size() - 16);
    std::string payload(input.substr(16, payload_bytes));
    FrameHeader header{.position = {static_cast<int64_t>(out.size())},
                       .index = {Get<uint8_t>(input.data() + 2)},
                       .term = {Get<int8_t>(input.data() + 3)},
                       .time_ms = Get<int32_t>(input.data() + 4),
                       .payload_bytes = static_cast<uint32_t>(payload.size()) + (Get<uint8_t>(input.data() + 8) == 255 ? 7 : 0),
                       .payload_crc = common::Crc32c(payload),
                       .chain = chain,
                       .durable_lag = Get<uint16_t>(input.data() + 9),
                       .record_count = Get<uint8_t>(input.data() + 11),
                       .kind = static_cast<EntryKind>(Get<uint8_t>(input.data() + 12) % 4)};
    std::string frame(kFrameHeaderBytes, '\0');
    EncodeFrameHeader(header, frame.data());
    chain = header.crc;
    out += frame + payload;
    input.remove_prefix(16 + payload_bytes);
  }
  return out;
}

void Scan(std::string_view frames) {
  const BytesFile file(std::string(kSegmentHeaderBytes, '\0') + std::string(frames));
  FrameScanner scanner(file, {0}, {.position = {0}, .next_index = {1}, .chain = 0});
  LogPosition last{-1};
  while (true) {
    const absl::StatusOr<std::optional<ScannedFrame>> frame = scanner.Next();
    FULMAR_CHECK(frame.ok());
    if (!frame->has_value()) break;
    FULMAR_CHECK((*frame)->header.position > last, "the walk must go forward");
    last = (*frame)->header.position;
    FULMAR_CHECK(common::Crc32c((*frame)->payload) == (*frame)->header.payload_crc);
    if ((*frame)->header.kind == EntryKind::kRecords)
      FULMAR_CHECK(CountRecords((*frame)->payload) == (*frame)->header.record_count);
  }
  FULMAR_CHECK(scanner.FindProofOfDamage().ok());
  FULMAR_CHECK(scanner.HasBytesAtCursor().ok());
}

void ParseAll(std::string_view bytes) {
  (void)ParseFrameHeader(bytes);
  (void)ParseSegmentHeader(bytes);
  (void)ParseRaftStateSlot(bytes);
  std::vector<RecordView> records;
  const std::optional<uint32_t> count = CountRecords(bytes);
  if (count.has_value()) FULMAR_CHECK(SplitRecords(bytes, *count, records));
  const std::optional<RecordView> record = ParseRecord(bytes, {7});
  if (record.has_value()) FULMAR_CHECK(record->body.size() + kRecordHeaderBytes <= bytes.size());
}

}  // namespace
}  // namespace fulmar::log

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulmar::log;
  if (size < 1) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      ParseAll(bytes);
      break;
    case 1:
      Scan(bytes);
      break;
    case 2:
      Scan(RepairFrames(bytes));
      break;
    case 3:
      bytes.resize(std::max(bytes.size(), kSegmentHeaderBytes));
      RepairSegmentHeader(bytes);
      (void)ParseSegmentHeader(bytes);
      break;
    case 4:
      bytes.resize(std::max(bytes.size(), kRaftStateSlotBytes));
      RepairSlot(bytes);
      (void)ParseRaftStateSlot(bytes);
      break;
  }
  return 0;
}
