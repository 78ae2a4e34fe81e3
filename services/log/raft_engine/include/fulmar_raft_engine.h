#ifndef FULMAR_RAFT_ENGINE_H_
#define FULMAR_RAFT_ENGINE_H_

// The C ABI of the Raft engine (Rust, crate raft_engine). Only services/log/raft_core.cc includes this; everyone else uses
// RaftCore. See README.md beside this folder for the rules; in short:
//
//   - One node is used by one thread at a time. Nothing calls back.
//   - Functions return a FreCode; for a code other than FRE_OK, fre_error() says why.
//   - Pointers that a function hands out belong to the node and live until the next call with that node.
//   - Pointers that a function takes are only read during the call. A pointer with length 0 may be null.
//   - fre_close() releases everything that fre_open() made; nothing else needs freeing.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct FreNode FreNode;

typedef enum FreCode {
  FRE_OK = 0,
  FRE_INVALID = 1,      // bytes or arguments that nobody should have sent; the state did not change
  FRE_NOT_LEADER = 2,   // only the leader can do this
  FRE_UNAVAILABLE = 3,  // not now; try again after the next state change
  FRE_MISUSE = 4,       // the caller broke the order of calls
  FRE_DATA_LOSS = 5,    // what is stored contradicts itself or what a peer knows
  FRE_NOT_FOUND = 6,    // no such peer
  FRE_PANIC = 7,        // a bug in the engine; every later call answers this
} FreCode;

typedef enum FreEntryKind { FRE_PAYLOAD = 0, FRE_CONF_CHANGE = 1, FRE_TERM_START = 2 } FreEntryKind;
typedef enum FreRole { FRE_FOLLOWER = 0, FRE_CANDIDATE = 1, FRE_LEADER = 2, FRE_PRE_CANDIDATE = 3 } FreRole;
typedef enum FrePeerState { FRE_PROBE = 0, FRE_REPLICATE = 1, FRE_SNAPSHOT = 2 } FrePeerState;

typedef struct FreBytes {
  const uint8_t* data;
  size_t size;
} FreBytes;

typedef struct FreIds {
  const uint64_t* data;
  size_t size;
} FreIds;

typedef struct FreHandle {
  uint32_t payload_bytes;
  uint32_t payload_crc;
  uint64_t extra;
} FreHandle;

typedef struct FreEntry {
  uint64_t index;
  uint64_t term;
  FreHandle handle;    // FRE_PAYLOAD
  FreBytes conf_change;  // FRE_CONF_CHANGE
  uint32_t kind;       // FreEntryKind
  uint32_t reserved;
} FreEntry;

typedef struct FreEntryRef {
  uint64_t index;
  uint64_t term;
  uint32_t kind;  // FreEntryKind
  uint32_t payload_bytes;
} FreEntryRef;

typedef struct FreMessage {
  uint64_t to;
  FreBytes bytes;
  const FreEntryRef* entries;  // of an append message
  size_t entries_size;
  uint64_t snapshot_index;  // of a snapshot message, else 0
  uint32_t type;            // raft-rs's MessageType
  uint32_t reserved;
} FreMessage;

typedef struct FreHardState {
  uint64_t term;
  uint64_t vote;
  uint64_t commit;
} FreHardState;

typedef struct FreConfState {
  FreIds voters;
  FreIds learners;
  FreIds voters_outgoing;
  FreIds learners_next;
  uint32_t auto_leave;
  uint32_t reserved;
} FreConfState;

typedef struct FreReadState {
  uint64_t index;
  FreBytes context;
} FreReadState;

typedef struct FreSnapshotWanted {
  uint64_t peer;
  uint64_t at_least_index;
} FreSnapshotWanted;

typedef struct FreReady {
  uint64_t number;
  uint32_t must_persist;
  uint32_t has_hard_state;
  uint32_t has_soft_state;
  uint32_t has_snapshot;
  FreHardState hard_state;
  uint64_t leader;  // soft state
  uint32_t role;    // soft state, FreRole
  uint32_t reserved;
  uint64_t snapshot_index;
  uint64_t snapshot_term;
  FreConfState snapshot_conf_state;
  const FreEntry* entries;
  size_t entries_size;
  const FreMessage* messages;
  size_t messages_size;
  const FreEntry* committed;
  size_t committed_size;
  const FreReadState* read_states;
  size_t read_states_size;
  const FreSnapshotWanted* snapshots_wanted;
  size_t snapshots_wanted_size;
} FreReady;

typedef struct FreStatus {
  uint64_t term;
  uint64_t vote;
  uint64_t leader;
  uint64_t first_index;
  uint64_t last_index;
  uint64_t persisted;
  uint64_t committed;
  uint64_t applied;
  uint32_t role;  // FreRole
  uint32_t reserved;
} FreStatus;

typedef struct FrePeer {
  uint64_t id;
  uint64_t matched;
  uint64_t next;
  uint64_t pending_snapshot;
  uint32_t state;  // FrePeerState
  uint8_t voter;
  uint8_t recently_active;
  uint8_t reserved[2];
} FrePeer;

typedef struct FreConfChangeItem {
  uint64_t node;
  uint32_t type;  // raft-rs's ConfChangeType: 0 add voter, 1 remove, 2 add learner
  uint32_t reserved;
} FreConfChangeItem;

typedef struct FreConfChange {
  const FreConfChangeItem* items;
  size_t items_size;
  FreBytes context;
  uint32_t explicit_leave;
  uint32_t reserved;
} FreConfChange;

typedef struct FreLogLine {
  uint32_t level;  // 1 critical, 2 error, 3 warning, 4 info
  uint32_t reserved;
  FreBytes text;
} FreLogLine;

typedef struct FreOptions {
  uint64_t id;
  uint64_t election_seed;
  uint64_t applied;
  uint64_t max_message_payload_bytes;
  uint64_t max_ready_payload_bytes;
  uint32_t election_tick;
  uint32_t heartbeat_tick;
  uint32_t max_inflight;
  uint32_t check_quorum;
  uint32_t pre_vote;
  uint32_t log_level;  // 0 off
} FreOptions;

typedef struct FreStored {
  FreHardState hard_state;
  FreConfState conf_state;
  uint64_t compacted_index;
  uint64_t compacted_term;
  const FreEntry* entries;
  size_t entries_size;
} FreStored;

// On failure *node stays null and the reason, cut to the capacity and ended by 0, is in `error`.
int32_t fre_open(const FreOptions* options, const FreStored* stored, FreNode** node, char* error, size_t error_capacity);
void fre_close(FreNode* node);
FreBytes fre_error(const FreNode* node);

int32_t fre_tick(FreNode* node);
int32_t fre_campaign(FreNode* node);
int32_t fre_propose(FreNode* node, FreHandle handle, uint64_t* index, uint64_t* term);
int32_t fre_propose_conf_change(FreNode* node, const FreConfChange* change, uint64_t* index, uint64_t* term);
int32_t fre_apply_conf_change(FreNode* node, FreBytes change, FreConfState* result);
int32_t fre_decode_conf_change(FreNode* node, FreBytes change, FreConfChange* result);
int32_t fre_step(FreNode* node, FreBytes message);
int32_t fre_has_ready(FreNode* node, uint32_t* has_ready);
int32_t fre_take_ready(FreNode* node, FreReady* ready);
int32_t fre_on_persist_ready(FreNode* node, uint64_t number);
int32_t fre_advance_applied(FreNode* node, uint64_t index);
int32_t fre_transfer_leader(FreNode* node, uint64_t to);
int32_t fre_read_index(FreNode* node, FreBytes context);
int32_t fre_compact(FreNode* node, uint64_t index);
int32_t fre_provide_snapshot(FreNode* node, uint64_t index, const FreConfState* conf_state);
int32_t fre_withdraw_snapshot(FreNode* node);
int32_t fre_report_unreachable(FreNode* node, uint64_t peer);
int32_t fre_report_snapshot(FreNode* node, uint64_t peer, uint32_t delivered);
int32_t fre_status(FreNode* node, FreStatus* status);
int32_t fre_term(FreNode* node, uint64_t index, uint64_t* term);  // FRE_NOT_FOUND: not held
int32_t fre_peers(FreNode* node, const FrePeer** peers, size_t* size);
int32_t fre_conf_state(FreNode* node, FreConfState* conf_state);
int32_t fre_take_log_lines(FreNode* node, const FreLogLine** lines, size_t* size, uint64_t* dropped);

#ifdef __cplusplus
}
#endif

#endif  // FULMAR_RAFT_ENGINE_H_
