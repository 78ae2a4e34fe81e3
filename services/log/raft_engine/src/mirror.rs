//! The storage that raft-rs reads: metadata of the entries that the owner's log holds, 32 bytes each.
//!
//! ```text
//!   base_index   base_index+1 ...                 last_index
//!   (compacted)  [ term | handle | kind ] ...
//! ```
//!
//! The owner writes entries to disk; here they appear as soon as a Ready handed them out, since raft-rs wants them readable
//! before they are durable. Payloads never come here; configuration changes keep their bytes, because raft-rs reads those.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::fail::{misuse, Fail};

/// Stands for an entry's payload; what `Entry.data` carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handle {
    pub payload_bytes: u32,
    pub payload_crc: u32,
    /// The owner's own; carried along, never looked at.
    pub extra: u64,
}

pub const HANDLE_BYTES: usize = 16;

impl Handle {
    /// `payload_bytes | payload_crc | extra`, little endian.
    pub fn encode(&self) -> [u8; HANDLE_BYTES] {
        let mut bytes = [0; HANDLE_BYTES];
        bytes[0..4].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.extra.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; HANDLE_BYTES]) -> Handle {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Handle {
            payload_bytes: word(0),
            payload_crc: word(4),
            extra: u64::from(word(8)) | u64::from(word(12)) << 32,
        }
    }
}

/// The values are those of `FreEntryKind` in the C header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Somebody proposed it; the handle says what the payload is.
    Payload = 0,
    /// `data` is an encoded ConfChangeV2 (empty: leave the joint configuration).
    ConfChange = 1,
    /// Raft's own, first entry of a leader's term; nothing to apply.
    TermStart = 2,
}

impl Kind {
    pub fn from_u32(value: u32) -> Option<Kind> {
        match value {
            0 => Some(Kind::Payload),
            1 => Some(Kind::ConfChange),
            2 => Some(Kind::TermStart),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub term: u64,
    pub handle: Handle,
    pub kind: Kind,
}

impl Meta {
    /// None when the entry is of no kind that this engine writes.
    pub fn of(entry: &Entry) -> Option<Meta> {
        let (kind, handle) = match EntryType::from_i32(entry.entry_type)? {
            EntryType::EntryConfChangeV2 => (Kind::ConfChange, Handle::default()),
            EntryType::EntryConfChange => return None,
            EntryType::EntryNormal if entry.data.is_empty() => (Kind::TermStart, Handle::default()),
            EntryType::EntryNormal => (Kind::Payload, Handle::decode(entry.data.as_slice().try_into().ok()?)),
        };
        Some(Meta {
            term: entry.term,
            handle,
            kind,
        })
    }
}

/// A peer that needs a snapshot which we do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SnapshotWanted {
    pub peer: u64,
    pub at_least_index: u64,
}

#[derive(Default)]
struct Wanted {
    fresh: Vec<SnapshotWanted>,
    // Told once; raft-rs asks again with every heartbeat.
    told: BTreeSet<u64>,
}

pub struct Mirror {
    base_index: u64,
    base_term: u64,
    metas: VecDeque<Meta>,
    conf_changes: BTreeMap<u64, Vec<u8>>,
    hard_state: HardState,
    conf_state: ConfState,
    snapshot: Option<Snapshot>,
    wanted: RefCell<Wanted>,
}

// A follower that lost touch must not get a message of unbounded length, however small its entries are.
const MAX_ENTRIES_PER_MESSAGE: usize = 4096;
// What an entry costs beside its payload, in limits of bytes.
const ENTRY_OVERHEAD: u64 = 64;

impl Mirror {
    pub fn new(conf_state: ConfState, base_index: u64, base_term: u64) -> Mirror {
        Mirror {
            base_index,
            base_term,
            metas: VecDeque::new(),
            conf_changes: BTreeMap::new(),
            hard_state: HardState::default(),
            conf_state,
            snapshot: None,
            wanted: RefCell::default(),
        }
    }

    pub fn with_hard_state(mut self, hard_state: HardState) -> Mirror {
        self.hard_state = hard_state;
        self
    }

    pub fn base_index(&self) -> u64 {
        self.base_index
    }

    pub fn last(&self) -> u64 {
        self.base_index + self.metas.len() as u64
    }

    pub fn meta(&self, index: u64) -> Option<Meta> {
        let at = index.checked_sub(self.base_index + 1)?;
        self.metas.get(at as usize).copied()
    }

    pub fn conf_change(&self, index: u64) -> &[u8] {
        self.conf_changes.get(&index).map_or(&[], Vec::as_slice)
    }

    pub fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.base_index {
            return Some(self.base_term);
        }
        self.meta(index).map(|meta| meta.term)
    }

    /// Adds the entry behind the last one.
    pub fn push(&mut self, meta: Meta, conf_change: &[u8]) {
        self.metas.push_back(meta);
        if meta.kind == Kind::ConfChange && !conf_change.is_empty() {
            self.conf_changes.insert(self.last(), conf_change.to_vec());
        }
    }

    /// Adds entries, over whatever was at and behind the first one's index.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.base_index && first.index <= self.last() + 1,
            "entries from {} do not join a log of [{}, {}]",
            first.index,
            self.base_index + 1,
            self.last()
        );
        self.metas.truncate((first.index - self.base_index - 1) as usize);
        self.conf_changes.split_off(&first.index);
        for entry in entries {
            let meta = Meta::of(entry).expect("raft-rs made an entry of an unknown kind");
            self.push(meta, &entry.data);
        }
    }

    /// Starts again behind a snapshot.
    pub fn reset(&mut self, base_index: u64, base_term: u64) {
        self.base_index = base_index;
        self.base_term = base_term;
        self.metas.clear();
        self.conf_changes.clear();
        self.snapshot = None;
    }

    /// Forgets entries up to and including `index`.
    pub fn compact(&mut self, index: u64) -> Result<(), Fail> {
        if index <= self.base_index {
            return Ok(());
        }
        let Some(term) = self.term_of(index) else {
            return misuse(format!("cannot compact to {index}: the log ends at {}", self.last()));
        };
        self.metas.drain(..(index - self.base_index) as usize);
        self.conf_changes = self.conf_changes.split_off(&(index + 1));
        self.base_index = index;
        self.base_term = term;
        if self.metas.capacity() > 1024 && self.metas.len() < self.metas.capacity() / 4 {
            self.metas.shrink_to(self.metas.len() * 2);
        }
        Ok(())
    }

    /// The snapshot that peers may be sent from now on; None: there is none any more.
    pub fn set_snapshot(&mut self, snapshot: Option<Snapshot>) {
        self.snapshot = snapshot;
        self.forget_wanted();
    }

    pub fn has_wanted(&self) -> bool {
        !self.wanted.borrow().fresh.is_empty()
    }

    pub fn take_wanted(&mut self) -> Vec<SnapshotWanted> {
        std::mem::take(&mut self.wanted.get_mut().fresh)
    }

    pub fn forget_wanted(&mut self) {
        *self.wanted.get_mut() = Wanted::default();
    }

    fn entry(&self, index: u64, with_handle: bool) -> Entry {
        let meta = self.meta(index).expect("checked by the caller");
        let mut entry = Entry {
            term: meta.term,
            index,
            ..Entry::default()
        };
        match meta.kind {
            Kind::Payload if with_handle => entry.data = meta.handle.encode().to_vec(),
            Kind::Payload | Kind::TermStart => {}
            Kind::ConfChange => {
                entry.set_entry_type(EntryType::EntryConfChangeV2);
                entry.data = self.conf_change(index).to_vec();
            }
        }
        entry
    }

    // How many entries from `low` on, below `high`, fit into `max_bytes` of payload; at least one.
    fn count_fitting(&self, low: u64, high: u64, max_bytes: u64) -> usize {
        let first = (low - self.base_index - 1) as usize;
        let mut bytes = 0u64;
        let fitting = self
            .metas
            .range(first..first + (high - low) as usize)
            .take_while(|meta| {
                bytes = bytes.saturating_add(u64::from(meta.handle.payload_bytes) + ENTRY_OVERHEAD);
                bytes <= max_bytes
            })
            .count();
        fitting.max(1)
    }
}

fn error<T>(error: StorageError) -> raft::Result<T> {
    Err(raft::Error::Store(error))
}

impl Storage for Mirror {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base_index {
            return error(StorageError::Compacted);
        }
        if high > self.last() + 1 {
            return error(StorageError::Unavailable);
        }
        if low >= high {
            return Ok(Vec::new());
        }
        // raft-rs says "may be fetched later" exactly where entries are for a message to a peer. Elsewhere nobody looks at
        // the handles (the Ready takes them from here), so they are not copied.
        let for_peer = context.can_async();
        let mut count = (high - low) as usize;
        if let Some(max_bytes) = max_size.into() {
            if max_bytes != raft::NO_LIMIT {
                count = self.count_fitting(low, high, max_bytes);
            }
        }
        if for_peer {
            count = count.min(MAX_ENTRIES_PER_MESSAGE);
        }
        Ok((low..low + count as u64)
            .map(|index| self.entry(index, for_peer))
            .collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_of(index) {
            Some(term) => Ok(term),
            None if index < self.base_index => error(StorageError::Compacted),
            None => error(StorageError::Unavailable),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // A snapshot below our first entry would leave a gap behind it.
        let at_least_index = request_index.max(self.base_index);
        match &self.snapshot {
            Some(snapshot) if snapshot.get_metadata().index >= at_least_index => Ok(snapshot.clone()),
            _ => {
                let mut wanted = self.wanted.borrow_mut();
                if wanted.told.insert(to) {
                    wanted.fresh.push(SnapshotWanted {
                        peer: to,
                        at_least_index,
                    });
                }
                error(StorageError::SnapshotTemporarilyUnavailable)
            }
        }
    }
}
