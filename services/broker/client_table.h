#ifndef FULMAR_BROKER_CLIENT_TABLE_H_
#define FULMAR_BROKER_CLIENT_TABLE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/time/time.h"

namespace fulmar::broker {

struct ClientRef;

// Which clients are there. A client is gone when it says so; when it has no stream open and made no call for 25 s (90 s when it
// beats slowly); or, whatever streams it has, after 90 s without any call. A client that returns has another number.
// Times are milliseconds of the steady clock.
class ClientTable {
 public:
  struct Limits {
    absl::Duration silence = absl::Seconds(25);
    absl::Duration slow_silence = absl::Seconds(90);  // also the bound with streams open
  };
  explicit ClientTable(Limits limits);

  // The number of this client; made at its first call.
  uint64_t Touch(const ClientRef& client, int64_t now_ms);
  void Stream(const ClientRef& client, int delta, int64_t now_ms);
  // A client is in a few groups; of more than kMaxGroupsOfClient one is forgotten for each new one.
  static constexpr size_t kMaxGroupsOfClient = 64;
  void JoinGroup(uint64_t number, std::string_view group);
  // 0 when it was not there.
  uint64_t Remove(std::string_view client_id);
  // Forgets those whose time is over and returns their numbers, ascending.
  std::vector<uint64_t> TakeGone(int64_t now_ms);
  bool Alive(uint64_t number) const { return clients_.contains(number); }
  std::vector<std::string> MembersOf(std::string_view group) const;
  int64_t size() const { return static_cast<int64_t>(clients_.size()); }

 private:
  struct Client {
    std::string id;
    bool slow = false;
    int streams = 0;
    int64_t last_call_ms = 0;
    absl::btree_set<std::string> groups;
  };
  Client& Get(const ClientRef& client, int64_t now_ms, uint64_t& number);
  int64_t GoneAt(const Client& client) const;

  const int64_t silence_ms_, slow_silence_ms_;
  absl::btree_map<std::string, uint64_t> numbers_;
  absl::btree_map<uint64_t, Client> clients_;
  uint64_t last_number_ = 0;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_CLIENT_TABLE_H_
