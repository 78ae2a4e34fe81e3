//! The functions of `include/fulmar_raft_engine.h`; that header is the documentation.
//!
//! Every function stops panics here, at the boundary: unwinding into C++ is undefined. A node that panicked may be half
//! changed, so it answers everything with `Code::Panic` from then on.
//!
//! # Safety
//!
//! All functions: `node` comes from `fre_open` and was not closed; no two threads use it at once; every other pointer is
//! valid for what the header says, arrays for their length.
#![allow(clippy::missing_safety_doc)]

use std::any::Any;
use std::ffi::{c_char, CStr};
use std::mem::size_of;
use std::panic::{catch_unwind, AssertUnwindSafe};

use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfState, HardState};
use raft::ProgressState;

use crate::engine::{Engine, Options, Stored};
use crate::fail::{invalid, Code, Fail};
use crate::mirror::{Handle, Kind, Meta, SnapshotWanted};
use crate::output::{self, Output};
use crate::validate;

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreBytes {
    pub data: *const u8,
    pub size: usize,
}

impl Default for FreBytes {
    fn default() -> FreBytes {
        FreBytes::of(&[])
    }
}

impl FreBytes {
    pub fn of(bytes: &[u8]) -> FreBytes {
        FreBytes {
            data: bytes.as_ptr(),
            size: bytes.len(),
        }
    }

    unsafe fn get<'a>(self) -> &'a [u8] {
        slice(self.data, self.size)
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreIds {
    pub data: *const u64,
    pub size: usize,
}

impl Default for FreIds {
    fn default() -> FreIds {
        FreIds::of(&[])
    }
}

impl FreIds {
    pub fn of(ids: &[u64]) -> FreIds {
        FreIds {
            data: ids.as_ptr(),
            size: ids.len(),
        }
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreEntry {
    pub index: u64,
    pub term: u64,
    pub handle: Handle,
    pub conf_change: FreBytes,
    pub kind: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreEntryRef {
    pub index: u64,
    pub term: u64,
    pub kind: u32,
    pub payload_bytes: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreMessage {
    pub to: u64,
    pub bytes: FreBytes,
    pub entries: *const FreEntryRef,
    pub entries_size: usize,
    pub snapshot_index: u64,
    pub msg_type: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct FreHardState {
    pub term: u64,
    pub vote: u64,
    pub commit: u64,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct FreConfState {
    pub voters: FreIds,
    pub learners: FreIds,
    pub voters_outgoing: FreIds,
    pub learners_next: FreIds,
    pub auto_leave: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreReadState {
    pub index: u64,
    pub context: FreBytes,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreReady {
    pub number: u64,
    pub must_persist: u32,
    pub has_hard_state: u32,
    pub has_soft_state: u32,
    pub has_snapshot: u32,
    pub hard_state: FreHardState,
    pub leader: u64,
    pub role: u32,
    pub reserved: u32,
    pub snapshot_index: u64,
    pub snapshot_term: u64,
    pub snapshot_conf_state: FreConfState,
    pub entries: *const FreEntry,
    pub entries_size: usize,
    pub messages: *const FreMessage,
    pub messages_size: usize,
    pub committed: *const FreEntry,
    pub committed_size: usize,
    pub read_states: *const FreReadState,
    pub read_states_size: usize,
    pub snapshots_wanted: *const SnapshotWanted,
    pub snapshots_wanted_size: usize,
}

impl Default for FreReady {
    fn default() -> FreReady {
        FreReady {
            number: 0,
            must_persist: 0,
            has_hard_state: 0,
            has_soft_state: 0,
            has_snapshot: 0,
            hard_state: FreHardState::default(),
            leader: 0,
            role: 0,
            reserved: 0,
            snapshot_index: 0,
            snapshot_term: 0,
            snapshot_conf_state: FreConfState::default(),
            entries: std::ptr::null(),
            entries_size: 0,
            messages: std::ptr::null(),
            messages_size: 0,
            committed: std::ptr::null(),
            committed_size: 0,
            read_states: std::ptr::null(),
            read_states_size: 0,
            snapshots_wanted: std::ptr::null(),
            snapshots_wanted_size: 0,
        }
    }
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct FreStatus {
    pub term: u64,
    pub vote: u64,
    pub leader: u64,
    pub first_index: u64,
    pub last_index: u64,
    pub persisted: u64,
    pub committed: u64,
    pub applied: u64,
    pub role: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FrePeer {
    pub id: u64,
    pub matched: u64,
    pub next: u64,
    pub pending_snapshot: u64,
    pub state: u32,
    pub voter: u8,
    pub recently_active: u8,
    pub reserved: [u8; 2],
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreConfChangeItem {
    pub node: u64,
    pub change_type: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreConfChange {
    pub items: *const FreConfChangeItem,
    pub items_size: usize,
    pub context: FreBytes,
    pub explicit_leave: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreLogLine {
    pub level: u32,
    pub reserved: u32,
    pub text: FreBytes,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreOptions {
    pub id: u64,
    pub election_seed: u64,
    pub applied: u64,
    pub max_message_payload_bytes: u64,
    pub max_ready_payload_bytes: u64,
    pub election_tick: u32,
    pub heartbeat_tick: u32,
    pub max_inflight: u32,
    pub check_quorum: u32,
    pub pre_vote: u32,
    pub log_level: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct FreStored {
    pub hard_state: FreHardState,
    pub conf_state: FreConfState,
    pub compacted_index: u64,
    pub compacted_term: u64,
    pub entries: *const FreEntry,
    pub entries_size: usize,
}

// raft_core.cc asserts the same numbers.
const _: () = {
    assert!(size_of::<FreEntry>() == 56);
    assert!(size_of::<FreEntryRef>() == 24);
    assert!(size_of::<FreMessage>() == 56);
    assert!(size_of::<FreConfState>() == 72);
    assert!(size_of::<FreReady>() == 232);
    assert!(size_of::<FreStatus>() == 72);
    assert!(size_of::<FrePeer>() == 40);
    assert!(size_of::<FreConfChange>() == 40);
    assert!(size_of::<FreLogLine>() == 24);
    assert!(size_of::<FreOptions>() == 64);
    assert!(size_of::<FreStored>() == 128);
};

/// One Raft node, with what it handed out last.
pub struct FreNode {
    engine: Engine,
    output: Output,
    error: String,
    panicked: bool,
}

unsafe fn slice<'a, T>(data: *const T, size: usize) -> &'a [T] {
    match size {
        0 => &[],
        _ => std::slice::from_raw_parts(data, size),
    }
}

fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let text = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (_, Some(text)) => *text,
        _ => "no message",
    };
    format!("the Raft engine panicked: {text}")
}

unsafe fn guard(node: *mut FreNode, work: impl FnOnce(&mut FreNode) -> Result<(), Fail>) -> i32 {
    let node = &mut *node;
    if node.panicked {
        return Code::Panic as i32;
    }
    match catch_unwind(AssertUnwindSafe(|| work(node))) {
        Ok(Ok(())) => 0,
        Ok(Err(fail)) => {
            node.error = fail.text;
            fail.code as i32
        }
        Err(panic) => {
            node.panicked = true;
            node.error = panic_text(panic);
            Code::Panic as i32
        }
    }
}

unsafe fn read_conf_state(from: &FreConfState) -> ConfState {
    ConfState {
        voters: slice(from.voters.data, from.voters.size).to_vec(),
        learners: slice(from.learners.data, from.learners.size).to_vec(),
        voters_outgoing: slice(from.voters_outgoing.data, from.voters_outgoing.size).to_vec(),
        learners_next: slice(from.learners_next.data, from.learners_next.size).to_vec(),
        auto_leave: from.auto_leave != 0,
    }
}

unsafe fn open(options: &FreOptions, stored: &FreStored) -> Result<Engine, Fail> {
    let entries = slice(stored.entries, stored.entries_size);
    if let Some(entry) = entries.iter().find(|e| Kind::from_u32(e.kind).is_none()) {
        return invalid(format!("entry {} is of kind {}", entry.index, entry.kind));
    }
    let entries = entries.iter().map(|entry| {
        let meta = Meta {
            term: entry.term,
            handle: entry.handle,
            kind: Kind::from_u32(entry.kind).expect("checked above"),
        };
        (entry.index, meta, entry.conf_change.get().to_vec())
    });
    let mut hard_state = HardState::default();
    hard_state.term = stored.hard_state.term;
    hard_state.vote = stored.hard_state.vote;
    hard_state.commit = stored.hard_state.commit;
    let stored = Stored {
        hard_state,
        conf_state: read_conf_state(&stored.conf_state),
        compacted_index: stored.compacted_index,
        compacted_term: stored.compacted_term,
    };
    let options = Options {
        id: options.id,
        election_seed: options.election_seed,
        applied: options.applied,
        max_message_payload_bytes: options.max_message_payload_bytes,
        max_ready_payload_bytes: options.max_ready_payload_bytes,
        election_tick: options.election_tick as usize,
        heartbeat_tick: options.heartbeat_tick as usize,
        max_inflight: options.max_inflight as usize,
        check_quorum: options.check_quorum != 0,
        pre_vote: options.pre_vote != 0,
        log_level: options.log_level,
    };
    Engine::open(&options, stored, entries)
}

unsafe fn write_text(text: &str, to: *mut c_char, capacity: usize) {
    if capacity == 0 {
        return;
    }
    let count = text.len().min(capacity - 1);
    std::ptr::copy_nonoverlapping(text.as_ptr().cast(), to, count);
    *to.add(count) = 0;
    debug_assert!(CStr::from_ptr(to).to_bytes().len() <= count);
}

#[no_mangle]
pub unsafe extern "C" fn fre_open(
    options: *const FreOptions,
    stored: *const FreStored,
    node: *mut *mut FreNode,
    error: *mut c_char,
    error_capacity: usize,
) -> i32 {
    *node = std::ptr::null_mut();
    let fail = match catch_unwind(|| open(&*options, &*stored)) {
        Ok(Ok(engine)) => {
            *node = Box::into_raw(Box::new(FreNode {
                engine,
                output: Output::default(),
                error: String::new(),
                panicked: false,
            }));
            return 0;
        }
        Ok(Err(fail)) => fail,
        Err(panic) => Fail::new(Code::Panic, panic_text(panic)),
    };
    write_text(&fail.text, error, error_capacity);
    fail.code as i32
}

#[no_mangle]
pub unsafe extern "C" fn fre_close(node: *mut FreNode) {
    if !node.is_null() {
        // A destructor that panics has nobody to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(node))));
    }
}

#[no_mangle]
pub unsafe extern "C" fn fre_error(node: *const FreNode) -> FreBytes {
    FreBytes::of((*node).error.as_bytes())
}

#[no_mangle]
pub unsafe extern "C" fn fre_tick(node: *mut FreNode) -> i32 {
    guard(node, |node| {
        node.engine.tick();
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_campaign(node: *mut FreNode) -> i32 {
    guard(node, |node| node.engine.campaign())
}

#[no_mangle]
pub unsafe extern "C" fn fre_propose(node: *mut FreNode, handle: Handle, index: *mut u64, term: *mut u64) -> i32 {
    guard(node, |node| {
        (*index, *term) = node.engine.propose(handle)?;
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_propose_conf_change(
    node: *mut FreNode,
    change: *const FreConfChange,
    index: *mut u64,
    term: *mut u64,
) -> i32 {
    guard(node, |node| {
        let change = &*change;
        let changes = slice(change.items, change.items_size)
            .iter()
            .map(|item| ConfChangeSingle {
                change_type: item.change_type as i32,
                node_id: item.node,
            })
            .collect();
        let context = change.context.get().to_vec();
        (*index, *term) = node
            .engine
            .propose_conf_change(changes, change.explicit_leave != 0, context)?;
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_apply_conf_change(node: *mut FreNode, change: FreBytes, result: *mut FreConfState) -> i32 {
    guard(node, |node| {
        node.engine.apply_conf_change(change.get())?;
        node.output.conf_state = node.engine.conf_state();
        *result = output::conf_state(&node.output.conf_state);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_decode_conf_change(
    node: *mut FreNode,
    change: FreBytes,
    result: *mut FreConfChange,
) -> i32 {
    guard(node, |node| {
        let change = validate::decode_conf_change(change.get())?;
        let explicit = change.get_transition() == ConfChangeTransition::Explicit;
        let output = &mut node.output;
        output.conf_change_items = change
            .changes
            .iter()
            .map(|single| FreConfChangeItem {
                node: single.node_id,
                change_type: single.change_type as u32,
                reserved: 0,
            })
            .collect();
        output.conf_change_context = change.context;
        *result = FreConfChange {
            items: output.conf_change_items.as_ptr(),
            items_size: output.conf_change_items.len(),
            context: FreBytes::of(&output.conf_change_context),
            explicit_leave: explicit.into(),
            reserved: 0,
        };
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_step(node: *mut FreNode, message: FreBytes) -> i32 {
    guard(node, |node| node.engine.step(message.get()))
}

#[no_mangle]
pub unsafe extern "C" fn fre_has_ready(node: *mut FreNode, has_ready: *mut u32) -> i32 {
    guard(node, |node| {
        *has_ready = node.engine.has_ready().into();
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_take_ready(node: *mut FreNode, ready: *mut FreReady) -> i32 {
    guard(node, |node| {
        let taken = node.engine.take_ready();
        *ready = node.output.ready(taken, node.engine.mirror());
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_on_persist_ready(node: *mut FreNode, number: u64) -> i32 {
    guard(node, |node| node.engine.on_persist_ready(number))
}

#[no_mangle]
pub unsafe extern "C" fn fre_advance_applied(node: *mut FreNode, index: u64) -> i32 {
    guard(node, |node| node.engine.advance_applied(index))
}

#[no_mangle]
pub unsafe extern "C" fn fre_transfer_leader(node: *mut FreNode, to: u64) -> i32 {
    guard(node, |node| node.engine.transfer_leader(to))
}

#[no_mangle]
pub unsafe extern "C" fn fre_read_index(node: *mut FreNode, context: FreBytes) -> i32 {
    guard(node, |node| node.engine.read_index(context.get()))
}

#[no_mangle]
pub unsafe extern "C" fn fre_compact(node: *mut FreNode, index: u64) -> i32 {
    guard(node, |node| node.engine.compact(index))
}

#[no_mangle]
pub unsafe extern "C" fn fre_provide_snapshot(node: *mut FreNode, index: u64, conf_state: *const FreConfState) -> i32 {
    guard(node, |node| {
        node.engine.provide_snapshot(index, read_conf_state(&*conf_state))
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_withdraw_snapshot(node: *mut FreNode) -> i32 {
    guard(node, |node| {
        node.engine.withdraw_snapshot();
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_report_unreachable(node: *mut FreNode, peer: u64) -> i32 {
    guard(node, |node| {
        node.engine.report_unreachable(peer);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_report_snapshot(node: *mut FreNode, peer: u64, delivered: u32) -> i32 {
    guard(node, |node| {
        node.engine.report_snapshot(peer, delivered != 0);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_status(node: *mut FreNode, status: *mut FreStatus) -> i32 {
    guard(node, |node| {
        let raft = &node.engine.node().raft;
        *status = FreStatus {
            term: raft.term,
            vote: raft.vote,
            leader: raft.leader_id,
            first_index: node.engine.mirror().base_index() + 1,
            last_index: raft.raft_log.last_index(),
            persisted: raft.raft_log.persisted,
            committed: raft.raft_log.committed,
            applied: raft.raft_log.applied,
            role: raft.state as u32,
            reserved: 0,
        };
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_term(node: *mut FreNode, index: u64, term: *mut u64) -> i32 {
    guard(node, |node| match node.engine.mirror().term_of(index) {
        Some(found) => {
            *term = found;
            Ok(())
        }
        None => Err(Fail::new(Code::NotFound, format!("entry {index} is not held"))),
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_peers(node: *mut FreNode, peers: *mut *const FrePeer, size: *mut usize) -> i32 {
    guard(node, |node| {
        node.output.peers = node
            .engine
            .peers()
            .iter()
            .map(|(id, progress, voter)| FrePeer {
                id: *id,
                matched: progress.matched,
                next: progress.next_idx,
                pending_snapshot: progress.pending_snapshot,
                state: match progress.state {
                    ProgressState::Probe => 0,
                    ProgressState::Replicate => 1,
                    ProgressState::Snapshot => 2,
                },
                voter: (*voter).into(),
                recently_active: progress.recent_active.into(),
                reserved: [0; 2],
            })
            .collect();
        *peers = node.output.peers.as_ptr();
        *size = node.output.peers.len();
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_conf_state(node: *mut FreNode, conf_state: *mut FreConfState) -> i32 {
    guard(node, |node| {
        node.output.conf_state = node.engine.conf_state();
        *conf_state = output::conf_state(&node.output.conf_state);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn fre_take_log_lines(
    node: *mut FreNode,
    lines: *mut *const FreLogLine,
    size: *mut usize,
    dropped: *mut u64,
) -> i32 {
    guard(node, |node| {
        let taken = match node.engine.lines().lock() {
            Ok(mut kept) => std::mem::take(&mut *kept),
            Err(_) => return invalid("log lines were lost to a panic"),
        };
        let out = node.output.lines(taken.lines.into_iter());
        *lines = out.as_ptr();
        *size = out.len();
        *dropped = taken.dropped;
        Ok(())
    })
}
