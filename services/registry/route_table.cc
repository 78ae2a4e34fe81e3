#include "services/registry/route_table.h"

#include <algorithm>

namespace fulmar::registry {

void RouteTable::Announce(const Announcement& announcement) {
  absl::MutexLock lock(&mutex_);
  Replica& replica = replicas_[{announcement.shard, announcement.replica}];
  replica.lease_until = clock_.Steady() + announcement.lease;
  BrokerView& view = replica.view;
  if (announcement.full) view.topics = 0;
  view.shard = announcement.shard;
  view.replica = announcement.replica;
  view.term = announcement.term;
  view.leader = announcement.leader;
  view.serving = announcement.serving;
  view.endpoint = announcement.endpoint;
  view.version = announcement.version;
  view.topics += announcement.topics.size();
  view.topics -= std::min(view.topics, announcement.deleted_topics.size());
  for (const index::TopicDefinition& topic : announcement.topics) LearnLocked(topic);
  for (const std::string& topic : announcement.deleted_topics) topics_.erase(topic);
}

void RouteTable::Withdraw(const std::string& shard, uint64_t replica) {
  absl::MutexLock lock(&mutex_);
  replicas_.erase({shard, replica});
}

void RouteTable::Learn(const index::TopicDefinition& topic) {
  absl::MutexLock lock(&mutex_);
  LearnLocked(topic);
}

void RouteTable::LearnLocked(const index::TopicDefinition& topic) {
  auto [it, inserted] = topics_.try_emplace(topic.name, topic);
  if (!inserted && it->second.version < topic.version) it->second = topic;
}

void RouteTable::Forget(const std::string& topic, uint64_t version) {
  absl::MutexLock lock(&mutex_);
  const auto it = topics_.find(topic);
  if (it != topics_.end() && it->second.version <= version) topics_.erase(it);
}

std::optional<index::TopicDefinition> RouteTable::FindTopic(const std::string& topic) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto it = topics_.find(topic);
  if (it == topics_.end()) return std::nullopt;
  return it->second;
}

std::optional<BrokerView> RouteTable::LeaderOfLocked(const std::string& shard) const {
  const absl::Duration now = clock_.Steady();
  const Replica* best = nullptr;
  for (auto it = replicas_.lower_bound({shard, 0}); it != replicas_.end() && it->first.first == shard; ++it) {
    const Replica& replica = it->second;
    if (!replica.view.leader || !replica.view.serving || replica.lease_until <= now) continue;
    if (best == nullptr || best->view.term < replica.view.term) best = &replica;
  }
  if (best == nullptr) return std::nullopt;
  BrokerView view = best->view;
  view.lease_left = best->lease_until - now;
  return view;
}

std::optional<BrokerView> RouteTable::LeaderOf(const std::string& shard) const {
  absl::ReaderMutexLock lock(&mutex_);
  return LeaderOfLocked(shard);
}

std::vector<BrokerView> RouteTable::Leaders(const std::vector<std::string>& shards) const {
  absl::ReaderMutexLock lock(&mutex_);
  std::vector<std::string> names = shards;
  if (names.empty()) {
    for (const auto& [key, replica] : replicas_) {
      if (names.empty() || names.back() != key.first) names.push_back(key.first);
    }
  }
  std::vector<BrokerView> leaders;
  for (const std::string& name : names) {
    if (std::optional<BrokerView> leader = LeaderOfLocked(name)) leaders.push_back(*std::move(leader));
  }
  return leaders;
}

std::vector<BrokerView> RouteTable::Brokers() const {
  absl::ReaderMutexLock lock(&mutex_);
  const absl::Duration now = clock_.Steady();
  std::vector<BrokerView> brokers;
  for (const auto& [key, replica] : replicas_) {
    if (replica.lease_until <= now) continue;
    brokers.push_back(replica.view);
    brokers.back().lease_left = replica.lease_until - now;
  }
  return brokers;
}

}  // namespace fulmar::registry
