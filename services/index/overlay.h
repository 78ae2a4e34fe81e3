#ifndef FULMAR_INDEX_OVERLAY_H_
#define FULMAR_INDEX_OVERLAY_H_

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "services/index/kv_store.h"

namespace fulmar::index {

// Batches that a store could not take yet, in order, and what a reader must see because of them.
// Threads: the owner locks.
class Overlay {
 public:
  void Add(const KvBatch& batch);

  bool empty() const { return waiting_.empty(); }
  size_t bytes() const { return bytes_; }
  // Oldest batch; valid until PopFront. The view of the batches stays whole until the last one is gone: until then the
  // store holds a prefix of them, and seeing a change twice does no harm.
  const KvBatch& Front() const { return waiting_.front(); }
  void PopFront();

  // What the batches say of one key: nothing (ask the store), or its value, or that it is deleted.
  struct Answer { std::optional<std::string> value; };
  std::optional<Answer> Get(std::string_view key) const;

  // What the batches say of a range.
  struct Slice {
    std::map<std::string, std::optional<std::string>, std::less<>> changes;
    std::vector<std::pair<std::string, std::string>> removed;  // ranges of keys that are gone in the store below
    bool Hides(std::string_view key) const;                    // the store's value of `key` does not count
  };
  Slice Range(std::string_view begin, std::string_view end) const;

 private:
  std::deque<KvBatch> waiting_;
  Slice all_;
  size_t bytes_ = 0;
};

// The range that `below` walks, as `slice` changes it.
std::unique_ptr<KvStore::Iterator> MergeOverlay(std::unique_ptr<KvStore::Iterator> below, Overlay::Slice slice);

}  // namespace fulmar::index

#endif  // FULMAR_INDEX_OVERLAY_H_
