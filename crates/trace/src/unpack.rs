//! The words of a ring (`pack.rs`) as lines of a trace: the work that the recorder's own thread does.

use crate::Action;
use crate::pack::Head;
use forebay_io::Location;
use std::fmt::Write as _;

/// Turns the words of one ring into lines. It knows what came before, as the packer does.
#[derive(Debug)]
pub(crate) struct Unpacker {
    begun: u64,
    done: u64,
    epoch: u64,
    stream: Option<u64>,
    /// As JSON, with its quotes; empty for none.
    stage: Vec<u8>,
    /// Scheme and host; their text should they make no location.
    root: Result<Location, String>,
    /// The name, packed, and as it is.
    words: Vec<u64>,
    name: Vec<u8>,
    /// The name's folder up to its last slash, and its URI as JSON: most names that follow each other share one.
    folder: Vec<u8>,
    folder_text: Vec<u8>,
    uri: String,
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
        Unpacker {
            begun: 0,
            done: 0,
            epoch: 0,
            stream: None,
            stage: Vec::new(),
            root: Err(String::new()),
            words: Vec::new(),
            name: Vec::new(),
            folder: Vec::new(),
            folder_text: Vec::new(),
            uri: String::new(),
        }
    }

    /// Appends the line of the next operation to `out`, without its end. False if there is none. Its fields and their
    /// order are those of [`Record`](crate::Record); a test holds the two together.
    pub(crate) fn line(&mut self, words: &mut Words<'_>, out: &mut Vec<u8>) -> bool {
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
            if !stage.is_empty() {
                serde_json::to_writer(&mut self.stage, &stage).expect("text is JSON");
            }
        }
    }

    fn operation(&mut self, head: Head, action: Action, words: &mut Words<'_>, out: &mut Vec<u8>) {
        let root = head.has(Head::ROOT).then(|| {
            let lens = words.next();
            let (scheme, host) = ((lens & 0xffff_ffff) as usize, (lens >> 32) as usize);
            format!("{}://{}/", words.text(scheme), words.text(host))
        });
        let mut taken = |what: u64| head.has(what).then(|| words.next());
        let (offset, len) = (taken(Head::RANGE), taken(Head::RANGE));
        let (sample, first) = (taken(Head::SAMPLE), taken(Head::FIRST));
        let (bytes, attempt) = (taken(Head::BYTES), taken(Head::ATTEMPT));
        self.name(head, words);
        if let Some(root) = root {
            self.root = root.parse().map_err(|_| root);
            self.folder.clear();
            self.folder_text.clear();
        }
        out.extend_from_slice(b"{\"op\":\"");
        out.extend_from_slice(action.name().as_bytes());
        out.extend_from_slice(b"\",\"uri\":\"");
        self.uri(out);
        out.push(b'"');
        number("offset", offset, out);
        number("len", len, out);
        number("t_submit", Some(self.begun), out);
        number("t_first", first.map(|first| self.begun.saturating_add(first)), out);
        number("t_done", Some(self.done), out);
        number("bytes", bytes, out);
        if !head.status.is_ok() {
            out.extend_from_slice(b",\"status\":\"");
            out.extend_from_slice(head.status.name().as_bytes());
            out.push(b'"');
        }
        number("attempt", attempt, out);
        if !self.stage.is_empty() {
            out.extend_from_slice(b",\"stage\":");
            out.extend_from_slice(&self.stage);
        }
        number("stream", self.stream, out);
        number("epoch", self.epoch.checked_sub(1), out);
        number("sample_id", sample, out);
        out.push(b'}');
    }

    /// Takes in the part of the name that differs from the one before.
    fn name(&mut self, head: Head, words: &mut Words<'_>) {
        self.words.truncate(head.shared);
        self.words.extend((head.shared..head.len.div_ceil(8)).map(|_| words.next()));
        self.name.truncate(head.shared * 8);
        let differs = self.words.get(head.shared..).unwrap_or_default();
        self.name.extend(differs.iter().flat_map(|word| word.to_le_bytes()));
        self.name.truncate(head.len);
    }

    /// The URI as JSON, without quotes.
    fn uri(&mut self, out: &mut Vec<u8>) {
        let folder = self.name.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
        let (folder, file) = self.name.split_at(folder);
        if !self.folder_text.is_empty() && self.folder == folder && file.iter().all(|&b| is_plain(b)) {
            out.extend_from_slice(&self.folder_text);
            out.extend_from_slice(file);
            return;
        }
        self.uri.clear();
        match &self.root {
            Ok(root) => {
                // The root of files is a slash already.
                let key =
                    if root.host().is_none() { self.name.get(1..).unwrap_or_default() } else { &self.name };
                write!(self.uri, "{}", root.join(key))
            }
            Err(root) => write!(self.uri, "{root}{}", String::from_utf8_lossy(&self.name)),
        }
        .expect("a String takes all");
        let text = serde_json::to_string(&self.uri).expect("text is JSON");
        let text = &text.as_bytes()[1..text.len() - 1];
        out.extend_from_slice(text);
        // No slash is ever escaped, and nothing is escaped by one.
        let end = text.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
        self.folder = folder.to_vec();
        self.folder_text = text[..end].to_vec();
    }
}

/// Whether a byte of a name stands for itself in every URI and in JSON.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=' | b'+' | b',' | b'@' | b'~')
}

fn number(name: &str, value: Option<u64>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        fn what_is_written_is_the_record(all in proptest::collection::vec(said(), 1..40)) {
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
            let (mut unpacker, mut words, mut line) = (Unpacker::new(), Words::new(&words), Vec::new());
            for expected in expected {
                line.clear();
                prop_assert!(unpacker.line(&mut words, &mut line));
                prop_assert_eq!(std::str::from_utf8(&line).unwrap(), serde_json::to_string(&expected).unwrap());
            }
            prop_assert!(!unpacker.line(&mut words, &mut line));
        }
    }
}
