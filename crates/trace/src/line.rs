//! Lines of a trace, each made of one before it: most of a line is as it was in the last one of its kind, and is neither
//! formatted nor compressed again. Fields and their order are those of [`Record`](crate::Record); a test holds the two together
//! (`unpack.rs`).

use crate::frame::Frame;
use crate::{Action, Status};

/// The numbers of a line, in their order.
pub(crate) const OFFSET: usize = 0;
pub(crate) const LEN: usize = 1;
pub(crate) const SUBMIT: usize = 2;
pub(crate) const FIRST: usize = 3;
pub(crate) const DONE: usize = 4;
pub(crate) const BYTES: usize = 5;
pub(crate) const ATTEMPT: usize = 6;
pub(crate) const STREAM: usize = 7;
pub(crate) const EPOCH: usize = 8;
pub(crate) const SAMPLE: usize = 9;

const NUMBERS: usize = 10;

const KEYS: [&[u8]; NUMBERS] = [
    b",\"offset\":",
    b",\"len\":",
    b",\"t_submit\":",
    b",\"t_first\":",
    b",\"t_done\":",
    b",\"bytes\":",
    b",\"attempt\":",
    b",\"stream\":",
    b",\"epoch\":",
    b",\"sample_id\":",
];

/// The text of a line before its URI, the action's name aside.
const OPENING: [&[u8]; 2] = [b"{\"op\":\"", b"\",\"uri\":\""];

const ENDING: &[u8] = b"}\n";

/// The numbers that a line has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    /// Of those that there are not, whatever was there before.
    values: [u64; NUMBERS],
    /// A bit for each that there is.
    present: u16,
}

impl Numbers {
    /// There is none any more.
    pub(crate) fn clear(&mut self) {
        self.present = 0;
    }

    pub(crate) fn set(&mut self, which: usize, value: u64) {
        self.values[which] = value;
        self.present |= 1 << which;
    }

    fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.present;
        std::iter::from_fn(move || {
            let next = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (next < NUMBERS).then_some(next)
        })
    }
}

/// What a line says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) action: Action,
    pub(crate) status: Status,
    /// As JSON, without its quotes.
    pub(crate) uri: &'a [u8],
    /// As JSON, with its quotes; empty for none.
    pub(crate) stage: &'a [u8],
    /// Another one wherever the stage is another than in the line before.
    pub(crate) stage_number: u64,
    pub(crate) numbers: &'a Numbers,
}

/// Makes lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The last line of each action: what opens an object is not like what reads it.
    before: [Option<Before>; Action::ALL.len()],
    /// A line that is like none before.
    whole: Vec<u8>,
}

/// Where a line is, and what is where in it.
#[derive(Debug, Clone)]
struct Before {
    /// The number of the frame's text.
    text: u64,
    begin: usize,
    status: Status,
    stage_number: u64,
    uri: usize,
    numbers: Numbers,
    /// Bytes of each number, and of what stands between it and the number (or the URI) before.
    digits: [u8; NUMBERS],
    gaps: [usize; NUMBERS],
    /// Bytes behind the last number.
    rest: usize,
}

/// Copies a line up to where it differs.
struct Copy<'a> {
    frame: &'a mut Frame,
    /// From where, and how much of what follows is the same.
    from: usize,
    same: usize,
}

impl Copy<'_> {
    /// The next `len` bytes, as they were.
    fn next(&self, len: usize) -> &[u8] {
        &self.frame.text()[self.from + self.same..][..len]
    }

    /// Puts `new` where `old` bytes were.
    fn replace(&mut self, old: usize, new: &[u8]) {
        self.put_same();
        self.from += old;
        self.frame.push(new);
    }

    fn put_same(&mut self) {
        self.frame.repeat(self.from, self.same);
        self.from += self.same;
        self.same = 0;
    }
}

impl Lines {
    /// Appends a line, with its end.
    pub(crate) fn append(&mut self, line: &Line<'_>, frame: &mut Frame) {
        let before = &mut self.before[line.action as usize];
        if let Some(before) = before
            && before.text == frame.number()
            && before.status == line.status
            && before.stage_number == line.stage_number
            && before.numbers.present == line.numbers.present
        {
            return before.again(line, frame);
        }
        self.whole.clear();
        *before = Some(Before {
            text: frame.number(),
            begin: frame.text().len(),
            ..Before::whole(line, &mut self.whole)
        });
        frame.push(&self.whole);
    }
}

impl Before {
    /// Makes a line from its beginning.
    fn whole(line: &Line<'_>, out: &mut Vec<u8>) -> Before {
        let (mut digits, mut gaps) = ([0; NUMBERS], [0; NUMBERS]);
        let mut put = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            bytes.len()
        };
        for text in [OPENING[0], line.action.name().as_bytes(), OPENING[1], line.uri] {
            put(text);
        }
        let mut gap = put(b"\"");
        let present = line.numbers.present;
        for which in 0..NUMBERS {
            if which == BYTES + 1 && !line.status.is_ok() {
                gap += put(b",\"status\":\"") + put(line.status.name().as_bytes()) + put(b"\"");
            }
            if which == ATTEMPT + 1 && !line.stage.is_empty() {
                gap += put(b",\"stage\":") + put(line.stage);
            }
            if present & (1 << which) != 0 {
                gaps[which] = gap + put(KEYS[which]);
                digits[which] = put(itoa::Buffer::new().format(line.numbers.values[which]).as_bytes()) as u8;
                gap = 0;
            }
        }
        let rest = gap + put(ENDING);
        Before {
            text: 0,
            begin: 0,
            status: line.status,
            stage_number: line.stage_number,
            uri: line.uri.len(),
            numbers: line.numbers.clone(),
            digits,
            gaps,
            rest,
        }
    }

    /// Makes a line of the same fields.
    fn again(&mut self, line: &Line<'_>, frame: &mut Frame) {
        let begin = frame.text().len();
        let mut copy = Copy { frame, from: self.begin, same: 0 };
        copy.same = OPENING[0].len() + line.action.name().len() + OPENING[1].len();
        let (old, new) = (copy.next(self.uri), line.uri);
        let front = common(old, new);
        if front < old.len() || front < new.len() {
            let (old, new) = (&old[front..], &new[front..]);
            let back = common_end(old, new);
            let (old, new) = (old.len() - back, &new[..new.len() - back]);
            copy.same += front;
            copy.replace(old, new);
            copy.same += back;
        } else {
            copy.same += front;
        }
        for which in line.numbers.iter() {
            let (value, digits) = (line.numbers.values[which], usize::from(self.digits[which]));
            copy.same += self.gaps[which];
            if value == self.numbers.values[which] {
                copy.same += digits;
                continue;
            }
            let mut buffer = itoa::Buffer::new();
            let new = buffer.format(value).as_bytes();
            let front = if new.len() == digits { common(copy.next(digits), new) } else { 0 };
            copy.same += front;
            copy.replace(digits - front, &new[front..]);
            (self.digits[which], self.numbers.values[which]) = (new.len() as u8, value);
        }
        copy.same += self.rest;
        copy.put_same();
        (self.begin, self.uri) = (begin, line.uri.len());
    }
}

/// How many bytes two texts have in common at their beginnings.
fn common(a: &[u8], b: &[u8]) -> usize {
    let word = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
    let mut same = 0;
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let differ = word(a) ^ word(b);
        if differ != 0 {
            return same + (differ.trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// How many bytes two texts have in common at their ends.
fn common_end(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}
