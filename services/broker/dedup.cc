#include "services/broker/dedup.h"

#include <sodium.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"

namespace fulmar::broker {
namespace {

constexpr size_t kExpireSlice = 2000;

}  // namespace

DedupKey MakeDedupKey(std::string_view client_id, std::string_view message_id, std::string_view body_digest) {
  DedupKey key{};
  static_assert(sizeof key >= crypto_generichash_BYTES_MIN);
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, key.size());
  for (const std::string_view part : {client_id, message_id, body_digest}) {
    const uint64_t size = part.size();  // so that no two lists of parts look alike
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(&size), sizeof size);
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(part.data()), part.size());
  }
  crypto_generichash_final(&state, key.data(), key.size());
  return key;
}

std::optional<DedupKey> Dedup::Begin(const Topic& topic, const ClientRef& client, std::string_view message_id,
                                     std::string_view body_digest, Answer answer) {
  const uint32_t topic_id = topic.definition.topic_id;
  const DedupKey key = MakeDedupKey(client.client_id, message_id, body_digest);
  const auto [pending, is_new] = pending_.try_emplace({topic_id, key});
  if (!is_new) {
    if (pending->second.size() < kMaxWaiting) {
      pending->second.push_back(std::move(answer));
    } else {
      std::move(answer)(errors::TooManyRequests(absl::StrCat(kMaxWaiting, " repeats of message '", message_id, "' wait already")));
    }
    return std::nullopt;
  }
  const std::optional<DedupEntry> known = context_.state.dedup().Find(topic_id, key);
  // Store times never go back, also when the clock does.
  const int64_t now_ms = std::max(context_.last_store_ms, absl::ToUnixMillis(context_.env.clock.Now()));
  if (!known || now_ms - known->store_time_ms >= absl::ToInt64Milliseconds(topic.definition.dedup_window)) return key;
  pending_.erase(pending);
  context_.observer().OnDeduplicated(topic.definition.name, 1);
  std::move(answer)(Place{known->queue, known->offset});
  return std::nullopt;
}

void Dedup::End(uint32_t topic_id, const DedupKey& key, const absl::StatusOr<Place>& place) {
  const auto pending = pending_.find({topic_id, key});
  if (pending == pending_.end()) return;
  std::vector<Answer> waiting = std::move(pending->second);
  pending_.erase(pending);
  if (place.ok() && !waiting.empty()) {
    if (const Topic* topic = context_.state.FindTopic(topic_id); topic != nullptr) {
      context_.observer().OnDeduplicated(topic->definition.name, waiting.size());
    }
  }
  for (Answer& answer : waiting) std::move(answer)(place);
}

void Dedup::Expire() {
  const int64_t now_ms = absl::ToUnixMillis(context_.env.clock.Now());
  context_.state.ExpireDedup(kExpireSlice, now_ms);
}

}  // namespace fulmar::broker
