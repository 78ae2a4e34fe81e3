//! raft-rs's log lines, kept in memory until the owner takes them. Bounded: when full, the oldest lines go and are counted.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use slog::{Drain, Level, Logger, OwnedKVList, Record, Serializer, KV};

const MAX_LINES: usize = 256;

#[derive(Default)]
pub struct Lines {
    pub lines: VecDeque<(u32, String)>,
    pub dropped: u64,
}

pub type SharedLines = Arc<Mutex<Lines>>;

/// A logger that keeps lines of `max_level` (slog's numbers: 1 critical, 2 error, 3 warning, 4 info) and graver; 0 keeps none.
pub fn logger(max_level: u32) -> (Logger, SharedLines) {
    let lines = SharedLines::default();
    let logger = match Level::from_usize(max_level as usize) {
        Some(level) => {
            let keep = Keep {
                lines: lines.clone(),
                level,
            };
            Logger::root(keep, slog::o!())
        }
        None => Logger::root(slog::Discard, slog::o!()),
    };
    (logger, lines)
}

struct Keep {
    lines: SharedLines,
    level: Level,
}

impl Drain for Keep {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record, _context: &OwnedKVList) -> Result<(), slog::Never> {
        if !record.level().is_at_least(self.level) {
            return Ok(());
        }
        let mut text = Text(record.msg().to_string());
        let _ = record.kv().serialize(record, &mut text);
        // A poisoned lock means a panic while logging; the line is lost, nothing else.
        if let Ok(mut kept) = self.lines.lock() {
            if kept.lines.len() == MAX_LINES {
                kept.lines.pop_front();
                kept.dropped += 1;
            }
            kept.lines.push_back((record.level().as_usize() as u32, text.0));
        }
        Ok(())
    }
}

struct Text(String);

impl Serializer for Text {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments) -> slog::Result {
        let _ = write!(self.0, ", {key}: {value}");
        Ok(())
    }
}
