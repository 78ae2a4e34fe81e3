#include "services/broker/quotas.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"

namespace fulmar::broker {
namespace {

bool Bounded(const index::RateQuota& quota) { return quota.messages > 0 || quota.bytes > 0; }

index::RateQuota Either(const index::RateQuota& own, const index::RateQuota& by_default) {
  return {.messages = own.messages > 0 ? own.messages : by_default.messages, .bytes = own.bytes > 0 ? own.bytes : by_default.bytes};
}

absl::Status Over(std::string_view who, std::string_view name, const index::RateQuota& quota, int64_t wait_ms) {
  const auto text = [](uint64_t rate) { return rate == 0 ? std::string("any number of") : absl::StrCat(rate); };
  return errors::TooManyRequests(absl::StrCat(who, " '", name, "' is over its quota of ", text(quota.messages), " messages and ", text(quota.bytes),
                                              " bytes a second; try again in ", wait_ms, " ms"));
}

}  // namespace

void TokenBucket::Refill(uint64_t rate, int64_t now_ms) {
  const double whole = static_cast<double>(rate);
  if (at_ms_ < 0) {
    left_ = whole;
  } else {
    left_ = std::min(whole, left_ + whole * static_cast<double>(std::max<int64_t>(0, now_ms - at_ms_)) / 1000);
  }
  at_ms_ = std::max(at_ms_, now_ms);
}

int64_t TokenBucket::WaitMs(uint64_t rate, int64_t now_ms) {
  Refill(rate, now_ms);
  if (left_ > 0.999999) return 0;  // the sum of many small refills
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil((1 - left_) * 1000 / static_cast<double>(rate))));
}

void TokenBucket::Take(uint64_t cost, uint64_t rate, int64_t now_ms) {
  Refill(rate, now_ms);
  left_ -= static_cast<double>(cost);
}

bool TokenBucket::Full(uint64_t rate, int64_t now_ms) {
  Refill(rate, now_ms);
  return left_ >= static_cast<double>(rate);
}

int64_t Quotas::WaitMs(Accounts& accounts, std::string_view name, const index::RateQuota& quota, int64_t now_ms) {
  if (!Bounded(quota)) return 0;
  const auto it = accounts.find(name);
  if (it == accounts.end()) return 0;
  return std::max(quota.messages > 0 ? it->second.messages.WaitMs(quota.messages, now_ms) : 0,
                  quota.bytes > 0 ? it->second.bytes.WaitMs(quota.bytes, now_ms) : 0);
}

void Quotas::Take(Accounts& accounts, std::string_view name, const index::RateQuota& quota, uint64_t messages, uint64_t bytes,
                  int64_t now_ms) {
  if (!Bounded(quota)) return;
  Account& account = accounts.try_emplace(name).first->second;
  account.quota = quota;
  if (quota.messages > 0) account.messages.Take(messages, quota.messages, now_ms);
  if (quota.bytes > 0) account.bytes.Take(bytes, quota.bytes, now_ms);
}

absl::Status Quotas::AdmitSend(const index::TopicDefinition& topic, std::string_view client_id, uint64_t messages, uint64_t bytes,
                               int64_t now_ms) {
  const index::RateQuota of_topic = Either(topic.quota, options_.topic_quota);
  if (const int64_t wait = WaitMs(topics_, topic.name, of_topic, now_ms); wait > 0) return Over("topic", topic.name, of_topic, wait);
  const index::RateQuota& of_client = options_.client_quota;
  if (const int64_t wait = WaitMs(senders_, client_id, of_client, now_ms); wait > 0) return Over("client", client_id, of_client, wait);
  Take(topics_, topic.name, of_topic, messages, bytes, now_ms);
  Take(senders_, client_id, of_client, messages, bytes, now_ms);
  return absl::OkStatus();
}

absl::Status Quotas::AdmitReceive(const index::GroupDefinition& group, std::string_view client_id, int64_t now_ms) {
  if (const int64_t wait = DeliveryWaitMs(group, now_ms); wait > 0) {
    return Over("group", group.name, Either(group.quota, options_.group_quota), wait);
  }
  const index::RateQuota& of_client = options_.client_quota;
  if (const int64_t wait = WaitMs(receivers_, client_id, of_client, now_ms); wait > 0) return Over("client", client_id, of_client, wait);
  return absl::OkStatus();
}

int64_t Quotas::DeliveryWaitMs(const index::GroupDefinition& group, int64_t now_ms) {
  return WaitMs(groups_, group.name, Either(group.quota, options_.group_quota), now_ms);
}

void Quotas::Delivered(const index::GroupDefinition& group, std::string_view client_id, uint64_t messages, uint64_t bytes, int64_t now_ms) {
  Take(groups_, group.name, Either(group.quota, options_.group_quota), messages, bytes, now_ms);
  Take(receivers_, client_id, options_.client_quota, messages, bytes, now_ms);
}

void Quotas::Sweep(int64_t now_ms) {
  for (Accounts* accounts : {&topics_, &groups_, &senders_, &receivers_}) {
    absl::erase_if(*accounts, [now_ms](auto& entry) {
      Account& account = entry.second;
      return (account.quota.messages == 0 || account.messages.Full(account.quota.messages, now_ms)) &&
             (account.quota.bytes == 0 || account.bytes.Full(account.quota.bytes, now_ms));
    });
  }
}

}  // namespace fulmar::broker
