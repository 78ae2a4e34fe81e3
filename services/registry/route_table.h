#ifndef FULMAR_REGISTRY_ROUTE_TABLE_H_
#define FULMAR_REGISTRY_ROUTE_TABLE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "services/common/clock.h"
#include "services/index/definitions.h"
#include "services/registry/route_source.h"

namespace fulmar::registry {

// What one broker replica says of itself.
struct Announcement {
  std::string shard;
  uint64_t replica = 1;
  uint64_t term = 0;
  bool leader = false;
  bool serving = false;
  Endpoint endpoint;      // where clients reach it
  std::string version;    // of the program
  absl::Duration lease = absl::Seconds(15);
  bool full = false;      // `topics` is the whole set, not a change
  std::vector<index::TopicDefinition> topics;
  std::vector<std::string> deleted_topics;
};

// A replica as the table knows it.
struct BrokerView {
  std::string shard;
  uint64_t replica = 1;
  uint64_t term = 0;
  bool leader = false;
  bool serving = false;
  Endpoint endpoint;
  std::string version;
  absl::Duration lease_left;
  size_t topics = 0;
};

// The registry's soft state: who serves which shard and which topics exist, from announcements alone. Nothing is stored;
// started empty, the table is complete again when every broker has announced itself once.
// Of two replicas that claim the same shard the higher term wins (Raft: at most one leader a term).
// Threads: any.
class RouteTable {
 public:
  explicit RouteTable(const common::Clock& clock) : clock_(clock) {}
  RouteTable(const RouteTable&) = delete;
  RouteTable& operator=(const RouteTable&) = delete;

  void Announce(const Announcement& announcement);
  // The replica said good-bye: gone at once. A stream that merely ends lets the lease run out instead.
  void Withdraw(const std::string& shard, uint64_t replica);

  // The definition as brokers announced it or the authority answered; the newest version wins.
  void Learn(const index::TopicDefinition& topic);
  void Forget(const std::string& topic, uint64_t version);
  std::optional<index::TopicDefinition> FindTopic(const std::string& topic) const;

  // The serving leader of a shard while its lease holds.
  std::optional<BrokerView> LeaderOf(const std::string& shard) const;
  // Leaders of those of `shards` that are there, in the order given; empty `shards`: all, by name.
  std::vector<BrokerView> Leaders(const std::vector<std::string>& shards) const;
  std::vector<BrokerView> Brokers() const;

 private:
  struct Replica {
    BrokerView view;
    absl::Duration lease_until;  // steady
  };
  std::optional<BrokerView> LeaderOfLocked(const std::string& shard) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void LearnLocked(const index::TopicDefinition& topic) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const common::Clock& clock_;
  mutable absl::Mutex mutex_;
  absl::btree_map<std::pair<std::string, uint64_t>, Replica> replicas_ ABSL_GUARDED_BY(mutex_);
  absl::btree_map<std::string, index::TopicDefinition> topics_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fulmar::registry

#endif  // FULMAR_REGISTRY_ROUTE_TABLE_H_
