//! Operations as words of a ring: what the path of a read pays for a trace. Nothing is formatted, allocated or hashed, and
//! what an operation has in common with the one before is not written again: the members of a batch share their
//! instants, stage and stream, and the names of a folder begin alike.
//!
//! A word is 64 bits. First comes a head, which says what follows ([`Head`]); texts are packed eight bytes a word, the last
//! one filled up with zeros. `unpack.rs` turns them into the lines of a trace.

use crate::reader::LONGEST_LINE;
use crate::{Action, Status};
use forebay_io::{End, Kind, Location, Op};
use std::time::Instant;

/// What one word at the beginning of each entry says: what happened, what follows it, and how long the name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// None: not an operation but what is common to those that follow.
    pub(crate) action: Option<Action>,
    pub(crate) status: Status,
    /// Which words follow: the sum of the constants below.
    pub(crate) has: u64,
    /// Words that the name begins with which are those of the name before.
    pub(crate) shared: usize,
    /// Bytes of the name; of the stage's where there is no action.
    pub(crate) len: usize,
}

impl Head {
    /// Scheme and host are others than before. Their lengths follow in a word, then their texts.
    pub(crate) const ROOT: u64 = 1;
    /// Offset and length, where not all was asked for.
    pub(crate) const RANGE: u64 = 2;
    pub(crate) const SAMPLE: u64 = 4;
    /// Nanoseconds from the beginning to the first byte.
    pub(crate) const FIRST: u64 = 8;
    pub(crate) const BYTES: u64 = 16;
    pub(crate) const ATTEMPT: u64 = 32;
    pub(crate) const STREAM: u64 = 64;
    /// The stage is another than before.
    pub(crate) const STAGE: u64 = 128;

    const NO_ACTION: u64 = 15;

    fn pack(self) -> u64 {
        let action = self.action.map_or(Head::NO_ACTION, |action| action as u64);
        let status = match self.status {
            Status::Ok => 0,
            Status::Error => 1,
            Status::Failed(kind) => {
                2 + Kind::ALL.iter().position(|one| *one == kind).unwrap_or(Kind::ALL.len()) as u64
            }
        };
        action | status << 4 | self.has << 12 | (self.shared as u64) << 20 | (self.len as u64) << 42
    }

    pub(crate) fn unpack(word: u64) -> Head {
        let status = match (word >> 4 & 0xff) as usize {
            0 => Status::Ok,
            1 => Status::Error,
            kind => Kind::ALL.get(kind - 2).map_or(Status::Error, |kind| Status::Failed(*kind)),
        };
        Head {
            action: Action::ALL.get((word & 15) as usize).copied(),
            status,
            has: word >> 12 & 0xff,
            shared: (word >> 20 & 0x3f_ffff) as usize,
            len: (word >> 42) as usize,
        }
    }

    pub(crate) fn has(self, what: u64) -> bool {
        self.has & what != 0
    }
}

/// What the operations of a batch have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    /// From which times count.
    pub(crate) origin: Instant,
    pub(crate) done: Instant,
}

/// A name does not fit into a line of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Turns operations into words. One a ring: it knows what was written before.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    words: Vec<u64>,
    /// What was written last; none if the next operation must repeat everything.
    last: Option<Last>,
    scheme: String,
    host: Option<String>,
    /// The name, packed.
    name: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    batch: Batch,
    begun: Instant,
    stage: &'static str,
    stream: Option<u64>,
    epoch: Option<u64>,
}

impl Packer {
    /// The words of one operation, none for what a trace does not keep. They build on what this gave before, so all of
    /// it must be written, or [`forget`](Packer::forget) be called.
    ///
    /// # Errors
    /// A name that makes a line longer than a trace may have.
    pub(crate) fn pack(&mut self, op: &Op<'_>, end: &End, batch: Batch) -> Result<&[u64], TooLong> {
        self.words.clear();
        let Some(action) = Action::of(op.operation) else { return Ok(&self.words) };
        let path = op.location.path_bytes();
        if path.len() > LONGEST_LINE {
            return Err(TooLong);
        }
        self.put_common(op, batch);
        let at = self.words.len();
        self.words.push(0);
        let mut has = 0;
        if self.root_is_new(op.location) {
            has |= Head::ROOT;
            self.put_root(op.location);
        }
        if let Some(range) = &op.range {
            has |= Head::RANGE;
            self.words.extend([range.start, range.end.saturating_sub(range.start)]);
        }
        if let Some(sample) = op.sample {
            has |= Head::SAMPLE;
            self.words.push(sample);
        }
        let status = match end {
            End::Done(served) => {
                if let Some(first) = served.first_byte {
                    has |= Head::FIRST;
                    self.words.push(u64::try_from(first.as_nanos()).unwrap_or(u64::MAX));
                }
                if matches!(action, Action::Get | Action::Read | Action::Put) {
                    has |= Head::BYTES;
                    self.words.push(served.bytes);
                }
                Status::Ok
            }
            End::Failed(kind) => Status::Failed(*kind),
            End::Cancelled => Status::Failed(Kind::Cancelled),
        };
        if op.attempt > 0 {
            has |= Head::ATTEMPT;
            self.words.push(op.attempt.into());
        }
        let shared = self.put_name(path);
        self.words[at] = Head { action: Some(action), status, has, shared, len: path.len() }.pack();
        Ok(&self.words)
    }

    /// What was given last was not written: the next operation says everything again.
    pub(crate) fn forget(&mut self) {
        self.last = None;
        self.name.clear();
    }

    fn put_common(&mut self, op: &Op<'_>, batch: Batch) {
        let now = Last { batch, begun: op.begun, stage: op.stage, stream: op.stream, epoch: op.epoch };
        let same = self.last.is_some_and(|last| {
            last.begun == now.begun
                && last.batch == batch
                && last.stream == now.stream
                && last.epoch == now.epoch
                && std::ptr::eq(last.stage, now.stage)
        });
        if same {
            return;
        }
        let since = |instant: Instant| {
            let time = instant.saturating_duration_since(batch.origin);
            time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
        };
        let mut has = 0;
        let new_stage = self.last.is_none_or(|last| last.stage != now.stage);
        let at = self.words.len();
        // Plus one; 0 for none.
        let epoch = now.epoch.map_or(0, |epoch| epoch.saturating_add(1));
        self.words.extend([0, since(now.begun), since(batch.done), epoch]);
        if let Some(stream) = now.stream {
            has |= Head::STREAM;
            self.words.push(stream);
        }
        if new_stage {
            has |= Head::STAGE;
            self.words.extend(words_of(now.stage.as_bytes()));
        }
        let head = Head { action: None, status: Status::Ok, has, shared: 0, len: now.stage.len() };
        self.words[at] = head.pack();
        self.last = Some(now);
    }

    fn root_is_new(&self, location: &Location) -> bool {
        // After `forget` there is no name, and one with nothing to share says its root again.
        self.name.is_empty() || self.scheme != location.scheme() || self.host.as_deref() != location.host()
    }

    fn put_root(&mut self, location: &Location) {
        let (scheme, host) = (location.scheme(), location.host());
        // A host is never empty where there is one.
        let lens = scheme.len() as u64 | (host.map_or(0, str::len) as u64) << 32;
        self.words.push(lens);
        self.words.extend(words_of(scheme.as_bytes()));
        self.words.extend(words_of(host.unwrap_or_default().as_bytes()));
        self.scheme.clear();
        self.scheme.push_str(scheme);
        self.host = host.map(str::to_owned);
    }

    /// Writes the part of a name that differs from the one before. Returns how many words do not.
    fn put_name(&mut self, path: &[u8]) -> usize {
        let whole = path.chunks_exact(8).map(word_of);
        let shared = whole.zip(&self.name).take_while(|(now, before)| now == *before).count();
        self.name.truncate(shared);
        self.name.extend(path[shared * 8..].chunks_exact(8).map(word_of));
        self.name.extend(last_of(path));
        self.words.extend_from_slice(&self.name[shared..]);
        shared
    }
}

fn word_of(chunk: &[u8]) -> u64 {
    u64::from_le_bytes(chunk.try_into().expect("eight bytes"))
}

/// The bytes that make no whole word, filled up with zeros.
fn last_of(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.len() % 8;
    if rest == 0 {
        return None;
    }
    // The last eight without those that are in the word before: quicker than to copy so few.
    if let Some(last) = bytes.last_chunk() {
        return Some(u64::from_le_bytes(*last) >> (8 * (8 - rest)));
    }
    Some(bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}

/// Eight bytes a word, the last one filled up with zeros.
fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(word_of).chain(last_of(bytes))
}
