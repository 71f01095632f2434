//! What can be wrong with the files of a data set, and the report of it.

use crate::context::Context;
use crate::entry;
use crate::exit::Exit;
use crate::failure::Result;
use crate::manifest::Promise;
use forebay_io::{Error, Location};
use forebay_metrics::units;
use serde_json::{Map, Value, json};

/// Lines of text about one kind of problem. JSON has them all.
const SHOWN: usize = 20;

/// What is wrong with one file.
#[derive(Debug)]
pub(crate) enum Problem {
    Missing,
    Extra,
    WrongSize {
        promised: u64,
        found: u64,
    },
    WrongChecksum {
        promised: blake3::Hash,
        found: blake3::Hash,
    },
    Unreadable(Error),
    /// Came twice in one epoch.
    Repeated,
    /// Did not come in an epoch that should have had it.
    NotDelivered,
}

impl Problem {
    /// Names of all, in the order in which they are reported.
    const NAMES: [&str; 7] =
        ["missing", "extra", "wrong_size", "wrong_checksum", "unreadable", "repeated", "not_delivered"];

    fn index(&self) -> usize {
        match self {
            Problem::Missing => 0,
            Problem::Extra => 1,
            Problem::WrongSize { .. } => 2,
            Problem::WrongChecksum { .. } => 3,
            Problem::Unreadable(_) => 4,
            Problem::Repeated => 5,
            Problem::NotDelivered => 6,
        }
    }

    fn to_json(&self, root: &Location, key: &[u8]) -> Value {
        let mut line = json!({
            "type": Self::NAMES[self.index()],
            "key": String::from_utf8_lossy(key),
            "location": root.join(key).to_string(),
        });
        let mut set = |name: &str, value: Value| line[name] = value;
        match self {
            Problem::Missing | Problem::Extra | Problem::Repeated | Problem::NotDelivered => {}
            Problem::WrongSize { promised, found } => {
                set("promised", (*promised).into());
                set("found", (*found).into());
            }
            Problem::WrongChecksum { promised, found } => {
                set("promised", promised.to_hex().as_str().into());
                set("found", found.to_hex().as_str().into());
            }
            Problem::Unreadable(error) => {
                set("kind", error.kind().name().into());
                set("message", error.to_string().into());
            }
        }
        line
    }

    /// What there is to say beyond the name of the problem.
    fn details(&self) -> String {
        match self {
            Problem::Missing | Problem::Extra | Problem::Repeated | Problem::NotDelivered => String::new(),
            Problem::WrongSize { promised, found } => {
                format!(": {} bytes, not {}", units::count(*found), units::count(*promised))
            }
            Problem::WrongChecksum { promised, found } => {
                format!(": blake3 {:.16}…, not {:.16}…", found.to_hex(), promised.to_hex())
            }
            Problem::Unreadable(error) => format!(": {error}"),
        }
    }
}

/// Compares bytes with what was promised of them.
pub(crate) fn compare(bytes: &[u8], promise: &Promise) -> Option<Problem> {
    if bytes.len() as u64 != promise.size {
        return Some(Problem::WrongSize { promised: promise.size, found: bytes.len() as u64 });
    }
    let found = blake3::hash(bytes);
    (found != promise.hash).then_some(Problem::WrongChecksum { promised: promise.hash, found })
}

/// What was found. Of each kind of problem, as many as are shown are kept.
#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: [u64; 7],
    shown: [Vec<String>; 7],
}

impl Report {
    /// Counts a problem. With `--json` it is printed at once.
    pub(crate) fn add(
        &mut self,
        key: &[u8],
        problem: Problem,
        root: &Location,
        context: &Context,
    ) -> Result<()> {
        let index = problem.index();
        self.counts[index] += 1;
        if context.console.json() {
            context.console.record(&problem.to_json(root, key))?;
            return context.console.flush();
        }
        if self.shown[index].len() < SHOWN {
            let key = entry::shown(key, true);
            self.shown[index].push(format!("{}{}", String::from_utf8_lossy(&key), problem.details()));
        }
        Ok(())
    }

    /// How a command that found this ends.
    pub(crate) fn exit(&self) -> Exit {
        if self.total() == 0 { Exit::Done } else { Exit::Mismatch }
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// `{"missing": 0, "extra": 2, …}`.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        Problem::NAMES.into_iter().zip(self.counts).map(|(name, n)| (name.to_owned(), n.into())).collect()
    }

    /// The problems, a paragraph a kind; empty if there are none.
    pub(crate) fn list(&mut self) -> String {
        let mut text = String::new();
        for ((name, count), lines) in Problem::NAMES.into_iter().zip(self.counts).zip(&mut self.shown) {
            if count == 0 {
                continue;
            }
            // Tasks end in any order; people look for names.
            lines.sort_unstable();
            text += &format!("{} {}:\n", units::count(count), name.replace('_', " "));
            for line in &*lines {
                text += &format!("  {line}\n");
            }
            if count > lines.len() as u64 {
                let more = units::count(count - lines.len() as u64);
                text += &format!("  … and {more} more (--json lists all)\n");
            }
        }
        text
    }

    /// The result in a few words.
    pub(crate) fn verdict(&self) -> String {
        match self.total() {
            0 => "all as promised".to_owned(),
            n => format!("{} not as promised", units::count(n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_held_to_their_promise() {
        let promise = Promise { size: 3, hash: blake3::hash(b"abc") };
        assert!(compare(b"abc", &promise).is_none());
        assert!(matches!(compare(b"abd", &promise), Some(Problem::WrongChecksum { .. })));
        assert!(matches!(compare(b"ab", &promise), Some(Problem::WrongSize { promised: 3, found: 2 })));
    }
}
