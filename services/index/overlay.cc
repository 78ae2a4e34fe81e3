#include "services/index/overlay.h"

#include <algorithm>

namespace fulmar::index {
namespace {

size_t BytesOf(const KvBatch& batch) {
  constexpr size_t kPerOperation = 128;  // strings, map node; stored once in the batch and once in the view
  size_t bytes = sizeof(KvBatch);
  for (const KvBatch::Op& op : batch.ops()) bytes += kPerOperation + 2 * (op.key.size() + op.value.size());
  return bytes;
}

class MergedIterator : public KvStore::Iterator {
 public:
  MergedIterator(std::unique_ptr<KvStore::Iterator> below, Overlay::Slice slice)
      : below_(std::move(below)), slice_(std::move(slice)), change_(slice_.changes.begin()) {
    Settle();
  }
  void Seek(std::string_view key) override {
    below_->Seek(key);
    change_ = slice_.changes.lower_bound(key);
    Settle();
  }
  bool Valid() const override { return at_change_ || below_->Valid(); }
  void Next() override {
    if (at_change_) {
      ++change_;
    } else {
      below_->Next();
    }
    Settle();
  }
  std::string_view key() const override { return at_change_ ? std::string_view(change_->first) : below_->key(); }
  std::string_view value() const override { return at_change_ ? std::string_view(*change_->second) : below_->value(); }
  absl::Status status() const override { return below_->status(); }

 private:
  // Moves both sides on until the smaller key is one that counts.
  void Settle() {
    while (below_->Valid() && slice_.Hides(below_->key())) below_->Next();
    while (change_ != slice_.changes.end() && !change_->second) ++change_;
    at_change_ = change_ != slice_.changes.end() && (!below_->Valid() || change_->first < below_->key());
  }

  const std::unique_ptr<KvStore::Iterator> below_;
  const Overlay::Slice slice_;
  decltype(slice_.changes)::const_iterator change_;
  bool at_change_ = false;
};

}  // namespace

void Overlay::Add(const KvBatch& batch) {
  for (const KvBatch::Op& op : batch.ops()) {
    switch (op.kind) {
      case KvBatch::Op::kPut: all_.changes.insert_or_assign(op.key, op.value); break;
      case KvBatch::Op::kDelete: all_.changes.insert_or_assign(op.key, std::nullopt); break;
      case KvBatch::Op::kDeleteRange:
        if (op.key >= op.value) break;
        all_.changes.erase(all_.changes.lower_bound(op.key), all_.changes.lower_bound(op.value));
        all_.removed.emplace_back(op.key, op.value);
        break;
    }
  }
  bytes_ += BytesOf(batch);
  waiting_.push_back(batch);
}

void Overlay::PopFront() {
  waiting_.pop_front();
  if (!waiting_.empty()) return;
  all_ = {};
  bytes_ = 0;
}

bool Overlay::Slice::Hides(std::string_view key) const {
  if (changes.find(key) != changes.end()) return true;
  return std::any_of(removed.begin(), removed.end(),
                     [key](const auto& range) { return range.first <= key && key < range.second; });
}

std::optional<Overlay::Answer> Overlay::Get(std::string_view key) const {
  const auto it = all_.changes.find(key);
  if (it != all_.changes.end()) return Answer{it->second};
  if (all_.Hides(key)) return Answer{std::nullopt};
  return std::nullopt;
}

Overlay::Slice Overlay::Range(std::string_view begin, std::string_view end) const {
  Slice slice;
  if (begin >= end) return slice;
  slice.changes.insert(all_.changes.lower_bound(begin), all_.changes.lower_bound(end));
  for (const auto& range : all_.removed) {
    if (range.first < end && begin < range.second) slice.removed.push_back(range);
  }
  return slice;
}

std::unique_ptr<KvStore::Iterator> MergeOverlay(std::unique_ptr<KvStore::Iterator> below, Overlay::Slice slice) {
  if (slice.changes.empty() && slice.removed.empty()) return below;
  return std::make_unique<MergedIterator>(std::move(below), std::move(slice));
}

}  // namespace fulmar::index
