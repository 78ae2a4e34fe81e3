//! raft-rs plus what it leaves to its user.
//!
//! **Persistence.** A Ready's entries may be written while later Readys are taken. raft-rs hands out messages that must wait
//! for that ("persisted messages"); they are held here and come with a later Ready, so the owner sends whatever it gets.
//! raft-rs 0.7 lets a leader send at once even when its own vote for this term is not durable yet (a single voter that has
//! learners): after a crash it could lead the same term again with other entries. Such messages are held as well.
//!
//! **Election timeouts.** raft-rs draws them from the thread's generator. Here its own timeout is fixed at twice the election
//! timeout, never reached, and this module makes it elapse early: after [T, 2T) ticks, drawn from a generator that the owner
//! seeds. So the same inputs give the same outputs.
//!
//! **When not to campaign.** A node whose own vote is a quorum becomes leader in the middle of a call, and raft-rs asserts that
//! its log is durable then; it also reads back what is not applied yet, which a snapshot being installed has taken away.
//! Elections wait for both.

use std::collections::VecDeque;
use std::ops::Range;

use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ConfState, Entry, HardState, Message, MessageType, Snapshot,
    SnapshotMetadata,
};
use raft::{Changer, Config, Progress, RawNode, ReadOnlyOption, ReadState, SnapshotStatus, StateRole};

use prost::Message as _;

use crate::fail::{invalid, misuse, unavailable, Code, Fail};
use crate::logs::{self, SharedLines};
use crate::mirror::{Handle, Kind, Meta, Mirror, SnapshotWanted};
use crate::validate;

#[derive(Clone, Debug)]
pub struct Options {
    pub id: u64,
    pub election_seed: u64,
    pub applied: u64,
    pub max_message_payload_bytes: u64,
    pub max_ready_payload_bytes: u64,
    pub election_tick: usize,
    pub heartbeat_tick: usize,
    pub max_inflight: usize,
    pub check_quorum: bool,
    pub pre_vote: bool,
    pub log_level: u32,
}

/// What the owner's log holds at start.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub hard_state: HardState,
    pub conf_state: ConfState,
    pub compacted_index: u64,
    pub compacted_term: u64,
}

/// What the owner must do now. Entries are in the mirror; here are their indexes.
#[derive(Debug, Default)]
pub struct Ready {
    pub number: u64,
    /// hard_state, snapshot and entries must be durable, in this order, before `on_persist_ready(number)`.
    pub must_persist: bool,
    pub hard_state: Option<HardState>,
    pub soft_state: Option<(StateRole, u64)>,
    pub snapshot: Option<SnapshotMetadata>,
    pub entries: Range<u64>,
    pub messages: Vec<Message>,
    pub committed: Range<u64>,
    pub read_states: Vec<ReadState>,
    pub wanted: Vec<SnapshotWanted>,
}

struct Held {
    until_number: u64,
    messages: Vec<Message>,
}

pub struct Engine {
    node: RawNode<Mirror>,
    lines: SharedLines,

    election_rng: SplitMix64,
    election_timeout: usize,
    // The timeout is drawn anew whenever these change.
    seen: (u64, StateRole),

    last_number: u64,
    unpersisted: VecDeque<u64>,
    held: Vec<Held>,
    released: Vec<Message>,
    // The latest Ready that carries a new term or vote and is not durable yet; 0: none.
    vote_number: u64,
    given_vote: (u64, u64),
}

impl Engine {
    /// `entries`: those behind the compacted index, in order.
    pub fn open(
        options: &Options,
        stored: Stored,
        entries: impl Iterator<Item = (u64, Meta, Vec<u8>)>,
    ) -> Result<Engine, Fail> {
        let base = stored.compacted_index;
        let given_vote = (stored.hard_state.term, stored.hard_state.vote);
        validate::check_conf_state(&stored.conf_state)?;
        if base >= validate::MAX_NUMBER || (base == 0) != (stored.compacted_term == 0) {
            return invalid(format!("compaction point {base} of term {}", stored.compacted_term));
        }
        let mut mirror = Mirror::new(stored.conf_state, base, stored.compacted_term);
        let mut last_term = stored.compacted_term;
        for (index, meta, conf_change) in entries {
            if index != mirror.last() + 1 || meta.term < last_term || meta.term == 0 {
                return Err(Fail::new(
                    Code::DataLoss,
                    format!(
                        "entry {index} of term {} stored behind entry {} of term {last_term}",
                        meta.term,
                        mirror.last()
                    ),
                ));
            }
            if meta.kind == Kind::ConfChange {
                validate::decode_conf_change(&conf_change)?;
            }
            last_term = meta.term;
            mirror.push(meta, &conf_change);
        }
        let hard_state = check_hard_state(stored.hard_state, options.applied, &mirror)?;
        mirror = mirror.with_hard_state(hard_state);

        let (logger, lines) = logs::logger(options.log_level);
        let mut election_rng = SplitMix64(options.election_seed);
        let config = config(options)?;
        let election_timeout = draw_timeout(&mut election_rng, config.election_tick);
        let node = RawNode::new(&config, mirror, &logger)?;
        let seen = (node.raft.term, node.raft.state);
        Ok(Engine {
            node,
            lines,
            election_rng,
            election_timeout,
            seen,
            last_number: 0,
            unpersisted: VecDeque::new(),
            held: Vec::new(),
            released: Vec::new(),
            vote_number: 0,
            given_vote,
        })
    }

    pub fn node(&self) -> &RawNode<Mirror> {
        &self.node
    }

    pub fn mirror(&self) -> &Mirror {
        self.node.store()
    }

    pub fn lines(&self) -> &SharedLines {
        &self.lines
    }

    fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    fn need_leader(&self) -> Result<(), Fail> {
        if self.leads() {
            return Ok(());
        }
        let leader = self.node.raft.leader_id;
        let text = match leader {
            0 => "not the leader, and no leader is known".to_owned(),
            _ => format!("not the leader; node {leader} leads"),
        };
        Err(Fail::new(Code::NotLeader, text))
    }

    // ---- time and elections ----

    pub fn tick(&mut self) {
        let raft = &self.node.raft;
        if raft.state != StateRole::Leader && raft.election_elapsed + 1 >= self.election_timeout {
            if self.must_not_campaign() {
                return;
            }
            let elapsed = raft.randomized_election_timeout() - 1;
            self.node.raft.election_elapsed = elapsed;
            self.draw_timeout();
        }
        self.node.tick();
        self.note_change();
    }

    pub fn campaign(&mut self) -> Result<(), Fail> {
        if self.leads() {
            return Ok(());
        }
        if !self.node.raft.promotable() {
            return invalid("only a voter can campaign");
        }
        if self.must_not_campaign() {
            return unavailable("cannot campaign before log and snapshot are durable and applied");
        }
        self.node.campaign()?;
        self.note_change();
        if self.node.raft.state == StateRole::Follower {
            return unavailable("cannot campaign: a configuration change is committed but not applied");
        }
        Ok(())
    }

    // Whether raft-rs would panic on starting an election now.
    fn must_not_campaign(&self) -> bool {
        let raft = &self.node.raft;
        let log = &raft.raft_log;
        if self.mirror().base_index() > log.applied {
            return true; // a snapshot is still being installed
        }
        log.persisted != log.last_index() && raft.prs().has_quorum(&std::iter::once(raft.id).collect())
    }

    fn draw_timeout(&mut self) {
        self.election_timeout = draw_timeout(&mut self.election_rng, self.node.raft.election_timeout());
    }

    fn note_change(&mut self) {
        let now = (self.node.raft.term, self.node.raft.state);
        if now != self.seen {
            self.seen = now;
            self.draw_timeout();
            self.node.mut_store().forget_wanted();
        }
    }

    // ---- proposals ----

    /// Appends an entry; returns its (index, term).
    pub fn propose(&mut self, handle: Handle) -> Result<(u64, u64), Fail> {
        self.need_leader()?;
        if self.node.raft.lead_transferee.is_some() {
            return unavailable("leadership is being transferred");
        }
        self.node.propose(Vec::new(), handle.encode().to_vec())?;
        Ok((self.node.raft.raft_log.last_index(), self.node.raft.term))
    }

    /// Appends a configuration change; without changes: leaves a joint configuration.
    pub fn propose_conf_change(
        &mut self,
        changes: Vec<ConfChangeSingle>,
        explicit: bool,
        context: Vec<u8>,
    ) -> Result<(u64, u64), Fail> {
        self.need_leader()?;
        if self.node.raft.lead_transferee.is_some() {
            return unavailable("leadership is being transferred");
        }
        if self.node.raft.has_pending_conf() {
            return unavailable("an earlier configuration change may not be applied yet");
        }
        let mut change = ConfChangeV2 {
            changes,
            context,
            ..ConfChangeV2::default()
        };
        if explicit {
            change.set_transition(ConfChangeTransition::Explicit);
        }
        validate::decode_conf_change(&change.encode_to_vec())?;
        self.try_conf_change(&change)?;
        self.node.propose_conf_change(Vec::new(), change)?;
        Ok((self.node.raft.raft_log.last_index(), self.node.raft.term))
    }

    // raft-rs accepts any change as a proposal and fails when it is applied.
    fn try_conf_change(&self, change: &ConfChangeV2) -> Result<(), Fail> {
        let mut changer = Changer::new(self.node.raft.prs());
        if change.leave_joint() {
            changer.leave_joint()?;
        } else if let Some(auto_leave) = change.enter_joint() {
            changer.enter_joint(auto_leave, &change.changes)?;
        } else {
            changer.simple(&change.changes)?;
        }
        Ok(())
    }

    pub fn apply_conf_change(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        let change = validate::decode_conf_change(bytes)?;
        self.node.apply_conf_change(&change)?;
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && !raft.prs().conf().voters().contains(raft.id) {
            // raft-rs expects the owner to destroy a leader that is no voter any more, and panics if it goes on.
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
        self.note_change();
        Ok(())
    }

    // ---- peers ----

    pub fn step(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        let message = validate::decode_message(bytes)?;
        validate::check_message(&message, &self.node)?;
        let may_elect = [MessageType::MsgTimeoutNow, MessageType::MsgRequestPreVoteResponse];
        if may_elect.contains(&message.get_msg_type()) && self.must_not_campaign() {
            return unavailable("cannot take over before log and snapshot are durable and applied");
        }
        let result = self.node.step(message);
        self.note_change();
        Ok(result?)
    }

    pub fn transfer_leader(&mut self, to: u64) -> Result<(), Fail> {
        self.need_leader()?;
        if !self.node.raft.prs().conf().voters().contains(to) {
            return Err(Fail::new(Code::NotFound, format!("node {to} is not a voter")));
        }
        self.node.transfer_leader(to);
        Ok(())
    }

    pub fn read_index(&mut self, context: &[u8]) -> Result<(), Fail> {
        if context.is_empty() || context.len() > validate::MAX_READ_CONTEXT_BYTES {
            return invalid(format!(
                "read context of {} bytes, 1 to {} are allowed",
                context.len(),
                validate::MAX_READ_CONTEXT_BYTES
            ));
        }
        if self.leads() && !self.node.raft.commit_to_current_term() {
            return unavailable("no entry of this term is committed yet");
        }
        if self.node.raft.leader_id == 0 {
            return unavailable("no leader is known");
        }
        self.node.read_index(context.to_vec());
        Ok(())
    }

    pub fn report_unreachable(&mut self, peer: u64) {
        self.node.report_unreachable(peer);
    }

    pub fn report_snapshot(&mut self, peer: u64, delivered: bool) {
        let status = match delivered {
            true => SnapshotStatus::Finish,
            false => SnapshotStatus::Failure,
        };
        self.node.report_snapshot(peer, status);
    }

    // ---- Ready ----

    pub fn has_ready(&self) -> bool {
        !self.released.is_empty() || self.mirror().has_wanted() || self.node.has_ready()
    }

    pub fn take_ready(&mut self) -> Ready {
        let mut raft_ready = self.node.ready();
        let mut ready = Ready {
            number: raft_ready.number(),
            must_persist: raft_ready.must_sync(),
            hard_state: raft_ready.hs().cloned(),
            soft_state: raft_ready.ss().map(|ss| (ss.raft_state, ss.leader_id)),
            entries: indexes(raft_ready.entries()),
            committed: indexes(raft_ready.committed_entries()),
            read_states: raft_ready.take_read_states(),
            messages: std::mem::take(&mut self.released),
            ..Ready::default()
        };
        if !raft_ready.snapshot().is_empty() {
            ready.snapshot = Some(raft_ready.snapshot().get_metadata().clone());
        }
        let now = raft_ready.take_messages();
        let persisted = raft_ready.take_persisted_messages();

        let store = self.node.mut_store();
        if let Some(snapshot) = &ready.snapshot {
            store.reset(snapshot.index, snapshot.term);
        }
        store.append(raft_ready.entries());
        ready.wanted = store.take_wanted();
        self.node.advance_append_async(raft_ready);

        self.last_number = ready.number;
        self.note_writes(&ready);
        self.route(now, self.vote_number, &mut ready.messages);
        let newest_write = self.unpersisted.back().copied().unwrap_or(0);
        self.route(persisted, newest_write, &mut ready.messages);
        ready
    }

    fn note_writes(&mut self, ready: &Ready) {
        if !ready.must_persist {
            if self.unpersisted.is_empty() {
                // Lets raft-rs forget its record of this Ready.
                self.node.on_persist_ready(ready.number);
            }
            return;
        }
        self.unpersisted.push_back(ready.number);
        if let Some(hard_state) = &ready.hard_state {
            let vote = (hard_state.term, hard_state.vote);
            if vote != self.given_vote {
                self.given_vote = vote;
                self.vote_number = ready.number;
            }
        }
    }

    // Sends at once when nothing (0) has to be durable before.
    fn route(&mut self, messages: Vec<Message>, until_number: u64, out: &mut Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        if until_number == 0 {
            out.extend(messages);
        } else {
            self.held.push(Held { until_number, messages });
        }
    }

    /// The Ready `number`, and all before it, are durable.
    pub fn on_persist_ready(&mut self, number: u64) -> Result<(), Fail> {
        if number > self.last_number {
            return misuse(format!(
                "Ready {number} cannot be durable, the last one taken is {}",
                self.last_number
            ));
        }
        while self.unpersisted.front().is_some_and(|n| *n <= number) {
            self.unpersisted.pop_front();
        }
        if self.vote_number <= number {
            self.vote_number = 0;
        }
        // Readys without anything to write are durable as soon as those before them are.
        let upto = self.unpersisted.front().map_or(self.last_number, |n| n - 1);
        self.node.on_persist_ready(upto);
        self.release_held(number);
        self.note_change();
        Ok(())
    }

    fn release_held(&mut self, number: u64) {
        let released = &mut self.released;
        self.held.retain_mut(|held| {
            let wait = held.until_number > number;
            if !wait {
                released.append(&mut held.messages);
            }
            wait
        });
    }

    pub fn advance_applied(&mut self, index: u64) -> Result<(), Fail> {
        let log = &self.node.raft.raft_log;
        let limit = log.committed.min(log.persisted);
        if index < log.applied || index > limit {
            return misuse(format!("applied {index} is outside of [{}, {limit}]", log.applied));
        }
        self.node.advance_apply_to(index);
        Ok(())
    }

    // ---- compaction and snapshots ----

    pub fn compact(&mut self, index: u64) -> Result<(), Fail> {
        let applied = self.node.raft.raft_log.applied;
        if index > applied {
            return misuse(format!("cannot compact to {index}, only {applied} is applied"));
        }
        self.node.mut_store().compact(index)
    }

    pub fn provide_snapshot(&mut self, index: u64, conf_state: ConfState) -> Result<(), Fail> {
        validate::check_conf_state(&conf_state)?;
        let applied = self.node.raft.raft_log.applied;
        let term = match self.mirror().term_of(index) {
            Some(term) if index != 0 && index <= applied && !conf_state.voters.is_empty() => term,
            _ => {
                return misuse(format!(
                    "no snapshot can be at {index}: it must lie in [{}, {applied}]",
                    self.mirror().base_index().max(1)
                ))
            }
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = index;
        metadata.term = term;
        metadata.set_conf_state(conf_state);
        self.node.mut_store().set_snapshot(Some(snapshot));
        Ok(())
    }

    pub fn withdraw_snapshot(&mut self) {
        self.node.mut_store().set_snapshot(None);
    }

    // ---- status ----

    pub fn conf_state(&self) -> ConfState {
        let mut conf_state = self.node.raft.prs().conf().to_conf_state();
        sort(&mut conf_state);
        conf_state
    }

    /// Everyone in the configuration, by id. What a peer holds is known only while this node leads.
    pub fn peers(&self) -> Vec<(u64, &Progress, bool)> {
        let tracker = self.node.raft.prs();
        let mut peers: Vec<_> = tracker
            .iter()
            .map(|(id, progress)| (*id, progress, tracker.conf().voters().contains(*id)))
            .collect();
        peers.sort_by_key(|(id, ..)| *id);
        peers
    }
}

/// raft-rs keeps members in the order of its hash tables.
pub fn sort(conf_state: &mut ConfState) {
    conf_state.voters.sort_unstable();
    conf_state.learners.sort_unstable();
    conf_state.voters_outgoing.sort_unstable();
    conf_state.learners_next.sort_unstable();
}

fn indexes(entries: &[Entry]) -> Range<u64> {
    match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => first.index..last.index + 1,
        _ => 0..0,
    }
}

fn check_hard_state(mut hard_state: HardState, applied: u64, mirror: &Mirror) -> Result<HardState, Fail> {
    let last = mirror.last();
    let last_term = mirror.term_of(last).unwrap_or(0);
    let loss = |text: String| Err(Fail::new(Code::DataLoss, text));
    if hard_state.term >= validate::MAX_NUMBER {
        return loss(format!("stored term {} is out of range", hard_state.term));
    }
    if hard_state.term < last_term {
        return loss(format!(
            "stored term {} is older than the last entry's term {last_term}",
            hard_state.term
        ));
    }
    if hard_state.commit > last {
        return loss(format!(
            "entries up to {} were committed, but the log ends at {last}",
            hard_state.commit
        ));
    }
    if applied > last {
        return loss(format!(
            "entries up to {applied} were applied, but the log ends at {last}"
        ));
    }
    if applied < mirror.base_index() {
        return loss(format!(
            "only entries up to {applied} were applied, but the log begins behind {}",
            mirror.base_index()
        ));
    }
    hard_state.commit = hard_state.commit.max(applied).max(mirror.base_index());
    Ok(hard_state)
}

fn config(options: &Options) -> Result<Config, Fail> {
    const MAX_TICKS: usize = 1 << 20;
    if options.election_tick > MAX_TICKS || options.max_inflight > 1 << 16 {
        return invalid("election_tick or max_inflight is absurd");
    }
    let config = Config {
        id: options.id,
        applied: options.applied,
        election_tick: options.election_tick,
        heartbeat_tick: options.heartbeat_tick,
        // A range of one number; see the top of this file.
        min_election_tick: 2 * options.election_tick,
        max_election_tick: 2 * options.election_tick + 1,
        max_size_per_msg: options.max_message_payload_bytes,
        max_committed_size_per_ready: options.max_ready_payload_bytes,
        max_inflight_msgs: options.max_inflight,
        check_quorum: options.check_quorum,
        pre_vote: options.pre_vote,
        read_only_option: ReadOnlyOption::Safe,
        ..Config::default()
    };
    config.validate()?;
    Ok(config)
}

fn draw_timeout(rng: &mut SplitMix64, election_tick: usize) -> usize {
    election_tick + (rng.next() % election_tick as u64) as usize
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators". Good enough to break ties.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
