#include "services/offset/ledger.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/common/errors.h"
#include "services/common/status.h"
#include "services/index/definitions.h"
#include "services/index/keys.h"
#include "services/offset/records.h"

namespace fulmar::offset {
namespace {

using log::RecordType;

absl::Status NotYours(std::string_view group, std::string_view key, std::string_view what) {
  return errors::PreconditionFailed(absl::StrCat("key '", key, "' of group '", group, "' ", what));
}

}  // namespace

// ---- checks

absl::Status Ledger::CheckKey(const std::string& group, const std::string& key) const {
  FULMAR_RETURN_IF_ERROR(index::CheckGroupName(group));
  if (key.empty()) return errors::BadRequest("the key is empty");
  if (key.size() > options_.max_key_bytes)
    return errors::BadRequest(absl::StrCat("the key has ", key.size(), " bytes, at most ", options_.max_key_bytes, " are allowed"));
  return absl::OkStatus();
}

absl::Status Ledger::CheckTime(absl::Duration& time, absl::Duration by_default, absl::Duration min, absl::Duration max, std::string_view what) const {
  if (time == absl::ZeroDuration()) time = by_default;
  if (time >= min && time <= max) return absl::OkStatus();
  return errors::BadRequest(absl::StrCat("the ", what, " of ", absl::FormatDuration(time), " is not in ", absl::FormatDuration(min), " to ", absl::FormatDuration(max)));
}

absl::StatusOr<std::optional<LedgerEntry>> Ledger::Find(const Key& key) const {
  const std::optional<std::string> bytes = host_.kv.Get(LedgerKey(key.first, key.second));
  if (!bytes.has_value()) return std::nullopt;
  FULMAR_ASSIGN_OR_RETURN(const index::Stored stored, index::DecodeStored(*bytes));
  FULMAR_ASSIGN_OR_RETURN(LedgerEntry entry, DecodeLedgerEntry(stored.body));
  if (entry.expires_ms <= NowMs()) return std::nullopt;  // the cleaner will come
  return entry;
}

// ---- one change of a key at a time

void Ledger::Enqueue(Key key, Call call) {
  if (waiting_ >= options_.max_waiting)
    return std::move(call.finish)(errors::TooManyRequests(absl::StrCat(waiting_, " calls of the ledger are under way, which is the limit")), std::nullopt);
  ++waiting_;
  std::deque<Call>& line = lines_[key];
  line.push_back(std::move(call));
  if (line.size() == 1) RunFirst(key);
}

void Ledger::RunFirst(const Key& key) {
  host_.when_open([this, key](absl::Status status) {
    Call& call = lines_.find(key)->second.front();
    absl::StatusOr<std::optional<LedgerEntry>> there = status.ok() ? Find(key) : status;
    if (!there.ok()) {
      Finish finish = std::move(call.finish);
      std::move(finish)(there.status(), std::nullopt);
      return EndFirst(key);
    }
    std::optional<Change> change = call.plan(*there);
    if (!change.has_value()) {
      Finish finish = std::move(call.finish);
      std::move(finish)(absl::OkStatus(), *std::move(there));
      return EndFirst(key);
    }
    host_.append(change->type, std::move(change->body), [this, key](absl::Status appended) {
      absl::StatusOr<std::optional<LedgerEntry>> now = appended.ok() ? Find(key) : appended;
      Finish finish = std::move(lines_.find(key)->second.front().finish);
      std::move(finish)(now.status(), now.ok() ? *std::move(now) : std::nullopt);
      EndFirst(key);
    });
  });
}

void Ledger::EndFirst(const Key& key) {
  const auto line = lines_.find(key);
  line->second.pop_front();
  --waiting_;
  if (line->second.empty()) {
    lines_.erase(line);
  } else {
    // Not from inside: a long line of calls that need no record would be as deep.
    host_.after(absl::ZeroDuration(), [this, key] { RunFirst(key); });
  }
}

// ---- calls

void Ledger::Begin(offset::LedgerBegin begin, index::Done<LedgerBegun> done) {
  absl::Status bad = CheckKey(begin.group, begin.key);
  if (bad.ok() && begin.holder.empty()) bad = errors::BadRequest("the holder is missing: a name of this attempt that no other attempt has");
  if (bad.ok() && begin.holder.size() > options_.max_holder_bytes)
    bad = errors::BadRequest(absl::StrCat("the holder has ", begin.holder.size(), " bytes, at most ", options_.max_holder_bytes, " are allowed"));
  if (bad.ok()) bad = CheckTime(begin.lease, options_.default_lease, options_.min_lease, options_.max_lease, "lease");
  if (bad.ok()) bad = CheckTime(begin.ttl, options_.default_ttl, options_.min_ttl, options_.max_ttl, "time to live");
  if (!bad.ok()) return std::move(done)(std::move(bad));

  const auto outcome = std::make_shared<LedgerBegun::Outcome>(LedgerBegun::Outcome::kStarted);
  const auto no_space = std::make_shared<bool>(false);
  Plan plan = [this, begin, outcome, no_space](std::optional<LedgerEntry> there) -> std::optional<Change> {
    const int64_t now_ms = NowMs();
    LedgerEntry entry;
    if (there.has_value() && there->state == LedgerEntry::State::kCompleted) {
      *outcome = LedgerBegun::Outcome::kCompleted;
      return std::nullopt;
    }
    if (there.has_value() && there->holder == begin.holder) {  // its answer was lost, or it wants more time
      entry.token = there->token;
    } else if (there.has_value() && there->lease_until_ms > now_ms) {
      *outcome = LedgerBegun::Outcome::kHeld;
      return std::nullopt;
    }
    if (!host_.has_space()) {
      *no_space = true;
      return std::nullopt;
    }
    entry.group = begin.group;
    entry.key = begin.key;
    entry.holder = begin.holder;
    entry.lease_until_ms = now_ms + absl::ToInt64Milliseconds(begin.lease);
    entry.expires_ms = entry.lease_until_ms + absl::ToInt64Milliseconds(begin.ttl);
    return Change{RecordType::kLedgerEntry, Encode(entry)};
  };
  Key key(begin.group, begin.key);
  Enqueue(std::move(key), {std::move(plan), [this, outcome, no_space, done = std::move(done)](absl::Status status, std::optional<LedgerEntry> entry) mutable {
                             if (status.ok() && *no_space) status = errors::TooManyRequests("the offset service's disk is full");
                             if (!status.ok()) return std::move(done)(std::move(status));
                             if (!entry.has_value()) return std::move(done)(absl::UnavailableError("the entry ended while it was begun"));
                             switch (*outcome) {
                               case LedgerBegun::Outcome::kStarted: ++counts_.started; break;
                               case LedgerBegun::Outcome::kHeld: ++counts_.held; break;
                               case LedgerBegun::Outcome::kCompleted: ++counts_.repeated; break;
                             }
                             std::move(done)(LedgerBegun{*outcome, *std::move(entry)});
                           }});
}

void Ledger::Complete(offset::LedgerComplete complete, index::Done<LedgerEntry> done) {
  absl::Status bad = CheckKey(complete.group, complete.key);
  if (bad.ok() && complete.result.size() > options_.max_result_bytes)
    bad = errors::BadRequest(absl::StrCat("the result has ", complete.result.size(), " bytes, at most ", options_.max_result_bytes, " are allowed"));
  if (bad.ok()) bad = CheckTime(complete.ttl, options_.default_ttl, options_.min_ttl, options_.max_ttl, "time to live");
  if (!bad.ok()) return std::move(done)(std::move(bad));

  const auto refused = std::make_shared<absl::Status>();
  Plan plan = [this, complete, refused](std::optional<LedgerEntry> there) -> std::optional<Change> {
    if (!there.has_value()) {
      *refused = NotYours(complete.group, complete.key, "is not begun");
    } else if (there->token != complete.token) {
      *refused = NotYours(complete.group, complete.key, absl::StrCat("has token ", there->token, ", not ", complete.token));
    } else if (there->state == LedgerEntry::State::kBegun) {  // else a repeat: as it was
      const int64_t now_ms = NowMs();
      there->state = LedgerEntry::State::kCompleted;
      there->completed_ms = now_ms;
      there->lease_until_ms = 0;
      there->expires_ms = now_ms + absl::ToInt64Milliseconds(complete.ttl);
      there->result = complete.result;
      return Change{RecordType::kLedgerEntry, Encode(*there)};
    }
    return std::nullopt;
  };
  Key key(complete.group, complete.key);
  Enqueue(std::move(key), {std::move(plan), [this, refused, done = std::move(done)](absl::Status status, std::optional<LedgerEntry> entry) mutable {
                             if (status.ok()) status = *refused;
                             if (status.ok() && !entry.has_value()) status = absl::UnavailableError("the entry ended while it was completed");
                             ++(status.ok() ? counts_.completed : counts_.refused);
                             if (!status.ok()) return std::move(done)(std::move(status));
                             std::move(done)(*std::move(entry));
                           }});
}

void Ledger::Abandon(std::string group, std::string key, uint64_t token, index::DoneStatus done) {
  if (absl::Status bad = CheckKey(group, key); !bad.ok()) return std::move(done)(std::move(bad));
  const auto refused = std::make_shared<absl::Status>();
  Plan plan = [group, key, token, refused](std::optional<LedgerEntry> there) -> std::optional<Change> {
    if (!there.has_value()) return std::nullopt;
    if (there->token != token) *refused = NotYours(group, key, absl::StrCat("has token ", there->token, ", not ", token));
    else if (there->state == LedgerEntry::State::kCompleted) *refused = NotYours(group, key, "is completed");
    if (!refused->ok()) return std::nullopt;
    return Change{RecordType::kLedgerRemoved, Encode(LedgerRemoval{{{group, key, there->token, there->expires_ms}}})};
  };
  Enqueue({group, key}, {std::move(plan), [this, refused, done = std::move(done)](absl::Status status, std::optional<LedgerEntry>) mutable {
                           if (status.ok()) status = *refused;
                           ++(status.ok() ? counts_.abandoned : counts_.refused);
                           std::move(done)(std::move(status));
                         }});
}

// As of what is applied, and a change is answered when it is: who asks after an answer sees what was answered.
void Ledger::Get(std::string group, std::string key, index::Done<LedgerEntry> done) {
  if (absl::Status bad = CheckKey(group, key); !bad.ok()) return std::move(done)(std::move(bad));
  const absl::StatusOr<std::optional<LedgerEntry>> entry = Find({group, key});
  if (!entry.ok()) return std::move(done)(entry.status());
  if (!entry->has_value()) return std::move(done)(errors::NotFound(absl::StrCat("the ledger of group '", group, "' has no key '", key, "'")));
  std::move(done)(**entry);
}

// ---- what is over

void Ledger::StartCleaning() { CleanLater(options_.cleanup_interval); }

void Ledger::CleanLater(absl::Duration pause) {
  host_.after(pause, [this] { Clean(); });
}

void Ledger::Clean() {
  if (!host_.leading()) return CleanLater(options_.cleanup_interval);
  const int64_t now_ms = NowMs();
  LedgerRemoval removal;
  bool more = false;
  {
    const auto it = host_.kv.Scan(std::string(1, kLedgerEndKind), std::string(1, kLedgerEndKind + 1));
    // Keys that a call is changing are left for the next time, and bounded like what is removed.
    for (size_t looked = 0; it->Valid(); it->Next(), ++looked) {
      const absl::StatusOr<LedgerEnd> end = DecodeLedgerEndKey(it->key());
      if (!end.ok() || end->expires_ms > now_ms) break;
      if (looked == options_.cleanup_slice) {
        more = true;
        break;
      }
      if (lines_.contains({end->group, end->key})) continue;
      const std::optional<std::string> bytes = host_.kv.Get(LedgerKey(end->group, end->key));
      if (!bytes.has_value()) continue;
      const auto stored = index::DecodeStored(*bytes);
      const auto entry = stored.ok() ? DecodeLedgerEntry(stored->body) : stored.status();
      if (entry.ok()) removal.items.push_back({end->group, end->key, entry->token, end->expires_ms});
    }
  }
  if (removal.items.empty()) return CleanLater(options_.cleanup_interval);
  counts_.removed += removal.items.size();
  host_.when_open([this, more, body = Encode(removal)](absl::Status status) mutable {
    if (!status.ok()) return CleanLater(options_.cleanup_interval);
    host_.append(RecordType::kLedgerRemoved, std::move(body), [this, more](absl::Status appended) {
      CleanLater(more && appended.ok() ? absl::ZeroDuration() : options_.cleanup_interval);
    });
  });
}

}  // namespace fulmar::offset
