//! Zstandard without its search: what of a text repeats is told by whoever made it, and only coded here.
//!
//! Looking for repetitions is most of what compressing costs, and whoever writes the lines of a trace knows them. So a
//! text comes as *sequences*: so many bytes that are new (literals), then so many that stood so far back. What is made
//! of them are ordinary frames (RFC 8878), which every reader of Zstandard takes. The library's own function for that is
//! among those that it calls experimental: they are only there where it is linked statically, as it is here.

use std::ptr::NonNull;
use zstd_sys::{ZSTD_CCtx, ZSTD_Sequence, ZSTD_cParameter, ZSTD_strategy};

/// The longest text of one frame here, which is the longest block that the format has.
pub(crate) const LONGEST: usize = 128 << 10;

/// The shortest repetition: a shorter one costs more to tell than its bytes.
pub(crate) const SHORTEST: usize = 5;

/// Bytes that the library may read behind the literals.
const BEHIND: usize = 8;

/// New bytes, and then bytes that were there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// New bytes, the next ones of the literals.
    pub(crate) literals: u32,
    /// Bytes after them that repeat others, at least [`SHORTEST`].
    pub(crate) repeated: u32,
    /// How far back those begin.
    pub(crate) back: u32,
}

/// Why there is no frame: the sequences make no text, or it is none that gets smaller by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotCoded;

/// Makes frames of sequences.
pub(crate) struct Coder {
    context: NonNull<ZSTD_CCtx>,
    sequences: Vec<ZSTD_Sequence>,
}

/// Of the text that sequences make: its bytes, if it is one that can be coded.
fn length_of(sequences: &[Sequence], literals: usize) -> Result<usize, NotCoded> {
    let (mut length, mut taken) = (0, 0);
    for sequence in sequences {
        taken += sequence.literals as usize;
        length += sequence.literals as usize;
        let possible = (1..=length).contains(&(sequence.back as usize));
        if !possible || (sequence.repeated as usize) < SHORTEST || length > LONGEST {
            return Err(NotCoded);
        }
        length += sequence.repeated as usize;
    }
    // What the last sequence leaves of the literals ends the text.
    length += literals.checked_sub(taken).ok_or(NotCoded)?;
    if length > LONGEST { Err(NotCoded) } else { Ok(length) }
}

#[allow(unsafe_code)]
impl Coder {
    /// One that codes as Zstandard's quickest level does.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn new() -> std::io::Result<Coder> {
        // SAFETY: has no conditions; none is returned where there is no memory.
        let context = NonNull::new(unsafe { zstd_sys::ZSTD_createCCtx() })
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::OutOfMemory))?;
        let coder = Coder { context, sequences: Vec::new() };
        for (parameter, value) in [
            (ZSTD_cParameter::ZSTD_c_strategy, ZSTD_strategy::ZSTD_fast as i32),
            // Nothing is looked for, so the tables of the search may be as small as they get.
            (ZSTD_cParameter::ZSTD_c_hashLog, 6),
            (ZSTD_cParameter::ZSTD_c_minMatch, 4),
            // `ZSTD_c_blockDelimiters`: blocks end where we say.
            (ZSTD_cParameter::ZSTD_c_experimentalParam11, 1),
            // `ZSTD_c_repcodeResolution`: most repetitions are as far back as the one before, and then cost less.
            (ZSTD_cParameter::ZSTD_c_experimentalParam19, 1),
        ] {
            // SAFETY: the context is one that was created, and is ours.
            let code = unsafe { zstd_sys::ZSTD_CCtx_setParameter(coder.context.as_ptr(), parameter, value) };
            if is_error(code) {
                return Err(std::io::Error::other(format!("Zstandard has no parameter {parameter:?}")));
            }
        }
        Ok(coder)
    }

    /// Appends the frame of a text to `out`. The text is what the sequences make of the literals, and then the literals that are
    /// left. `out` is as it was where there is no frame.
    ///
    /// # Errors
    /// [`NotCoded`]: the text must be compressed by other means.
    pub(crate) fn append(
        &mut self,
        sequences: &[Sequence],
        literals: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), NotCoded> {
        let length = length_of(sequences, literals.len())?;
        let taken: u32 = sequences.iter().map(|sequence| sequence.literals).sum();
        let last =
            ZSTD_Sequence { offset: 0, litLength: literals.len() as u32 - taken, matchLength: 0, rep: 0 };
        let coded = |sequence: &Sequence| ZSTD_Sequence {
            offset: sequence.back,
            litLength: sequence.literals,
            matchLength: sequence.repeated,
            rep: 0,
        };
        self.sequences.clear();
        self.sequences.extend(sequences.iter().map(coded).chain([last]));
        literals.reserve(BEHIND);
        out.reserve(zstd::zstd_safe::compress_bound(length));
        let begin = out.len();
        // SAFETY: the context is one that was created, and is ours. `out` has room for `capacity - begin` bytes behind `begin`,
        // `literals` has its length of bytes that are written, and `BEHIND` more, as is asked for, within its capacity.
        // `length_of` has seen that the sequences take no more literals than there are, reach back to nothing before the
        // text's beginning, and make `length` bytes, which are no more than a block has; the last of them ends the block.
        let code = unsafe {
            zstd_sys::ZSTD_compressSequencesAndLiterals(
                self.context.as_ptr(),
                out.as_mut_ptr().add(begin).cast(),
                out.capacity() - begin,
                self.sequences.as_ptr(),
                self.sequences.len(),
                literals.as_ptr().cast(),
                literals.len(),
                literals.capacity(),
                length,
            )
        };
        // SAFETY: as above.
        let reset = unsafe {
            zstd_sys::ZSTD_CCtx_reset(
                self.context.as_ptr(),
                zstd_sys::ZSTD_ResetDirective::ZSTD_reset_session_only,
            )
        };
        if is_error(code) || is_error(reset) {
            return Err(NotCoded);
        }
        // SAFETY: no error, so `code` is how many bytes were written behind `begin`, no more than there was room for.
        unsafe { out.set_len(begin + code) };
        Ok(())
    }
}

/// Ends a frame that has none with the checksum of its text: the coder, which does not see the text, cannot.
pub(crate) fn seal(frame: &mut Vec<u8>, begin: usize, text: &[u8]) {
    // Behind the magic number, in the descriptor of the frame, is the bit that says so.
    frame[begin + 4] |= 4;
    let sum = twox_hash::XxHash64::oneshot(0, text);
    frame.extend_from_slice(&sum.to_le_bytes()[..4]);
}

#[allow(unsafe_code)]
fn is_error(code: usize) -> bool {
    // SAFETY: looks at the number alone.
    unsafe { zstd_sys::ZSTD_isError(code) != 0 }
}

#[allow(unsafe_code)]
impl Drop for Coder {
    fn drop(&mut self) {
        // SAFETY: the context is one that was created, is ours, and is not used after this.
        unsafe { zstd_sys::ZSTD_freeCCtx(self.context.as_ptr()) };
    }
}

// SAFETY: a context belongs to no thread; it must not be used by two at once, for which `&mut self` sees.
#[allow(unsafe_code)]
unsafe impl Send for Coder {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the format says that sequences mean.
    fn text_of(sequences: &[Sequence], literals: &[u8]) -> Vec<u8> {
        let (mut text, mut rest) = (Vec::new(), literals);
        for sequence in sequences {
            let (new, after) = rest.split_at(sequence.literals as usize);
            text.extend_from_slice(new);
            rest = after;
            for _ in 0..sequence.repeated {
                text.push(text[text.len() - sequence.back as usize]);
            }
        }
        text.extend_from_slice(rest);
        text
    }

    proptest! {
        #[test]
        fn a_frame_is_the_text_that_its_sequences_make(
            all in proptest::collection::vec((0u32..40, 0u32..300, 0u32..5000), 0..200),
            seed in proptest::collection::vec(b'0'..=b'9', 1..40),
            behind in 0usize..40,
        ) {
            let mut sequences = Vec::new();
            let (mut taken, mut length) = (0, 0);
            for (literals, repeated, back) in all {
                let literals = literals + u32::from(length == 0);
                (taken, length) = (taken + literals as usize, length + literals);
                let repeated = repeated + SHORTEST as u32;
                sequences.push(Sequence { literals, repeated, back: back % length + 1 });
                length += repeated;
            }
            let mut literals: Vec<u8> = seed.iter().copied().cycle().take(taken + behind).collect();
            let expected = text_of(&sequences, &literals);
            let mut coder = Coder::new().unwrap();
            // A context is used again and again, whatever became of the text before.
            let mut out = b"before".to_vec();
            for _ in 0..2 {
                out.truncate(6);
                match coder.append(&sequences, &mut literals, &mut out) {
                    Ok(()) => prop_assert_eq!(&zstd::decode_all(&out[6..]).unwrap(), &expected),
                    Err(NotCoded) => prop_assert!(sequences.len() < 2 && out == b"before"),
                }
            }
        }
    }

    #[test]
    fn sequences_that_make_no_text_are_refused() {
        let good = Sequence { literals: 2, repeated: 5, back: 2 };
        let mut literals = b"ab".to_vec();
        let mut coder = Coder::new().unwrap();
        for sequence in [
            Sequence { literals: 3, ..good },
            Sequence { back: 3, ..good },
            Sequence { back: 0, ..good },
            Sequence { repeated: 4, ..good },
            Sequence { repeated: LONGEST as u32 - 1, ..good },
            Sequence { repeated: u32::MAX, ..good },
        ] {
            let mut out = Vec::new();
            assert_eq!(coder.append(&[sequence], &mut literals, &mut out), Err(NotCoded), "{sequence:?}");
        }
        let long = Sequence { repeated: LONGEST as u32 - 2, ..good };
        let mut out = Vec::new();
        coder.append(&[long], &mut literals, &mut out).unwrap();
        assert_eq!(zstd::decode_all(&out[..]).unwrap(), b"ab".repeat(LONGEST / 2));
    }
}
