// The ledger's calls on their way through OffsetCore: any thread, then the shard executor while this replica leads.
#include <utility>

#include "services/offset/offset_core.h"

namespace fulmar::offset {

using common::kShardThread;

Ledger::Host OffsetCore::LedgerHost() {
  return {.clock = env_.clock,
          .kv = env_.kv,
          .when_open =
              [this](WithStatus run) {
                kShardThread.AssertHeld(env_.shard);
                if (phase_ != Phase::kLeading) return std::move(run)(refusal_);
                PassGate(std::move(run));
              },
          .append =
              [this](log::RecordType type, std::string body, WithStatus done) {
                kShardThread.AssertHeld(env_.shard);
                Append(type, std::move(body), std::move(done));
              },
          .after =
              [this](absl::Duration pause, absl::AnyInvocable<void() &&> run) {
                env_.shard.After(pause, [this, run = std::move(run)]() mutable {
                  kShardThread.AssertHeld(env_.shard);
                  std::move(run)();
                });
              },
          .leading =
              [this] {
                kShardThread.AssertHeld(env_.shard);
                return phase_ == Phase::kLeading;
              },
          .has_space =
              [this] {
                kShardThread.AssertHeld(env_.shard);
                return !space_exhausted_;
              }};
}

void OffsetCore::LedgerBegin(offset::LedgerBegin begin, index::Done<LedgerBegun> done) {
  WhenLeading([this, begin = std::move(begin), done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (!status.ok()) return std::move(done)(std::move(status));
    ledger_.Begin(std::move(begin), std::move(done));
  });
}

void OffsetCore::LedgerComplete(offset::LedgerComplete complete, index::Done<LedgerEntry> done) {
  WhenLeading([this, complete = std::move(complete), done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (!status.ok()) return std::move(done)(std::move(status));
    ledger_.Complete(std::move(complete), std::move(done));
  });
}

void OffsetCore::LedgerAbandon(std::string group, std::string key, uint64_t token, index::DoneStatus done) {
  WhenLeading([this, group = std::move(group), key = std::move(key), token, done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (!status.ok()) return std::move(done)(std::move(status));
    ledger_.Abandon(std::move(group), std::move(key), token, std::move(done));
  });
}

void OffsetCore::LedgerGet(std::string group, std::string key, index::Done<LedgerEntry> done) {
  WhenLeading([this, group = std::move(group), key = std::move(key), done = std::move(done)](absl::Status status) mutable {
    kShardThread.AssertHeld(env_.shard);
    if (!status.ok()) return std::move(done)(std::move(status));
    ledger_.Get(std::move(group), std::move(key), std::move(done));
  });
}

}  // namespace fulmar::offset
