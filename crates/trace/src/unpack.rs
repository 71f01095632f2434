//! The words of a ring (`pack.rs`) as lines of a trace: the work that the recorder's own thread does.

use crate::Action;
use crate::frame::Frame;
use crate::line::{
    ATTEMPT, BYTES, DONE, EPOCH, FIRST, LEN, Line, Lines, Numbers, OFFSET, SAMPLE, STREAM, SUBMIT,
};
use crate::pack::Head;
use forebay_io::Location;

/// Turns the words of one ring into lines. It knows what came before, as the packer does.
#[derive(Debug, Default)]
pub(crate) struct Unpacker {
    begun: u64,
    done: u64,
    epoch: u64,
    stream: Option<u64>,
    /// As JSON, with its quotes; empty for none.
    stage: Vec<u8>,
    stage_number: u64,
    /// Scheme and host; none should their text make no location.
    root: Option<Location>,
    /// What every URI of the root begins with, and then the name as it is. It is the URI, and that as JSON, unless something
    /// in it is written otherwise there.
    uri: Vec<u8>,
    /// Bytes of it that are the root's.
    front: usize,
    /// Where the first byte of the name is that may be written otherwise.
    odd: Option<usize>,
    /// The URI as JSON, without quotes, where it is not `uri`.
    escaped: Vec<u8>,
    /// Of the last name that was written otherwise: the bytes of `uri` and of `escaped` up to the last slash.
    folder: Option<(usize, usize)>,
    numbers: Numbers,
    lines: Lines,
}

/// The words of some operations, as far as they are read.
pub(crate) struct Words<'a>(std::slice::Iter<'a, u64>);

impl<'a> Words<'a> {
    /// All of them. Operations must be whole.
    pub(crate) fn new(words: &'a [u64]) -> Words<'a> {
        Words(words.iter())
    }

    fn next(&mut self) -> u64 {
        self.0.next().copied().unwrap_or_default()
    }

    fn text(&mut self, len: usize) -> String {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(len);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Unpacker {
    /// For a ring of which nothing was read.
    pub(crate) fn new() -> Unpacker {
        Unpacker::default()
    }

    /// Appends the line of the next operation to `out`, with its end. False if there is none. Its fields and their
    /// order are those of [`Record`](crate::Record); a test holds the two together.
    pub(crate) fn line(&mut self, words: &mut Words<'_>, out: &mut Frame) -> bool {
        loop {
            if words.0.as_slice().is_empty() {
                return false;
            }
            let head = Head::unpack(words.next());
            match head.action {
                None => self.batch(head, words),
                Some(action) => {
                    self.operation(head, action, words, out);
                    return true;
                }
            }
        }
    }

    /// What operations from here on have in common.
    fn batch(&mut self, head: Head, words: &mut Words<'_>) {
        (self.begun, self.done, self.epoch) = (words.next(), words.next(), words.next());
        self.stream = head.has(Head::STREAM).then(|| words.next());
        if head.has(Head::STAGE) {
            let stage = words.text(head.len);
            self.stage.clear();
            self.stage_number += 1;
            if !stage.is_empty() {
                serde_json::to_writer(&mut self.stage, &stage).expect("text is JSON");
            }
        }
    }

    fn operation(&mut self, head: Head, action: Action, words: &mut Words<'_>, out: &mut Frame) {
        if head.has(Head::ROOT) {
            self.root(words);
        }
        let numbers = &mut self.numbers;
        numbers.clear();
        let mut take = |what: u64, which: usize| {
            if head.has(what) {
                // The first byte's time is told from the beginning.
                let from = if which == FIRST { self.begun } else { 0 };
                numbers.set(which, words.next().saturating_add(from));
            }
        };
        take(Head::RANGE, OFFSET);
        take(Head::RANGE, LEN);
        take(Head::SAMPLE, SAMPLE);
        take(Head::FIRST, FIRST);
        take(Head::BYTES, BYTES);
        take(Head::ATTEMPT, ATTEMPT);
        numbers.set(SUBMIT, self.begun);
        numbers.set(DONE, self.done);
        if let Some(stream) = self.stream {
            numbers.set(STREAM, stream);
        }
        if let Some(epoch) = self.epoch.checked_sub(1) {
            numbers.set(EPOCH, epoch);
        }
        self.name(head, words);
        let uri = if self.odd.is_none() && self.root.is_some() { &self.uri } else { &self.escaped };
        let (status, stage, stage_number) = (head.status, &self.stage, self.stage_number);
        let numbers = &self.numbers;
        self.lines.append(&Line { action, status, uri, stage, stage_number, numbers }, out);
    }

    /// Takes in another scheme and host.
    fn root(&mut self, words: &mut Words<'_>) {
        let name = self.uri.len() - self.front;
        let lens = words.next();
        let (scheme, host) = ((lens & 0xffff_ffff) as usize, (lens >> 32) as usize);
        let text = format!("{}://{}/", words.text(scheme), words.text(host));
        self.root = text.parse().ok();
        let mut text = self.root.as_ref().map_or(text, Location::to_string);
        if self.root.as_ref().is_some_and(|root| root.host().is_none()) {
            // The root of files is a slash, which names begin with.
            text.pop();
        }
        self.uri.splice(..self.front, text.into_bytes());
        self.front = self.uri.len() - name;
        self.folder = None;
        self.odd = odd(&self.uri);
    }

    /// Takes in the part of the name that differs from the one before.
    fn name(&mut self, head: Head, words: &mut Words<'_>) {
        let same = (self.front + head.shared * 8).min(self.uri.len());
        self.uri.truncate(same);
        let (mut is_plain, mut left) = (true, head.len.saturating_sub(head.shared * 8));
        while left > 0 {
            let bytes = words.next().to_le_bytes();
            self.uri.extend_from_slice(&bytes);
            // What fills up the last word is taken for plain by what stands before it.
            let plain = |at: usize| PLAIN[usize::from(bytes[at.min(left - 1)])];
            is_plain &= (0..8).fold(true, |all, at| all & plain(at));
            left -= left.min(8);
        }
        self.uri.truncate(self.front + head.len);
        if self.odd.is_none_or(|odd| odd >= same) {
            self.odd = if is_plain { None } else { odd(&self.uri[same..]).map(|at| same + at) };
        }
        self.folder = self.folder.filter(|(len, _)| *len <= same);
        if self.odd.is_some() || self.root.is_none() {
            self.escape();
        }
    }

    /// Writes the URI as JSON does, if that is not as it is.
    fn escape(&mut self) {
        if let Some((len, escaped)) = self.folder
            && odd(&self.uri[len..]).is_none()
            && !self.uri[len..].contains(&b'/')
        {
            self.escaped.truncate(escaped);
            self.escaped.extend_from_slice(&self.uri[len..]);
            return;
        }
        let name = &self.uri[self.front..];
        let uri = match &self.root {
            Some(root) if root.host().is_none() => root.join(name.get(1..).unwrap_or_default()).to_string(),
            Some(root) => root.join(name).to_string(),
            None => String::from_utf8_lossy(&self.uri).into_owned(),
        };
        self.escaped.clear();
        serde_json::to_writer(&mut self.escaped, &uri).expect("text is JSON");
        self.escaped.pop();
        self.escaped.remove(0);
        // No slash is ever escaped, and nothing is escaped by one.
        let folder = |text: &[u8]| text.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        self.folder = Some((folder(&self.uri), folder(&self.escaped)));
    }
}

/// Where the first byte is that may not stand for itself in a URI and in JSON.
fn odd(text: &[u8]) -> Option<usize> {
    text.iter().position(|&byte| !PLAIN[usize::from(byte)])
}

/// Which bytes of a name stand for themselves in every URI and in JSON: what ASCII shows, but for what a URI gives a meaning to and
/// what a [`Location`] or JSON escapes.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        plain[byte] = !matches!(byte as u8, b'"' | b'#' | b'%' | b'<' | b'>' | b'?' | b'`' | b'\\');
        byte += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Compressor;
    use crate::pack::{Batch, Packer};
    use crate::{Record, Status};
    use forebay_io::{End, Kind, Op, Operation, Served};
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    /// What one call of an observer says, without what it borrows.
    #[derive(Debug, Clone)]
    struct Said {
        operation: Operation,
        location: Location,
        range: Option<(u64, u64)>,
        sample: Option<u64>,
        stage: &'static str,
        stream: Option<u64>,
        attempt: u32,
        begun: u64,
        done: u64,
        epoch: Option<u64>,
        end: End,
        /// Whether there was no room for it in the ring.
        lost: bool,
    }

    fn end() -> impl Strategy<Value = End> {
        let served = (any::<u64>(), proptest::option::of(0u64..1 << 40)).prop_map(|(bytes, first)| {
            let first_byte = first.map(Duration::from_nanos);
            End::Done(Served { bytes, first_byte, ..Served::default() })
        });
        let failed = proptest::sample::select(&Kind::ALL[..]).prop_map(End::Failed);
        prop_oneof![4 => served, 1 => failed, 1 => Just(End::Cancelled)]
    }

    fn location() -> impl Strategy<Value = Location> {
        let file = "(/[a-z0-9 \"%\\\\\u{e4}\u{200b}]{0,12}){1,4}"
            .prop_map(|path| Location::from_path(std::path::Path::new(&path)).unwrap());
        let bytes = proptest::collection::vec(1u8..=255, 1..20)
            .prop_map(|key| "file:///b".parse::<Location>().unwrap().join(&key));
        let key = ("(s3|az|mem|other)://[a-c]{1,9}/", "[a-c/\"\\\\\u{e4}]{0,40}")
            .prop_map(|(root, key)| (root + &key).parse::<Location>().unwrap());
        let https = "https://[a-c]{1,9}/[a-c]{1,3}/[a-c]{0,20}".prop_map(|uri| uri.parse().unwrap());
        let many = "/data/train/[0-9]{8}[.]bin".prop_map(|uri| uri.parse().unwrap());
        prop_oneof![1 => file, 1 => bytes, 1 => key, 1 => https, 3 => many]
    }

    fn said() -> impl Strategy<Value = Said> {
        let what = (proptest::sample::select(&Operation::ALL[..]), location(), end());
        let number = || proptest::option::of(any::<u64>());
        let which = (proptest::option::of((0u64..1 << 50, 0u64..1 << 50)), number(), number());
        let stage = proptest::sample::select(&["", "read", "a stage \"of\" another name"][..]);
        let when = (0u64..5, 5u64..9, proptest::option::of(0u64..3));
        (what, which, stage, prop_oneof![Just(0u32), any::<u32>()], when, proptest::bool::weighted(0.1))
            .prop_map(
                |(
                    (operation, location, end),
                    (range, sample, stream),
                    stage,
                    attempt,
                    (begun, done, epoch),
                    lost,
                )| Said {
                    operation,
                    location,
                    range,
                    sample,
                    stage,
                    stream,
                    attempt,
                    begun,
                    done,
                    epoch,
                    end,
                    lost,
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_is_the_record(all in proptest::collection::vec(said(), 1..40), ends in 1usize..40) {
            let origin = Instant::now();
            let at = |ns: u64| origin + Duration::from_nanos(ns);
            let (mut packer, mut words, mut expected) = (Packer::default(), Vec::new(), Vec::new());
            for said in &all {
                let op = Op {
                    operation: said.operation,
                    location: &said.location,
                    range: said.range.map(|(offset, len)| offset..offset + len),
                    sample: said.sample,
                    stage: said.stage,
                    stream: said.stream,
                    epoch: said.epoch,
                    attempt: said.attempt,
                    begun: at(said.begun),
                };
                let batch = Batch { origin, done: at(said.done) };
                let packed = packer.pack(&op, &said.end, batch).unwrap();
                if said.lost {
                    packer.forget();
                    continue;
                }
                words.extend_from_slice(packed);
                let Some(action) = Action::of(said.operation) else { continue };
                let (status, served) = match said.end {
                    End::Done(served) => (Status::Ok, Some(served)),
                    End::Failed(kind) => (Status::Failed(kind), None),
                    End::Cancelled => (Status::Failed(Kind::Cancelled), None),
                };
                let moves = matches!(action, Action::Get | Action::Read | Action::Put);
                expected.push(Record {
                    offset: said.range.map(|range| range.0),
                    len: said.range.map(|range| range.1),
                    t_first: served.and_then(|s| Some(said.begun + s.first_byte?.as_nanos() as u64)),
                    t_done: Some(said.done),
                    bytes: served.filter(|_| moves).map(|served| served.bytes),
                    status,
                    attempt: said.attempt,
                    stage: Some(said.stage.to_owned()).filter(|stage| !stage.is_empty()),
                    stream: said.stream,
                    epoch: said.epoch,
                    sample_id: said.sample,
                    ..Record::asked(action, said.location.to_string(), said.begun)
                });
            }
            let (mut unpacker, mut words) = (Unpacker::new(), Words::new(&words));
            let (mut frame, mut compressor) = (Frame::new(true), Compressor::new().unwrap());
            for (i, expected) in expected.into_iter().enumerate() {
                let begin = frame.text().len();
                prop_assert!(unpacker.line(&mut words, &mut frame));
                let line = std::str::from_utf8(&frame.text()[begin..]).unwrap();
                prop_assert_eq!(line, serde_json::to_string(&expected).unwrap() + "\n");
                if i % ends == ends - 1 {
                    let (text, mut out) = (frame.text().to_vec(), Vec::new());
                    frame.compress(&mut compressor, &mut out).unwrap();
                    prop_assert_eq!(zstd::decode_all(&out[..]).unwrap(), text);
                }
            }
            prop_assert!(!unpacker.line(&mut words, &mut frame));
        }
    }
}
