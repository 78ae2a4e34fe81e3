//! What a node hands out through the C ABI: arrays that live in the node until its next call and are used again and again.

use std::ops::Range;

use prost::Message as _;
use raft::eraftpb::{ConfState, Message, MessageType};

use crate::abi::{
    FreBytes, FreConfChangeItem, FreConfState, FreEntry, FreEntryRef, FreIds, FreLogLine, FreMessage, FrePeer,
    FreReadState, FreReady,
};
use crate::engine::{self, Ready};
use crate::mirror::{Kind, Meta, Mirror, SnapshotWanted};

/// Raw pointers inside point into other fields of the same object.
#[derive(Default)]
pub struct Output {
    entries: Vec<FreEntry>,
    committed: Vec<FreEntry>,
    conf_changes: Vec<Vec<u8>>,
    messages: Vec<FreMessage>,
    message_bytes: Vec<u8>,
    message_entries: Vec<FreEntryRef>,
    read_contexts: Vec<Vec<u8>>,
    read_states: Vec<FreReadState>,
    wanted: Vec<SnapshotWanted>,
    snapshot_conf_state: ConfState,
    pub conf_state: ConfState,
    pub conf_change_items: Vec<FreConfChangeItem>,
    pub conf_change_context: Vec<u8>,
    pub peers: Vec<FrePeer>,
    texts: Vec<String>,
    lines: Vec<FreLogLine>,
}

impl Output {
    pub fn ready(&mut self, mut ready: Ready, mirror: &Mirror) -> FreReady {
        self.conf_changes.clear();
        fill_entries(&mut self.entries, &mut self.conf_changes, mirror, &ready.entries);
        fill_entries(&mut self.committed, &mut self.conf_changes, mirror, &ready.committed);
        self.fill_messages(&ready.messages);
        self.fill_read_states(&mut ready);
        self.wanted = ready.wanted;

        let mut out = FreReady {
            number: ready.number,
            must_persist: ready.must_persist.into(),
            entries: self.entries.as_ptr(),
            entries_size: self.entries.len(),
            messages: self.messages.as_ptr(),
            messages_size: self.messages.len(),
            committed: self.committed.as_ptr(),
            committed_size: self.committed.len(),
            read_states: self.read_states.as_ptr(),
            read_states_size: self.read_states.len(),
            snapshots_wanted: self.wanted.as_ptr(),
            snapshots_wanted_size: self.wanted.len(),
            ..FreReady::default()
        };
        if let Some(hard_state) = ready.hard_state {
            out.has_hard_state = 1;
            out.hard_state.term = hard_state.term;
            out.hard_state.vote = hard_state.vote;
            out.hard_state.commit = hard_state.commit;
        }
        if let Some((role, leader)) = ready.soft_state {
            out.has_soft_state = 1;
            out.role = role as u32;
            out.leader = leader;
        }
        if let Some(mut snapshot) = ready.snapshot {
            out.has_snapshot = 1;
            out.snapshot_index = snapshot.index;
            out.snapshot_term = snapshot.term;
            self.snapshot_conf_state = snapshot.take_conf_state();
            engine::sort(&mut self.snapshot_conf_state);
            out.snapshot_conf_state = conf_state(&self.snapshot_conf_state);
        }
        out
    }

    fn fill_messages(&mut self, messages: &[Message]) {
        self.messages.clear();
        self.message_bytes.clear();
        self.message_entries.clear();
        // Reserved in full before the first pointer is taken.
        let bytes = messages.iter().map(Message::encoded_len).sum();
        self.message_bytes.reserve(bytes);
        self.message_entries
            .reserve(messages.iter().map(|m| m.entries.len()).sum());
        for message in messages {
            let bytes_from = self.message_bytes.len();
            message.encode(&mut self.message_bytes).expect("a Vec takes all bytes");
            let entries_from = self.message_entries.len();
            if message.msg_type == MessageType::MsgAppend as i32 {
                self.message_entries.extend(message.entries.iter().map(entry_ref));
            }
            let entries = &self.message_entries[entries_from..];
            let snapshot = message.snapshot.as_ref().and_then(|s| s.metadata.as_ref());
            self.messages.push(FreMessage {
                to: message.to,
                bytes: FreBytes::of(&self.message_bytes[bytes_from..]),
                entries: entries.as_ptr(),
                entries_size: entries.len(),
                snapshot_index: snapshot.map_or(0, |metadata| metadata.index),
                msg_type: message.msg_type as u32,
                reserved: 0,
            });
        }
    }

    fn fill_read_states(&mut self, ready: &mut Ready) {
        self.read_contexts.clear();
        self.read_states.clear();
        for read_state in ready.read_states.drain(..) {
            let context = read_state.request_ctx;
            self.read_states.push(FreReadState {
                index: read_state.index,
                context: FreBytes::of(&context),
            });
            // Moving a Vec leaves its bytes where they are.
            self.read_contexts.push(context);
        }
    }

    pub fn lines(&mut self, lines: impl Iterator<Item = (u32, String)>) -> &[FreLogLine] {
        self.texts.clear();
        self.lines.clear();
        for (level, text) in lines {
            self.lines.push(FreLogLine {
                level,
                reserved: 0,
                text: FreBytes::of(text.as_bytes()),
            });
            self.texts.push(text);
        }
        &self.lines
    }
}

fn entry_ref(entry: &raft::eraftpb::Entry) -> FreEntryRef {
    let meta = Meta::of(entry).expect("raft-rs sends entries of the mirror");
    FreEntryRef {
        index: entry.index,
        term: entry.term,
        kind: meta.kind as u32,
        payload_bytes: meta.handle.payload_bytes,
    }
}

fn fill_entries(out: &mut Vec<FreEntry>, conf_changes: &mut Vec<Vec<u8>>, mirror: &Mirror, indexes: &Range<u64>) {
    out.clear();
    for index in indexes.clone() {
        let meta = mirror.meta(index).expect("a Ready names entries of the mirror");
        let mut conf_change = FreBytes::default();
        if meta.kind == Kind::ConfChange {
            // Copied, since a compaction may drop the original while the caller still reads.
            let bytes = mirror.conf_change(index).to_vec();
            conf_change = FreBytes::of(&bytes);
            conf_changes.push(bytes);
        }
        out.push(FreEntry {
            index,
            term: meta.term,
            handle: meta.handle,
            conf_change,
            kind: meta.kind as u32,
            reserved: 0,
        });
    }
}

pub fn conf_state(from: &ConfState) -> FreConfState {
    FreConfState {
        voters: FreIds::of(&from.voters),
        learners: FreIds::of(&from.learners),
        voters_outgoing: FreIds::of(&from.voters_outgoing),
        learners_next: FreIds::of(&from.learners_next),
        auto_leave: from.auto_leave.into(),
        reserved: 0,
    }
}
