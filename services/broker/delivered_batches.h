#ifndef FULMAR_BROKER_DELIVERED_BATCHES_H_
#define FULMAR_BROKER_DELIVERED_BATCHES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"

namespace fulmar::broker {

// What each receive of an ordered group got, by the client's attempt id: a client whose answer was lost asks again with the same id and
// gets the same messages, as far as they are still out. Memory follows what is out: each new batch looks at two old ones, and those of
// which nothing is out any more are forgotten.
class DeliveredBatches {
 public:
  struct Message {
    int32_t queue = 0;
    int64_t offset = 0;
    uint32_t serial = 0;
  };
  using Batch = std::vector<Message>;
  using IsOut = absl::FunctionRef<bool(const Message&)>;

  // Messages of the batch that are still out under the handles that it was given, in their order; the batch is forgotten.
  Batch Take(std::string_view client, std::string_view attempt_id, IsOut is_out) {
    const auto it = batches_.find(Key(client, attempt_id));
    if (it == batches_.end()) return {};
    Batch batch = std::move(it->second);
    batches_.erase(it);
    std::erase_if(batch, [&](const Message& message) { return !is_out(message); });
    return batch;
  }
  void Put(std::string_view client, std::string_view attempt_id, Batch batch, IsOut is_out) {
    batches_[Key(client, attempt_id)] = std::move(batch);
    for (int i = 0; i < 2; ++i) {
      auto it = batches_.upper_bound(hand_);
      if (it == batches_.end()) it = batches_.begin();
      hand_ = it->first;
      bool live = false;
      for (const Message& message : it->second) live = live || is_out(message);
      if (!live) batches_.erase(it);
    }
  }
  size_t size() const { return batches_.size(); }

 private:
  static std::string Key(std::string_view client, std::string_view attempt_id) { return absl::StrCat(client, "\n", attempt_id); }

  absl::btree_map<std::string, Batch> batches_;
  std::string hand_;  // the key that was looked at last
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_DELIVERED_BATCHES_H_
