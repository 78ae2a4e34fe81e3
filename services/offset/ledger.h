#ifndef FULMAR_OFFSET_LEDGER_H_
#define FULMAR_OFFSET_LEDGER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/common/clock.h"
#include "services/index/kv_store.h"
#include "services/index/ports.h"
#include "services/log/replicated_log.h"
#include "services/offset/ledger_records.h"

namespace fulmar::offset {

struct LedgerOptions {
  absl::Duration default_lease = absl::Minutes(1), min_lease = absl::Seconds(1), max_lease = absl::Hours(12);
  absl::Duration default_ttl = absl::Hours(7 * 24), min_ttl = absl::Seconds(1), max_ttl = absl::Hours(90 * 24);
  size_t max_key_bytes = 256, max_holder_bytes = 256, max_result_bytes = 4096;
  size_t max_waiting = 10000;   // calls whose key another call is changing; more are refused with TooManyRequests
  absl::Duration cleanup_interval = absl::Seconds(1);
  size_t cleanup_slice = 512;   // entries that one record removes; between two slices others get their turn
};

struct LedgerBegin {
  std::string group, key;
  std::string holder;      // one attempt of one consumer; the same one that begins again keeps its token and gets a new lease
  absl::Duration lease;    // zero: the default
  absl::Duration ttl;      // zero: the default
};
struct LedgerBegun {
  enum class Outcome { kStarted, kHeld, kCompleted };
  Outcome outcome = Outcome::kStarted;
  LedgerEntry entry;  // of the caller, of who holds it, or of who completed it
};
struct LedgerComplete {
  std::string group, key;
  uint64_t token = 0;
  std::string result;  // kept with the entry
  absl::Duration ttl;  // from now on; zero: the default
};

// The ledger as others see it. Callbacks run exactly once, never inside the call.
class LedgerStore {
 public:
  virtual ~LedgerStore() = default;
  // Errors of all: IllegalConsumerGroup, BadRequest (a limit), TooManyRequests, Unavailable (no leader: repeat the same call).
  virtual void LedgerBegin(offset::LedgerBegin begin, index::Done<LedgerBegun> done) = 0;
  // PreconditionFailed: the key is not begun, or by another token: its effect must be undone, or have been refused by its own transaction.
  virtual void LedgerComplete(offset::LedgerComplete complete, index::Done<LedgerEntry> done) = 0;
  // The key may be begun again at once. OK when it is not begun (any more). PreconditionFailed: another token's, or completed.
  virtual void LedgerAbandon(std::string group, std::string key, uint64_t token, index::DoneStatus done) = 0;
  // NotFound: never begun, abandoned, or its time to live is over.
  virtual void LedgerGet(std::string group, std::string key, index::Done<LedgerEntry> done) = 0;
};

// The consumption ledger: for each (group, key) at most one valid holder, and nobody any more once it is completed.
//
//               Begin                       Complete(token)
//   (nothing) ─────────► begun until lease ─────────────────► completed ──── TTL ───► (nothing)
//        ▲                 │      │  ▲ Begin: by the same holder at once, with its token;
//        └─────────────────┘      └──┘        by others after the lease, with a greater token
//          Abandon(token), TTL
//
// A token is greater than every token given before it, of any key: it is the position in the log of the record that gave it. What to do is
// decided here by the leader, one change of a key at a time; a record says the whole new entry. Entries live in the store, nothing in memory but
// calls that are under way. What is over is removed in slices, by records.
// Borrows: everything given. Threads: the shard executor.
class Ledger {
 public:
  struct Host {
    common::Clock& clock;
    const index::KvStore& kv;  // as of what is applied
    // Runs it when a record may be appended, maybe at once; not OK: with the reason why never.
    std::function<void(absl::AnyInvocable<void(absl::Status) &&>)> when_open;
    // Done: applied, or (maybe) not.
    std::function<void(log::RecordType, std::string body, absl::AnyInvocable<void(absl::Status) &&>)> append;
    std::function<void(absl::Duration, absl::AnyInvocable<void() &&>)> after;
    std::function<bool()> leading;
    std::function<bool()> has_space;  // else nothing new is begun; what is begun may be completed
  };
  Ledger(LedgerOptions options, Host host) : options_(options), host_(std::move(host)) {}

  // Begins to remove what is over, for ever.
  void StartCleaning();

  void Begin(offset::LedgerBegin begin, index::Done<LedgerBegun> done);
  void Complete(offset::LedgerComplete complete, index::Done<LedgerEntry> done);
  void Abandon(std::string group, std::string key, uint64_t token, index::DoneStatus done);
  void Get(std::string group, std::string key, index::Done<LedgerEntry> done);

  struct Counts {
    uint64_t started = 0, held = 0, repeated = 0, completed = 0, abandoned = 0, refused = 0, removed = 0;
  };
  const Counts& counts() const { return counts_; }
  size_t waiting() const { return waiting_; }

 private:
  using Key = std::pair<std::string, std::string>;  // group, key
  struct Change {
    log::RecordType type;
    std::string body;
  };
  // What becomes of a call, given the entry as it is now: an answer at once (nothing), or a change and then the answer of Finish.
  using Plan = absl::AnyInvocable<std::optional<Change>(std::optional<LedgerEntry> now_there)>;
  // The status of the append; when OK, the entry that is there then.
  using Finish = absl::AnyInvocable<void(absl::Status, std::optional<LedgerEntry>) &&>;
  struct Call {
    Plan plan;
    Finish finish;
  };

  absl::Status CheckKey(const std::string& group, const std::string& key) const;
  absl::Status CheckTime(absl::Duration& time, absl::Duration by_default, absl::Duration min, absl::Duration max, std::string_view what) const;
  int64_t NowMs() const { return absl::ToUnixMillis(host_.clock.Now()); }
  // Null: never there, or over.
  absl::StatusOr<std::optional<LedgerEntry>> Find(const Key& key) const;
  void Enqueue(Key key, Call call);
  void RunFirst(const Key& key);
  void EndFirst(const Key& key);
  void CleanLater(absl::Duration pause);
  void Clean();

  const LedgerOptions options_;
  const Host host_;
  std::map<Key, std::deque<Call>> lines_;  // the first of each is under way
  size_t waiting_ = 0;
  Counts counts_;
};

}  // namespace fulmar::offset

#endif  // FULMAR_OFFSET_LEDGER_H_
