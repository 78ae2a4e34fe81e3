#include "services/common/sim/sim_inode.h"

#include <algorithm>
#include <cstring>

#include "services/common/status.h"

namespace fulmar::sim {
namespace {

constexpr uint64_t kSector = 512;

// How much of an unsynced range reached the disk.
enum class Kept { kNone, kAll, kPrefix, kAnySectors };

}  // namespace

void SimInode::Write(uint64_t offset, std::string_view data) {
  if (data.empty()) return;
  const uint64_t end = offset + data.size();
  if (end > current_.size()) Resize(end);
  std::memcpy(current_.data() + offset, data.data(), data.size());
  AddRange(dirty_, offset, end);
}

void SimInode::Resize(uint64_t size) {
  if (size == current_.size()) return;
  const uint64_t before = current_.size();
  current_.resize(size, '\0');
  resized_ = true;
  if (size > before) AddRange(dirty_, before, size);  // the zeros may cover durable bytes that were cut off before
}

void SimInode::Sync() {
  durable_.resize(current_.size(), '\0');
  for (const auto& [begin, end] : dirty_) {
    if (begin >= current_.size()) break;
    const uint64_t stop = std::min<uint64_t>(end, current_.size());
    std::memcpy(durable_.data() + begin, current_.data() + begin, stop - begin);
  }
  dirty_.clear();
  resized_ = false;
}

void SimInode::FailSync() {
  for (const auto& [begin, end] : dirty_) AddRange(given_up_, begin, end);
  dirty_.clear();
}

void SimInode::LosePower(common::Random& random) {
  const bool new_size = resized_ && common::RandomBelow(random, 2) == 0;
  if (new_size) durable_.resize(current_.size(), '\0');
  for (const auto& [begin, end] : dirty_) AddRange(given_up_, begin, end);
  for (const auto& [begin, end] : given_up_) KeepSomeSectors(begin, end, random);
  current_ = durable_;
  dirty_.clear();
  given_up_.clear();
  resized_ = false;
}

void SimInode::KeepSomeSectors(uint64_t begin, uint64_t end, common::Random& random) {
  end = std::min<uint64_t>({end, durable_.size(), current_.size()});
  if (begin >= end) return;
  const Kept kept = static_cast<Kept>(common::RandomBelow(random, 4));
  const uint64_t sectors = (end - 1) / kSector - begin / kSector + 1;
  const uint64_t prefix = common::RandomBelow(random, sectors + 1);
  for (uint64_t i = 0; i < sectors; ++i) {
    const bool keep = kept == Kept::kAll || (kept == Kept::kPrefix && i < prefix) ||
                      (kept == Kept::kAnySectors && common::RandomBelow(random, 2) == 0);
    if (!keep) continue;
    const uint64_t first = std::max(begin, (begin / kSector + i) * kSector);
    const uint64_t last = std::min(end, (begin / kSector + i + 1) * kSector);
    std::memcpy(durable_.data() + first, current_.data() + first, last - first);
  }
}

void SimInode::FlipBit(uint64_t offset, int bit) {
  FULMAR_CHECK(offset < current_.size(), "FlipBit behind the end of the file");
  const char mask = static_cast<char>(1 << bit);
  current_[offset] ^= mask;
  if (offset < durable_.size()) durable_[offset] ^= mask;
}

void SimInode::Cut(uint64_t size) {
  FULMAR_CHECK(size <= current_.size(), "TruncateFile makes a file shorter");
  current_.resize(size);
  durable_.resize(std::min<uint64_t>(durable_.size(), size));
}

void SimInode::AddRange(Ranges& ranges, uint64_t begin, uint64_t end) {
  auto it = ranges.upper_bound(begin);
  if (it != ranges.begin() && std::prev(it)->second >= begin) --it;
  while (it != ranges.end() && it->first <= end) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    it = ranges.erase(it);
  }
  ranges.emplace(begin, end);
}

}  // namespace fulmar::sim
