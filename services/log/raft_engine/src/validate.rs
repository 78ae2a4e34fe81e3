//! What raft-rs would answer with a panic, refused before it gets there.
//!
//! raft-rs trusts its peers: a heartbeat that commits more than the log holds, an unknown enum value or a gap between entries
//! end the process. The peers here are behind a network and a version skew, so each rule that raft-rs relies on is checked.

use std::collections::BTreeSet;

use prost::Message as _;
use raft::eraftpb::{ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, EntryType, Message, MessageType};
use raft::{RawNode, StateRole};

use crate::fail::{invalid, Code, Fail};
use crate::mirror::{Meta, Mirror};

/// Decoding costs up to 40 bytes of memory for each byte of a hostile message.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
pub const MAX_CONF_CHANGE_BYTES: usize = 64 << 10;
pub const MAX_READ_CONTEXT_BYTES: usize = 64;
/// Indexes and terms above this are nonsense, and below it sums cannot overflow. C++ keeps them in signed numbers.
pub const MAX_NUMBER: u64 = 1 << 62;

/// Decodes a message from a peer.
pub fn decode_message(bytes: &[u8]) -> Result<Message, Fail> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return invalid(format!(
            "message of {} bytes, at most {MAX_MESSAGE_BYTES} are allowed",
            bytes.len()
        ));
    }
    Message::decode(bytes).or_else(|error| invalid(format!("not a Raft message: {error}")))
}

/// Checks all that must hold for `message`, whatever the state, and what must hold in the state of `node`.
pub fn check_message(message: &Message, node: &RawNode<Mirror>) -> Result<(), Fail> {
    let Some(kind) = MessageType::from_i32(message.msg_type) else {
        return invalid(format!("unknown message type {}", message.msg_type));
    };
    let self_id = node.raft.id;
    if message.to != self_id {
        return invalid(format!("message for node {}, this is node {self_id}", message.to));
    }
    // A read request that was forwarded twice may come home.
    let from_self = message.from == self_id && kind != MessageType::MsgReadIndex;
    if message.from == 0 || from_self {
        return invalid(format!("message from node {}", message.from));
    }
    check_numbers(message)?;
    check_shape(kind, message)?;
    match kind {
        MessageType::MsgAppend => {
            check_leader(message, node)?;
            check_entries(message)
        }
        MessageType::MsgHeartbeat => {
            check_leader(message, node)?;
            check_heartbeat(message, node)
        }
        MessageType::MsgSnapshot => {
            check_leader(message, node)?;
            check_snapshot(message)
        }
        MessageType::MsgAppendResponse => check_append_response(message, node),
        MessageType::MsgRequestVoteResponse => check_vote_response(message, node),
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => check_read(message),
        MessageType::MsgRequestVote
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow => Ok(()),
        // Local to a node, or (proposals, transfers) never forwarded by this engine.
        _ => invalid(format!("a peer must not send {kind:?}")),
    }
}

fn check_numbers(message: &Message) -> Result<(), Fail> {
    let numbers = [
        ("term", message.term),
        ("log_term", message.log_term),
        ("index", message.index),
        ("commit", message.commit),
        ("commit_term", message.commit_term),
        ("reject_hint", message.reject_hint),
    ];
    for (name, value) in numbers {
        if value >= MAX_NUMBER {
            return invalid(format!("{name} {value} is out of range"));
        }
    }
    if message.request_snapshot != 0 {
        return invalid("snapshots on request are not in use");
    }
    Ok(())
}

fn check_shape(kind: MessageType, message: &Message) -> Result<(), Fail> {
    let carries_term = kind != MessageType::MsgReadIndex;
    if carries_term != (message.term != 0) {
        return invalid(format!("{kind:?} with term {}", message.term));
    }
    let may_have_entries = matches!(
        kind,
        MessageType::MsgAppend | MessageType::MsgReadIndex | MessageType::MsgReadIndexResp
    );
    if !may_have_entries && !message.entries.is_empty() {
        return invalid(format!("{kind:?} with entries"));
    }
    if kind != MessageType::MsgSnapshot && message.snapshot.is_some() {
        return invalid(format!("{kind:?} with a snapshot"));
    }
    Ok(())
}

// A term has one leader.
fn check_leader(message: &Message, node: &RawNode<Mirror>) -> Result<(), Fail> {
    let raft = &node.raft;
    if message.term == raft.term && raft.leader_id != 0 && raft.leader_id != message.from {
        return invalid(format!(
            "nodes {} and {} both lead term {}",
            message.from, raft.leader_id, message.term
        ));
    }
    Ok(())
}

fn check_entries(message: &Message) -> Result<(), Fail> {
    // raft-rs takes term 0 for "beyond the log" and would find that it matches.
    if (message.index == 0) != (message.log_term == 0) {
        return invalid(format!("entries behind {} of term {}", message.index, message.log_term));
    }
    let mut index = message.index;
    let mut term = message.log_term;
    for entry in &message.entries {
        index += 1;
        if entry.index != index {
            return invalid(format!("entry {} where {index} belongs", entry.index));
        }
        if entry.term < term || entry.term == 0 || entry.term > message.term {
            return invalid(format!(
                "entry {index} has term {}, after {term} in a message of term {}",
                entry.term, message.term
            ));
        }
        term = entry.term;
        if !entry.context.is_empty() || Meta::of(entry).is_none() {
            return invalid(format!("entry {index} is malformed"));
        }
        if entry.entry_type == EntryType::EntryConfChangeV2 as i32 {
            decode_conf_change(&entry.data)?;
        }
    }
    Ok(())
}

fn check_heartbeat(message: &Message, node: &RawNode<Mirror>) -> Result<(), Fail> {
    let last = node.raft.raft_log.last_index();
    if message.term >= node.raft.term && message.commit > last {
        return Err(Fail::new(
            Code::DataLoss,
            format!(
                "node {} knows that this log reached {}, but it ends at {last}: durable entries are gone",
                message.from, message.commit
            ),
        ));
    }
    Ok(())
}

fn check_snapshot(message: &Message) -> Result<(), Fail> {
    let Some(metadata) = message.snapshot.as_ref().and_then(|s| s.metadata.as_ref()) else {
        return invalid("snapshot without metadata");
    };
    if !message.get_snapshot().data.is_empty() {
        return invalid("snapshot with data");
    }
    if metadata.index == 0 || metadata.index >= MAX_NUMBER {
        return invalid(format!("snapshot at index {}", metadata.index));
    }
    if metadata.term == 0 || metadata.term > message.term {
        return invalid(format!(
            "snapshot of term {} in a message of term {}",
            metadata.term, message.term
        ));
    }
    match &metadata.conf_state {
        Some(conf_state) if !conf_state.voters.is_empty() => check_conf_state(conf_state),
        _ => invalid("snapshot without voters"),
    }
}

fn check_append_response(message: &Message, node: &RawNode<Mirror>) -> Result<(), Fail> {
    let raft = &node.raft;
    let leads = raft.state == StateRole::Leader && message.term == raft.term;
    let last = raft.raft_log.last_index();
    if leads && !message.reject && message.index > last {
        return invalid(format!(
            "node {} acknowledges entry {}, the log ends at {last}",
            message.from, message.index
        ));
    }
    Ok(())
}

fn check_vote_response(message: &Message, node: &RawNode<Mirror>) -> Result<(), Fail> {
    let raft = &node.raft;
    // The request leaves only when everything before it is durable; raft-rs asserts that on winning.
    if raft.state == StateRole::Candidate && !message.reject && raft.raft_log.persisted != raft.raft_log.last_index() {
        return invalid(format!(
            "node {} answers a vote request that was not sent yet",
            message.from
        ));
    }
    Ok(())
}

fn check_read(message: &Message) -> Result<(), Fail> {
    match message.entries.as_slice() {
        [entry] if !entry.data.is_empty() && entry.data.len() <= MAX_READ_CONTEXT_BYTES => Ok(()),
        _ => invalid("a read request needs exactly one context"),
    }
}

/// Decodes the bytes of a configuration change entry.
pub fn decode_conf_change(bytes: &[u8]) -> Result<ConfChangeV2, Fail> {
    if bytes.len() > MAX_CONF_CHANGE_BYTES {
        return invalid(format!(
            "configuration change of {} bytes, at most {MAX_CONF_CHANGE_BYTES} are allowed",
            bytes.len()
        ));
    }
    let change =
        ConfChangeV2::decode(bytes).or_else(|error| invalid(format!("not a configuration change: {error}")))?;
    if ConfChangeTransition::from_i32(change.transition).is_none() {
        return invalid(format!("unknown transition {}", change.transition));
    }
    for single in &change.changes {
        if single.node_id == 0 || ConfChangeType::from_i32(single.change_type).is_none() {
            return invalid(format!(
                "change of type {} for node {}",
                single.change_type, single.node_id
            ));
        }
    }
    Ok(change)
}

/// Checks that raft-rs can restore `conf_state`: it panics on one that contradicts itself.
pub fn check_conf_state(conf_state: &ConfState) -> Result<(), Fail> {
    let voters = unique("voters", &conf_state.voters)?;
    let learners = unique("learners", &conf_state.learners)?;
    let outgoing = unique("voters_outgoing", &conf_state.voters_outgoing)?;
    let next = unique("learners_next", &conf_state.learners_next)?;
    if voters.is_empty() && !(learners.is_empty() && outgoing.is_empty()) {
        return invalid("a configuration without voters");
    }
    if outgoing.is_empty() && conf_state.auto_leave {
        return invalid("auto_leave outside of a joint configuration");
    }
    if !learners.is_disjoint(&voters) || !learners.is_disjoint(&outgoing) {
        return invalid("a learner that is a voter");
    }
    if !next.is_subset(&outgoing) || !next.is_disjoint(&voters) {
        return invalid("learners_next that are not outgoing voters");
    }
    Ok(())
}

fn unique(name: &str, ids: &[u64]) -> Result<BTreeSet<u64>, Fail> {
    let set: BTreeSet<u64> = ids.iter().copied().collect();
    if set.len() != ids.len() || set.contains(&0) {
        return invalid(format!("{name} {ids:?} are not distinct nodes"));
    }
    Ok(set)
}
