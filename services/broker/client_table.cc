#include "services/broker/client_table.h"

#include <algorithm>

#include "services/broker/shard.h"

namespace fulmar::broker {

ClientTable::ClientTable(Limits limits)
    : silence_ms_(absl::ToInt64Milliseconds(limits.silence)),
      slow_silence_ms_(absl::ToInt64Milliseconds(limits.slow_silence)) {}

ClientTable::Client& ClientTable::Get(const ClientRef& ref, int64_t now_ms, uint64_t& number) {
  auto it = numbers_.find(ref.client_id);
  if (it == numbers_.end()) {
    it = numbers_.emplace(ref.client_id, ++last_number_).first;
    clients_[last_number_].id = ref.client_id;
  }
  number = it->second;
  Client& client = clients_.find(number)->second;
  client.slow = ref.slow_heartbeat;
  client.last_call_ms = std::max(client.last_call_ms, now_ms);
  return client;
}

uint64_t ClientTable::Touch(const ClientRef& client, int64_t now_ms) {
  uint64_t number = 0;
  Get(client, now_ms, number);
  return number;
}

void ClientTable::Stream(const ClientRef& ref, int delta, int64_t now_ms) {
  if (delta < 0 && !numbers_.contains(ref.client_id)) return;  // it said good-bye before its stream ended
  uint64_t number = 0;
  Client& client = Get(ref, now_ms, number);
  client.streams = std::max(0, client.streams + delta);
}

void ClientTable::JoinGroup(uint64_t number, std::string_view group) {
  auto it = clients_.find(number);
  if (it == clients_.end() || it->second.groups.contains(group)) return;
  if (it->second.groups.size() >= kMaxGroupsOfClient) it->second.groups.erase(it->second.groups.begin());
  it->second.groups.emplace(group);
}

uint64_t ClientTable::Remove(std::string_view client_id) {
  auto it = numbers_.find(client_id);
  if (it == numbers_.end()) return 0;
  const uint64_t number = it->second;
  clients_.erase(number);
  numbers_.erase(it);
  return number;
}

int64_t ClientTable::GoneAt(const Client& client) const {
  return client.last_call_ms + (client.slow || client.streams > 0 ? slow_silence_ms_ : silence_ms_);
}

std::vector<uint64_t> ClientTable::TakeGone(int64_t now_ms) {
  std::vector<uint64_t> gone;
  for (auto it = clients_.begin(); it != clients_.end();) {
    if (GoneAt(it->second) > now_ms) {
      ++it;
      continue;
    }
    gone.push_back(it->first);
    numbers_.erase(it->second.id);
    it = clients_.erase(it);
  }
  return gone;
}

std::vector<std::string> ClientTable::MembersOf(std::string_view group) const {
  std::vector<std::string> ids;
  for (const auto& [number, client] : clients_) {
    if (client.groups.contains(group)) ids.push_back(client.id);
  }
  return ids;
}

}  // namespace fulmar::broker
