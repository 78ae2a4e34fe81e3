//! Fulmar's Raft engine: raft-rs as a pure state machine behind a small C ABI.
//!
//! No I/O, no threads, no clock, no callbacks: the owner feeds ticks, messages and proposals, and carries out what a
//! [`engine::Engine`] hands back. Entry payloads never come in here; an entry carries a 16-byte handle instead.
//!
//! * [`mirror`]: what raft-rs reads as its storage: the metadata of every entry that the owner keeps.
//! * [`engine`]: raft-rs plus what it leaves to its user (persistence order, election timeouts, snapshots wanted).
//! * [`validate`]: refuses messages and states that raft-rs would answer with a panic.
//! * [`abi`]: the C functions of `include/fulmar_raft_engine.h`.

pub mod abi;
pub mod engine;
pub mod fail;
pub mod logs;
pub mod mirror;
mod output;
pub mod validate;
