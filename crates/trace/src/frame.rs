//! Lines that are compressed together, and what of them repeats, as far as whoever appends them says so.

use crate::sequences::{Coder, LONGEST, SHORTEST, Sequence, seal};
use std::io;

/// Zstandard's level where repetitions were not told: the quickest, and no larger than 3 or 5 (`docs/decisions/trace-recorder.md`).
const LEVEL: i32 = 1;

/// New text shorter than this is taken to repeat nothing: the numbers of a line.
const SEARCHED: usize = 12;

/// Bytes of which a place in the text is known again.
const KNOWN: usize = 6;

/// Places that are remembered, as many as one text has lines, several times over.
const PLACES_LOG: u32 = 12;

/// A text that grows.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    text: Vec<u8>,
    /// Which of all texts of this frame it is.
    number: u64,
    /// Whether what repeats is of use to anybody.
    is_compressed: bool,
    /// Whether all of the text was told by [`push`](Frame::push) and [`repeat`](Frame::repeat).
    is_told: bool,
    literals: Vec<u8>,
    sequences: Vec<Sequence>,
    /// What stands behind the sequences: so many literals, and then so many bytes that repeat what was so far back. Three words, because
    /// two of one word would be written singly and read together, which waits for both to reach the cache.
    new: usize,
    repeated: usize,
    back: usize,
    /// Where in the text something began that may come again, plus one, by what it began with.
    places: Vec<u32>,
}

impl Frame {
    /// An empty one, of which what repeats is kept if it is to be compressed.
    pub(crate) fn new(is_compressed: bool) -> Frame {
        Frame { is_compressed, is_told: is_compressed, ..Frame::default() }
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Changes when the text begins anew, or something is taken back: positions are of one text.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Appends what is new.
    pub(crate) fn push(&mut self, new: &[u8]) {
        if self.is_told {
            self.push_told(new);
        } else {
            self.text.extend_from_slice(new);
        }
    }

    fn push_told(&mut self, new: &[u8]) {
        if new.len() >= SEARCHED {
            return self.search(new);
        }
        self.end_repetition();
        self.text.extend_from_slice(new);
        self.literals.extend_from_slice(new);
        self.new += new.len();
    }

    /// Appends what the text has at `from`, so many bytes.
    pub(crate) fn repeat(&mut self, from: usize, len: usize) {
        let back = self.text.len() - from;
        if self.is_told && back != self.back {
            self.end_repetition();
        }
        self.text.extend_from_within(from..from + len);
        self.back = back;
        self.repeated += len;
    }

    /// Where text may be appended of which nobody says what repeats.
    pub(crate) fn untold(&mut self) -> &mut Vec<u8> {
        self.is_told = false;
        &mut self.text
    }

    /// Takes back what stands behind `end`. What was there is nowhere any more.
    pub(crate) fn truncate(&mut self, end: usize) {
        self.untold().truncate(end);
        self.number += 1;
    }

    /// What came last is new, or repeats something else.
    fn end_repetition(&mut self) {
        if self.repeated >= SHORTEST {
            self.end_sequence();
        } else if self.repeated > 0 {
            self.literals.extend_from_slice(&self.text[self.text.len() - self.repeated..]);
            self.new += self.repeated;
            self.repeated = 0;
        }
    }

    fn end_sequence(&mut self) {
        let (literals, repeated, back) = (self.new as u32, self.repeated as u32, self.back as u32);
        self.sequences.push(Sequence { literals, repeated, back });
        (self.new, self.repeated) = (0, 0);
    }

    /// Appends what is new as a whole and may have parts that are not, as Zstandard's quickest level finds them.
    fn search(&mut self, new: &[u8]) {
        self.end_repetition();
        if self.places.is_empty() {
            self.places.resize(1 << PLACES_LOG, 0);
        }
        let (mut begin, mut at) = (self.text.len(), self.text.len());
        self.text.extend_from_slice(new);
        let end = self.text.len();
        while let Some(word) = self.text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let start = u64::from_le_bytes(*word) << (64 - 8 * KNOWN);
            let slot = (start.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PLACES_LOG)) as usize;
            let place = std::mem::replace(&mut self.places[slot], at as u32 + 1);
            let same = match (place as usize).checked_sub(1) {
                Some(place) if place < at => {
                    self.text[place..].iter().zip(&self.text[at..]).take_while(|(a, b)| a == b).count()
                }
                _ => 0,
            };
            if same < KNOWN {
                at += 1;
                continue;
            }
            self.literals.extend_from_slice(&self.text[begin..at]);
            self.new += at - begin;
            (self.repeated, self.back) = (same, at + 1 - place as usize);
            at += same;
            begin = at;
            if at < end {
                self.end_sequence();
            }
        }
        self.literals.extend_from_slice(&self.text[begin..]);
        self.new += end - begin;
    }

    /// Appends the text, compressed, to `out`, and begins anew.
    ///
    /// # Errors
    /// Those of compressing.
    pub(crate) fn compress(&mut self, by: &mut Compressor, out: &mut Vec<u8>) -> io::Result<()> {
        let begin = out.len();
        let coded = self.is_told && self.text.len() <= LONGEST && {
            self.end_repetition();
            by.coder.append(&self.sequences, &mut self.literals, out).is_ok()
        };
        if coded {
            seal(out, begin, &self.text);
        } else {
            out.resize(begin + zstd::zstd_safe::compress_bound(self.text.len()), 0);
            let written = by.searching.compress_to_buffer(&self.text, &mut out[begin..])?;
            out.truncate(begin + written);
        }
        self.clear();
        Ok(())
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.literals.clear();
        self.sequences.clear();
        (self.new, self.repeated, self.back) = (0, 0, 0);
        self.places.fill(0);
        self.number += 1;
        self.is_told = self.is_compressed;
    }
}

/// What compresses frames.
pub(crate) struct Compressor {
    coder: Coder,
    searching: zstd::bulk::Compressor<'static>,
}

impl Compressor {
    /// # Errors
    /// No memory.
    pub(crate) fn new() -> io::Result<Compressor> {
        let mut searching = zstd::bulk::Compressor::new(LEVEL)?;
        searching.include_checksum(true)?;
        Ok(Compressor { coder: Coder::new()?, searching })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is done to a frame; positions are shares of what there is.
    #[derive(Debug, Clone)]
    enum Step {
        Push(String),
        Repeat(f64, f64),
        Untold(String),
        Truncate(f64),
        Compress,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => "[0-9]{0,30}".prop_map(Step::Push),
            2 => "(n0[0-9]{2}/|_IMG|[a-c]{9}){1,20}".prop_map(Step::Push),
            8 => (0.0..1.0, 0.0..1.0).prop_map(|(from, len)| Step::Repeat(from, len)),
            1 => "[a-z]{0,9}".prop_map(Step::Untold),
            1 => (0.0..1.0).prop_map(Step::Truncate),
            1 => Just(Step::Compress),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_is_read_back_as_what_was_appended(steps in proptest::collection::vec(step(), 1..80)) {
            let (mut frame, mut by) = (Frame::new(true), Compressor::new().unwrap());
            let (mut plain, mut expected) = (Frame::new(false), Vec::new());
            let share = |of: usize, share: f64| (of as f64 * share) as usize;
            for step in steps.into_iter().chain([Step::Compress]) {
                let number = frame.number();
                for frame in [&mut frame, &mut plain] {
                    let len = frame.text().len();
                    match &step {
                        Step::Push(new) => frame.push(new.as_bytes()),
                        // A text that doubles again and again would take all memory.
                        Step::Repeat(from, upto) if len < 100_000 => {
                            let from = share(len, *from);
                            frame.repeat(from, share(len - from, *upto));
                        }
                        Step::Untold(new) => frame.untold().extend_from_slice(new.as_bytes()),
                        Step::Truncate(at) => frame.truncate(share(len, *at)),
                        Step::Repeat(..) | Step::Compress => {}
                    }
                }
                prop_assert_eq!(frame.text(), plain.text());
                match step {
                    Step::Push(new) => expected.extend_from_slice(new.as_bytes()),
                    Step::Untold(new) => expected.extend_from_slice(new.as_bytes()),
                    Step::Repeat(..) => expected = plain.text().to_vec(),
                    Step::Truncate(_) => {
                        expected = plain.text().to_vec();
                        prop_assert!(frame.number() > number);
                    }
                    Step::Compress => {
                        let mut out = Vec::new();
                        frame.compress(&mut by, &mut out).unwrap();
                        prop_assert_eq!(&zstd::decode_all(&out[..]).unwrap(), &expected);
                        prop_assert!(frame.text().is_empty() && frame.number() > number);
                        plain.clear();
                        expected.clear();
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_new_as_a_whole_is_searched_for_what_is_not() {
        let (mut frame, mut by, mut out) = (Frame::new(true), Compressor::new().unwrap(), Vec::new());
        let line = |i: u32| format!("train/n{0:08}/n{0:08}_{1}.JPEG\n", i * 7919 % 1000, i * 31);
        (0..2000).for_each(|i| frame.push(line(i).as_bytes()));
        let text = frame.text().to_vec();
        frame.compress(&mut by, &mut out).unwrap();
        assert_eq!(zstd::decode_all(&out[..]).unwrap(), text);
        assert!(out.len() < text.len() / 3, "{} of {}", out.len(), text.len());
    }

    #[test]
    fn no_damage_to_a_frame_is_read_as_another_text() {
        for is_told in [true, false] {
            let (mut frame, mut by, mut out) = (Frame::new(is_told), Compressor::new().unwrap(), Vec::new());
            (0..200).for_each(|i| frame.push(format!("{{\"bytes\":{}}}\n", i * 7919 % 5003).as_bytes()));
            let text = frame.text().to_vec();
            frame.compress(&mut by, &mut out).unwrap();
            for at in 0..out.len() {
                out[at] ^= 0x55;
                if let Ok(read) = zstd::decode_all(&out[..]) {
                    assert!(read == text, "byte {at} of {}, told: {is_told}", out.len());
                }
                out[at] ^= 0x55;
            }
        }
    }

    #[test]
    fn a_text_that_is_too_long_to_be_coded_is_compressed_all_the_same() {
        let (mut frame, mut by, mut out) = (Frame::new(true), Compressor::new().unwrap(), Vec::new());
        frame.push(b"0123456789");
        while frame.text().len() <= LONGEST {
            frame.repeat(0, 10);
        }
        let text = frame.text().to_vec();
        frame.compress(&mut by, &mut out).unwrap();
        assert_eq!(zstd::decode_all(&out[..]).unwrap(), text);
    }
}
