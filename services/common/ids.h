#ifndef FULMAR_COMMON_IDS_H_
#define FULMAR_COMMON_IDS_H_

#include <compare>
#include <cstdint>
#include <utility>

namespace fulmar {

// Numbers that must not mix are types. Aggregate: QueueOffset{5}.
template <class Tag>
struct Id {
  int64_t value = 0;
  friend auto operator<=>(const Id&, const Id&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Id& id) {
    return H::combine(std::move(h), id.value);
  }
};

using LogIndex = Id<struct LogIndexTag>;        // counts entries of one shard's log, from 1
using Term = Id<struct TermTag>;                // Raft term, from 1
using LogPosition = Id<struct LogPositionTag>;  // byte address of a record in one shard's log; the same on all replicas

}  // namespace fulmar

#endif  // FULMAR_COMMON_IDS_H_
