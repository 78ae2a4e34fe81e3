#include "services/index/key_index.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>

#include "services/common/log.h"
#include "services/common/status.h"
#include "services/index/codec.h"
#include "services/index/keys.h"

namespace fulmar::index {
namespace {

constexpr size_t kItemBytes = 12;
constexpr int kBuckets = 1 << KeyIndex::kBucketBits;

uint8_t BucketOf(uint32_t hash) { return static_cast<uint8_t>(hash >> (32 - KeyIndex::kBucketBits)); }

std::string OpenKey(int64_t position) {
  std::string key = "mo";
  AppendBigEndian64(key, static_cast<uint64_t>(position));
  return key;
}
std::string TimeKey(int64_t block) {
  std::string key = "mt";
  AppendBigEndian64(key, static_cast<uint64_t>(block));
  return key;
}
std::string BucketKey(uint8_t bucket, int64_t block) {
  std::string key = "mb";
  key.push_back(static_cast<char>(bucket));
  AppendBigEndian64(key, static_cast<uint64_t>(block));
  return key;
}
// The number that ends each of these keys.
int64_t NumberOf(std::string_view key) { return static_cast<int64_t>(ReadBigEndian64(key.substr(key.size() - 8))); }

absl::StatusOr<int64_t> TimeOf(std::string_view value) {
  ByteReader reader(value);
  const int64_t time_ms = reader.I64();
  if (!reader.ok()) return absl::DataLossError("key index: a time of fewer than 8 bytes");
  return time_ms;
}

// First closed block in [low, high) whose last entry was laid out at or after `ms`; `high` when there is none. Times ascend with blocks.
absl::StatusOr<int64_t> FirstBlockNotBefore(KvStore::Iterator& it, int64_t low, int64_t high, int64_t ms) {
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    it.Seek(TimeKey(middle));
    if (!it.Valid() || !it.key().starts_with("mt") || NumberOf(it.key()) >= high) {
      FULMAR_RETURN_IF_ERROR(it.status());
      high = middle;
      continue;
    }
    FULMAR_ASSIGN_OR_RETURN(const int64_t time_ms, TimeOf(it.value()));
    if (time_ms < ms) {
      low = NumberOf(it.key()) + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace

void KeyIndex::Write(const Item& item, std::string& out) {
  char bytes[kItemBytes];
  const uint32_t fields[] = {item.hash, item.offset, item.length};
  for (size_t i = 0; i < kItemBytes; ++i) bytes[i] = static_cast<char>(fields[i / 4] >> (8 * (i % 4)));
  out.append(bytes, kItemBytes);
}

absl::Status KeyIndex::Read(std::string_view bytes, std::vector<Item>& out) {
  if (bytes.size() % kItemBytes != 0) return absl::DataLossError("key index: half an item");
  ByteReader reader(bytes);
  for (size_t i = 0; i < bytes.size() / kItemBytes; ++i) {
    Item item{};
    item.hash = reader.U32();
    item.offset = reader.U32();
    item.length = reader.U32();
    out.push_back(item);
  }
  return absl::OkStatus();
}

absl::Status KeyIndex::Load() {
  open_.clear();
  pending_.clear();
  open_block_ = -1;
  const auto it = kv_.Scan("mo", "mp");
  for (; it->Valid(); it->Next()) {
    const int64_t position = NumberOf(it->key());
    FULMAR_ASSIGN_OR_RETURN(open_time_ms_, TimeOf(it->value()));
    FULMAR_RETURN_IF_ERROR(Read(it->value().substr(8), open_));
    open_block_ = position / block_bytes_;
  }
  return it->status();
}

void KeyIndex::EndEntry(int64_t time_ms, KvBatch& batch) {
  for (size_t i = 0; i < pending_.size();) {
    const int64_t first = pending_[i].record.value;
    const int64_t block = first / block_bytes_, begin = block * block_bytes_;
    if (block != open_block_) {
      Close(batch);  // the row of the same entry that may just have been put goes with it
      open_block_ = block;
    }
    open_time_ms_ = time_ms;
    std::string row;
    row.reserve(8 + (pending_.size() - i) * kItemBytes);
    ByteWriter(row).I64(time_ms);
    for (; i < pending_.size() && pending_[i].record.value < begin + block_bytes_; ++i) {
      open_.push_back({pending_[i].hash, static_cast<uint32_t>(pending_[i].record.value - begin), pending_[i].length});
      Write(open_.back(), row);
    }
    batch.Put(OpenKey(first), row);
  }
  pending_.clear();
}

void KeyIndex::Close(KvBatch& batch) {
  if (open_.empty()) return;
  std::array<uint32_t, kBuckets> counts{};
  for (const Item& item : open_) ++counts[BucketOf(item.hash)];
  std::array<std::string, kBuckets> values;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) values[bucket].reserve(counts[bucket] * kItemBytes);
  for (const Item& item : open_) Write(item, values[BucketOf(item.hash)]);
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    if (!values[bucket].empty()) batch.Put(BucketKey(static_cast<uint8_t>(bucket), open_block_), values[bucket]);
  }
  std::string time;
  ByteWriter(time).I64(open_time_ms_);
  batch.Put(TimeKey(open_block_), time);
  batch.DeleteRange(OpenKey(open_block_ * block_bytes_), OpenKey((open_block_ + 1) * block_bytes_));
  open_.clear();
}

void KeyIndex::Trim(LogPosition begin, KvBatch& batch) {
  const int64_t first_block = begin.value / block_bytes_;
  const auto it = kv_.Scan("m", "n");
  it->Seek(TimeKey(0));
  if (it->Valid() && it->key().starts_with("mt") && NumberOf(it->key()) < first_block) {
    batch.DeleteRange(TimeKey(0), TimeKey(first_block));
    for (int bucket = 0; bucket < kBuckets; ++bucket) {
      batch.DeleteRange(BucketKey(static_cast<uint8_t>(bucket), 0), BucketKey(static_cast<uint8_t>(bucket), first_block));
    }
  }
  // The block that `begin` lies in keeps the items behind it: those that the log still tells.
  const auto below = static_cast<uint32_t>(begin.value - first_block * block_bytes_);
  if (below > 0) TrimClosed(first_block, below, batch);
  it->Seek(OpenKey(0));
  if (it->Valid() && it->key().starts_with("mo") && NumberOf(it->key()) < begin.value) {
    batch.DeleteRange(OpenKey(0), OpenKey(begin.value));
    const int64_t open_begin = open_block_ * block_bytes_;
    std::erase_if(open_, [&](const Item& item) { return open_begin + item.offset < begin.value; });
  }
}

void KeyIndex::TrimClosed(int64_t block, uint32_t below, KvBatch& batch) {
  if (!kv_.Get(TimeKey(block))) return;
  bool empty = true;
  for (int bucket = 0; bucket < kBuckets; ++bucket) {
    const std::string key = BucketKey(static_cast<uint8_t>(bucket), block);
    const std::optional<std::string> value = kv_.Get(key);
    if (!value) continue;
    std::vector<Item> items;
    const absl::Status read = Read(*value, items);
    if (!read.ok()) {  // lookups miss what it told; nothing else does
      FULMAR_LOG(kError, "lookup_block_damaged", {{"block", block}, {"error", read}});
      batch.Delete(key);
      continue;
    }
    const size_t before = items.size();
    std::erase_if(items, [below](const Item& item) { return item.offset < below; });
    if (items.empty()) {
      batch.Delete(key);
      continue;
    }
    empty = false;
    if (items.size() == before) continue;
    std::string left;
    for (const Item& item : items) Write(item, left);
    batch.Put(key, left);
  }
  if (empty) batch.Delete(TimeKey(block));
}

absl::StatusOr<KeyIndex::Page> KeyIndex::Find(const KvStore& kv, const Query& query, int64_t block_bytes) {
  Page page;
  const auto it = kv.Scan("m", "n");  // one view: a block is open or closed in it, never both
  std::vector<Hit> hits;              // ascending
  const auto take = [&](int64_t block, const Item& item) {
    const int64_t position = block * block_bytes + item.offset;
    if (item.hash == query.hash && position < query.below.value) hits.push_back({{position}, item.length & ~kTag, (item.length & kTag) != 0});
  };

  // Which blocks.
  const uint8_t bucket = BucketOf(query.hash);
  const int64_t end = query.below.value / block_bytes + (query.below.value == std::numeric_limits<int64_t>::max() || query.below.value % block_bytes == 0 ? 0 : 1);
  it->Seek(TimeKey(0));
  int64_t first = it->Valid() && it->key().starts_with("mt") ? NumberOf(it->key()) : end;
  FULMAR_RETURN_IF_ERROR(it->status());
  it->Seek(OpenKey(0));
  const int64_t open_block = it->Valid() && it->key().starts_with("mo") ? NumberOf(it->key()) / block_bytes : -1;
  // Closed blocks end where the open one begins.
  int64_t last = std::min(end, open_block >= 0 ? open_block : end);
  if (query.from_ms != std::numeric_limits<int64_t>::min()) {
    FULMAR_ASSIGN_OR_RETURN(first, FirstBlockNotBefore(*it, first, last, query.from_ms));
  }
  bool with_open = true;
  if (query.to_ms != std::numeric_limits<int64_t>::max()) {
    // The first block that ends behind it may still hold entries from before it.
    FULMAR_ASSIGN_OR_RETURN(const int64_t behind, FirstBlockNotBefore(*it, first, last, query.to_ms + 1));
    with_open = behind >= last;
    last = std::min(last, behind + 1);
  }

  // The open one.
  if (with_open && open_block >= 0 && open_block < end) {
    std::vector<Item> items;
    for (it->Seek(OpenKey(0)); it->Valid() && it->key().starts_with("mo"); it->Next()) {
      FULMAR_ASSIGN_OR_RETURN(const int64_t time_ms, TimeOf(it->value()));
      if (time_ms < query.from_ms) continue;
      items.clear();
      FULMAR_RETURN_IF_ERROR(Read(it->value().substr(8), items));
      for (const Item& item : items) take(open_block, item);
    }
    FULMAR_RETURN_IF_ERROR(it->status());
  }

  // Closed ones, from the newest back; the store walks forward, so a stretch of blocks at a time.
  std::vector<Hit> found(hits.rbegin(), hits.rend());
  size_t looked = 0;
  constexpr int64_t kStretch = 16;  // bounds what one stretch of nothing but hits may take
  if (open_block < 0) {  // rare: find the end
    it->Seek(TimeKey(first));
    int64_t newest = first - 1;
    for (; it->Valid() && it->key().starts_with("mt") && NumberOf(it->key()) < last; it->Next()) newest = NumberOf(it->key());
    FULMAR_RETURN_IF_ERROR(it->status());
    last = std::min(last, newest + 1);
  }
  while (last > first && found.size() < query.max_hits && looked < query.max_blocks) {
    const int64_t from = std::max(first, last - kStretch);
    hits.clear();
    std::vector<Item> items;
    const std::string until = BucketKey(bucket, last);
    for (it->Seek(BucketKey(bucket, from)); it->Valid() && it->key() < until; it->Next()) {
      items.clear();
      FULMAR_RETURN_IF_ERROR(Read(it->value(), items));
      for (const Item& item : items) take(NumberOf(it->key()), item);
    }
    FULMAR_RETURN_IF_ERROR(it->status());
    found.insert(found.end(), hits.rbegin(), hits.rend());
    looked += static_cast<size_t>(last - from);
    last = from;
  }
  page.below = {last * block_bytes};
  page.finished = last <= first;
  if (found.size() > query.max_hits) {
    found.resize(query.max_hits);
    page.below = found.back().position;
    page.finished = false;
  }
  page.hits = std::move(found);
  return page;
}

}  // namespace fulmar::index
