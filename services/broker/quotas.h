#ifndef FULMAR_BROKER_QUOTAS_H_
#define FULMAR_BROKER_QUOTAS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "services/broker/shard_options.h"
#include "services/index/definitions.h"

namespace fulmar::broker {

// A rate that may be used up at once for one second of it. What is admitted while one is left may overdraw it, so that no message is too
// big to pass; the debt is paid before the next one. Times are milliseconds of the steady clock.
class TokenBucket {
 public:
  // How long until one is left, under a rate of `rate` (> 0) a second. 0: now.
  int64_t WaitMs(uint64_t rate, int64_t now_ms);
  void Take(uint64_t cost, uint64_t rate, int64_t now_ms);
  // Nothing would be lost by forgetting it.
  bool Full(uint64_t rate, int64_t now_ms);

 private:
  void Refill(uint64_t rate, int64_t now_ms);
  double left_ = 0;
  int64_t at_ms_ = -1;  // -1: never used, so full
};

// How much may pass in a second: messages and bytes, sent to one topic, delivered to one group, sent and delivered by one client id. The definition's
// quota counts, else the default of the options; 0: no bound. Each has buckets of its own, so who is over its quota takes nothing from others.
// Memory: one entry for each topic, group and client that used some of a bounded rate in the last seconds.
// Threads: the shard.
class Quotas {
 public:
  explicit Quotas(const ShardOptions& options) : options_(options) {}

  // Takes it, or says who is over its quota and takes nothing. Error: TooManyRequests.
  absl::Status AdmitSend(const index::TopicDefinition& topic, std::string_view client_id, uint64_t messages, uint64_t bytes, int64_t now_ms);
  // A receive that would only wait is refused. Error: TooManyRequests.
  absl::Status AdmitReceive(const index::GroupDefinition& group, std::string_view client_id, int64_t now_ms);
  // How long a group's parked receives must wait before the next is served; 0: now.
  int64_t DeliveryWaitMs(const index::GroupDefinition& group, int64_t now_ms);
  void Delivered(const index::GroupDefinition& group, std::string_view client_id, uint64_t messages, uint64_t bytes, int64_t now_ms);

  // Forgets what is full again; to be called now and then.
  void Sweep(int64_t now_ms);
  size_t size() const { return topics_.size() + groups_.size() + senders_.size() + receivers_.size(); }

 private:
  struct Account {
    TokenBucket messages, bytes;
    index::RateQuota quota;  // of its last use, for Sweep()
  };
  using Accounts = absl::flat_hash_map<std::string, Account>;
  static int64_t WaitMs(Accounts& accounts, std::string_view name, const index::RateQuota& quota, int64_t now_ms);
  static void Take(Accounts& accounts, std::string_view name, const index::RateQuota& quota, uint64_t messages, uint64_t bytes, int64_t now_ms);

  const ShardOptions& options_;
  Accounts topics_, groups_, senders_, receivers_;
};

}  // namespace fulmar::broker

#endif  // FULMAR_BROKER_QUOTAS_H_
