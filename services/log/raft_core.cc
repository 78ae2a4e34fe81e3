#include "services/log/raft_core.h"

#include <string>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "fulmar_raft_engine.h"
#include "services/common/status.h"

namespace fulmar::log {
namespace {

// src/abi.rs asserts the same numbers.
static_assert(sizeof(FreEntry) == 56);
static_assert(sizeof(FreEntryRef) == 24);
static_assert(sizeof(FreMessage) == 56);
static_assert(sizeof(FreConfState) == 72);
static_assert(sizeof(FreReady) == 232);
static_assert(sizeof(FreStatus) == 72);
static_assert(sizeof(FrePeer) == 40);
static_assert(sizeof(FreConfChange) == 40);
static_assert(sizeof(FreLogLine) == 24);
static_assert(sizeof(FreOptions) == 64);
static_assert(sizeof(FreStored) == 128);

uint64_t Raw(LogIndex index) { return static_cast<uint64_t>(index.value); }
uint64_t Raw(Term term) { return static_cast<uint64_t>(term.value); }
LogIndex ToIndex(uint64_t raw) { return {static_cast<int64_t>(raw)}; }
Term ToTerm(uint64_t raw) { return {static_cast<int64_t>(raw)}; }

FreBytes Raw(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }
std::string ToString(FreBytes bytes) { return {reinterpret_cast<const char*>(bytes.data), bytes.size}; }

FreIds Raw(const std::vector<uint64_t>& ids) { return {ids.data(), ids.size()}; }
std::vector<uint64_t> ToIds(FreIds ids) { return {ids.data, ids.data + ids.size}; }

FreConfState Raw(const RaftConfState& from) {
  return {Raw(from.voters), Raw(from.learners), Raw(from.voters_outgoing), Raw(from.learners_next), from.auto_leave, 0};
}

RaftConfState ToConfState(const FreConfState& from) {
  return {ToIds(from.voters), ToIds(from.learners), ToIds(from.voters_outgoing), ToIds(from.learners_next),
          from.auto_leave != 0};
}

FreHandle Raw(const RaftHandle& from) { return {from.payload_bytes, from.payload_crc, from.extra}; }

FreEntry Raw(const RaftEntry& from) {
  const auto kind = static_cast<uint32_t>(from.kind);
  return {Raw(from.index), Raw(from.term), Raw(from.handle), Raw(from.conf_change), kind, 0};
}

RaftEntry ToEntry(const FreEntry& from) {
  const RaftHandle handle{from.handle.payload_bytes, from.handle.payload_crc, from.handle.extra};
  return {ToIndex(from.index), ToTerm(from.term), static_cast<RaftEntryKind>(from.kind), handle,
          ToString(from.conf_change)};
}

RaftMessage ToMessage(const FreMessage& from) {
  RaftMessage to{from.to, ToString(from.bytes), {}, ToIndex(from.snapshot_index)};
  to.entries.reserve(from.entries_size);
  for (size_t i = 0; i < from.entries_size; ++i) {
    const FreEntryRef& entry = from.entries[i];
    to.entries.push_back({ToIndex(entry.index), ToTerm(entry.term), static_cast<RaftEntryKind>(entry.kind),
                          entry.payload_bytes});
  }
  return to;
}

FreOptions Raw(const RaftOptions& from) {
  return {.id = from.node_id,
          .election_seed = from.election_seed,
          .applied = Raw(from.applied),
          .max_message_payload_bytes = from.max_message_payload_bytes,
          .max_ready_payload_bytes = from.max_ready_payload_bytes,
          .election_tick = from.election_ticks,
          .heartbeat_tick = from.heartbeat_ticks,
          .max_inflight = from.max_inflight,
          .check_quorum = from.check_quorum,
          .pre_vote = from.pre_vote,
          .log_level = static_cast<uint32_t>(from.log_level)};
}

absl::Status MakeStatus(int32_t code, std::string_view text) {
  switch (code) {
    case FRE_OK:
      return absl::OkStatus();
    case FRE_INVALID:
      return absl::InvalidArgumentError(text);
    case FRE_NOT_LEADER:
    case FRE_UNAVAILABLE:
      return absl::UnavailableError(text);
    case FRE_DATA_LOSS:
      return absl::DataLossError(text);
    case FRE_NOT_FOUND:
      return absl::NotFoundError(text);
    default:
      // FRE_MISUSE, FRE_PANIC: nothing that the engine says from here on can be trusted.
      FULMAR_CHECK(false, text);
  }
  return absl::InternalError(text);
}

template <class To, class From, class Convert>
void Fill(std::vector<To>& to, const From* from, size_t size, Convert convert) {
  to.reserve(size);
  for (size_t i = 0; i < size; ++i) to.push_back(convert(from[i]));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RaftCore>> RaftCore::Open(const RaftOptions& options, const RaftStored& stored) {
  std::vector<FreEntry> entries;
  Fill(entries, stored.entries.data(), stored.entries.size(), [](const RaftEntry& entry) { return Raw(entry); });
  const FreStored raw_stored = {
      .hard_state = {Raw(stored.hard_state.term), stored.hard_state.vote, Raw(stored.hard_state.commit)},
      .conf_state = Raw(stored.conf_state),
      .compacted_index = Raw(stored.compacted),
      .compacted_term = Raw(stored.compacted_term),
      .entries = entries.data(),
      .entries_size = entries.size()};
  const FreOptions raw_options = Raw(options);

  FreNode* node = nullptr;
  char error[512] = "";
  const int32_t code = fre_open(&raw_options, &raw_stored, &node, error, sizeof(error));
  if (code != FRE_OK) return MakeStatus(code, error);
  return absl::WrapUnique(new RaftCore(node));
}

RaftCore::~RaftCore() { fre_close(node_); }

absl::Status RaftCore::ToStatus(int32_t code) const {
  if (code == FRE_OK) [[likely]] return absl::OkStatus();
  return MakeStatus(code, ToString(fre_error(node_)));
}

// For calls that fail only when we broke their rules.
void RaftCore::Must(int32_t code) const { FULMAR_CHECK(code == FRE_OK, ToString(fre_error(node_))); }

void RaftCore::Tick() { Must(fre_tick(node_)); }

absl::Status RaftCore::Campaign() { return ToStatus(fre_campaign(node_)); }

absl::StatusOr<RaftCore::Place> RaftCore::Propose(const RaftHandle& handle) {
  uint64_t index = 0, term = 0;
  FULMAR_RETURN_IF_ERROR(ToStatus(fre_propose(node_, Raw(handle), &index, &term)));
  return Place{ToIndex(index), ToTerm(term)};
}

absl::StatusOr<RaftCore::Place> RaftCore::ProposeConfChange(const RaftConfChange& change) {
  std::vector<FreConfChangeItem> items;
  Fill(items, change.items.data(), change.items.size(), [](const RaftConfChange::Item& item) {
    return FreConfChangeItem{item.node, static_cast<uint32_t>(item.type), 0};
  });
  const FreConfChange raw = {items.data(), items.size(), Raw(change.context), change.explicit_leave, 0};
  uint64_t index = 0, term = 0;
  FULMAR_RETURN_IF_ERROR(ToStatus(fre_propose_conf_change(node_, &raw, &index, &term)));
  return Place{ToIndex(index), ToTerm(term)};
}

absl::Status RaftCore::Step(std::string_view message) { return ToStatus(fre_step(node_, Raw(message))); }

bool RaftCore::HasReady() const {
  uint32_t has_ready = 0;
  Must(fre_has_ready(node_, &has_ready));
  return has_ready != 0;
}

RaftReady RaftCore::TakeReady() {
  FreReady raw;
  Must(fre_take_ready(node_, &raw));
  RaftReady ready;
  ready.number = raw.number;
  ready.must_persist = raw.must_persist != 0;
  if (raw.has_hard_state != 0) {
    ready.hard_state = {ToTerm(raw.hard_state.term), raw.hard_state.vote, ToIndex(raw.hard_state.commit)};
  }
  if (raw.has_snapshot != 0) {
    ready.snapshot = {ToIndex(raw.snapshot_index), ToTerm(raw.snapshot_term), ToConfState(raw.snapshot_conf_state)};
  }
  if (raw.has_soft_state != 0) ready.soft_state = {static_cast<RaftRole>(raw.role), raw.leader};
  Fill(ready.entries, raw.entries, raw.entries_size, ToEntry);
  Fill(ready.messages, raw.messages, raw.messages_size, ToMessage);
  Fill(ready.committed, raw.committed, raw.committed_size, ToEntry);
  Fill(ready.read_states, raw.read_states, raw.read_states_size, [](const FreReadState& state) {
    return RaftReadState{ToIndex(state.index), ToString(state.context)};
  });
  Fill(ready.snapshots_wanted, raw.snapshots_wanted, raw.snapshots_wanted_size, [](const FreSnapshotWanted& wanted) {
    return RaftSnapshotWanted{wanted.peer, ToIndex(wanted.at_least_index)};
  });
  return ready;
}

void RaftCore::OnPersistReady(uint64_t number) { Must(fre_on_persist_ready(node_, number)); }

void RaftCore::AdvanceApplied(LogIndex index) { Must(fre_advance_applied(node_, Raw(index))); }

absl::StatusOr<RaftConfState> RaftCore::ApplyConfChange(std::string_view conf_change) {
  FreConfState raw;
  FULMAR_RETURN_IF_ERROR(ToStatus(fre_apply_conf_change(node_, Raw(conf_change), &raw)));
  return ToConfState(raw);
}

absl::StatusOr<RaftConfChange> RaftCore::DecodeConfChange(std::string_view conf_change) const {
  FreConfChange raw;
  FULMAR_RETURN_IF_ERROR(ToStatus(fre_decode_conf_change(node_, Raw(conf_change), &raw)));
  RaftConfChange change;
  Fill(change.items, raw.items, raw.items_size, [](const FreConfChangeItem& item) {
    return RaftConfChange::Item{static_cast<RaftConfChange::Type>(item.type), item.node};
  });
  change.context = ToString(raw.context);
  change.explicit_leave = raw.explicit_leave != 0;
  return change;
}

absl::Status RaftCore::TransferLeader(uint64_t node) { return ToStatus(fre_transfer_leader(node_, node)); }

absl::Status RaftCore::ReadIndex(std::string_view context) { return ToStatus(fre_read_index(node_, Raw(context))); }

void RaftCore::Compact(LogIndex index) { Must(fre_compact(node_, Raw(index))); }

void RaftCore::ProvideSnapshot(LogIndex index, const RaftConfState& conf_state) {
  const FreConfState raw = Raw(conf_state);
  Must(fre_provide_snapshot(node_, Raw(index), &raw));
}

void RaftCore::WithdrawSnapshot() { Must(fre_withdraw_snapshot(node_)); }

void RaftCore::ReportSnapshot(uint64_t node, bool delivered) { Must(fre_report_snapshot(node_, node, delivered)); }

void RaftCore::ReportUnreachable(uint64_t node) { Must(fre_report_unreachable(node_, node)); }

RaftStatus RaftCore::Status() const {
  FreStatus raw;
  Must(fre_status(node_, &raw));
  return {.term = ToTerm(raw.term),
          .vote = raw.vote,
          .leader = raw.leader,
          .role = static_cast<RaftRole>(raw.role),
          .first_index = ToIndex(raw.first_index),
          .last_index = ToIndex(raw.last_index),
          .persisted = ToIndex(raw.persisted),
          .committed = ToIndex(raw.committed),
          .applied = ToIndex(raw.applied)};
}

std::vector<RaftPeer> RaftCore::Peers() const {
  const FrePeer* raw = nullptr;
  size_t size = 0;
  Must(fre_peers(node_, &raw, &size));
  std::vector<RaftPeer> peers;
  Fill(peers, raw, size, [](const FrePeer& peer) {
    return RaftPeer{.id = peer.id,
                    .voter = peer.voter != 0,
                    .recently_active = peer.recently_active != 0,
                    .matched = ToIndex(peer.matched),
                    .next = ToIndex(peer.next),
                    .state = static_cast<RaftPeer::State>(peer.state),
                    .pending_snapshot = ToIndex(peer.pending_snapshot)};
  });
  return peers;
}

RaftConfState RaftCore::ConfState() const {
  FreConfState raw;
  Must(fre_conf_state(node_, &raw));
  return ToConfState(raw);
}

std::optional<Term> RaftCore::TermOf(LogIndex index) const {
  uint64_t term = 0;
  const int32_t code = fre_term(node_, Raw(index), &term);
  if (code == FRE_NOT_FOUND) return std::nullopt;
  Must(code);
  return ToTerm(term);
}

std::vector<RaftLogLine> RaftCore::TakeLogLines(uint64_t* dropped) {
  const FreLogLine* raw = nullptr;
  size_t size = 0;
  uint64_t lost = 0;
  Must(fre_take_log_lines(node_, &raw, &size, &lost));
  if (dropped != nullptr) *dropped = lost;
  std::vector<RaftLogLine> lines;
  Fill(lines, raw, size, [](const FreLogLine& line) {
    return RaftLogLine{static_cast<RaftOptions::LogLevel>(line.level), ToString(line.text)};
  });
  return lines;
}

}  // namespace fulmar::log
