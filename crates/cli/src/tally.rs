//! What a command has done so far: for its progress bar, its summary, and for who interrupts it.

use forebay_metrics::units;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Things done and bytes moved. Exact, shared by all tasks of a command.
#[derive(Debug)]
pub(crate) struct Tally {
    /// "copied", "removed".
    verb: &'static str,
    /// "file" or "files".
    nouns: [&'static str; 2],
    things: AtomicU64,
    bytes: AtomicU64,
    bar: OnceLock<ProgressBar>,
}

impl Tally {
    /// Nothing done yet.
    pub(crate) fn new(verb: &'static str, nouns: [&'static str; 2]) -> Self {
        Tally { verb, nouns, things: AtomicU64::new(0), bytes: AtomicU64::new(0), bar: OnceLock::new() }
    }

    /// Shows progress on this bar from now on.
    pub(crate) fn draw_on(&self, bar: ProgressBar) {
        bar.set_message(self.verb);
        self.bar.get_or_init(|| bar);
    }

    /// One more thing is done.
    pub(crate) fn add_thing(&self) {
        self.add_things(1);
    }

    /// More things are done.
    pub(crate) fn add_things(&self, n: u64) {
        self.things.fetch_add(n, Relaxed);
    }

    /// More bytes were moved.
    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        if let Some(bar) = self.bar.get() {
            bar.inc(bytes);
        }
    }

    /// Bytes that must be moved again.
    pub(crate) fn take_back_bytes(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Relaxed);
        if let Some(bar) = self.bar.get() {
            bar.set_position(bar.position().saturating_sub(bytes));
        }
    }

    /// Things done.
    pub(crate) fn things(&self) -> u64 {
        self.things.load(Relaxed)
    }

    /// Bytes moved.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// `{"files": 12, "bytes": 34}`, with the noun of the command.
    pub(crate) fn to_json(&self) -> Value {
        json!({ self.nouns[1]: self.things(), "bytes": self.bytes() })
    }
}

impl fmt::Display for Tally {
    /// `copied 12 files, 3.40 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (things, bytes) = (self.things(), self.bytes());
        let noun = self.nouns[usize::from(things != 1)];
        write!(f, "{} {} {noun}", self.verb, units::count(things))?;
        if bytes > 0 {
            write!(f, ", {}", units::bytes(bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_sentence() {
        let tally = Tally::new("copied", ["file", "files"]);
        assert_eq!(tally.to_string(), "copied 0 files");
        tally.add_thing();
        tally.add_bytes(65_536);
        assert_eq!(tally.to_string(), "copied 1 file, 64.0 KiB");
        assert_eq!(tally.to_json(), json!({ "files": 1, "bytes": 65_536 }));
    }
}
