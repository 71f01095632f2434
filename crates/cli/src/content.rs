//! What is in generated files: a pure function of seed, file number and offset, at the speed of memory.

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt;

/// Compressors look for repetition within tens of KiB, and file systems compress pieces of 4 KiB and
/// up: with random and constant bytes alternating this finely, all find the ratio that was asked for.
const BLOCK: usize = 4096;

/// Bytes made at once.
const CHUNK: usize = 1 << 20;

/// A rule for bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Content {
    /// Nothing can compress it.
    Random,
    /// Compresses to about one part in so many.
    Compressible(f64),
}

impl Content {
    /// `random`, `compressible` (to about a half) or `compressible:RATIO`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "random" => Ok(Content::Random),
            None if text == "compressible" => Ok(Content::Compressible(2.0)),
            Some(("compressible", ratio)) => match ratio.parse() {
                Ok(ratio) if (1.0..=100.0).contains(&ratio) => Ok(Content::Compressible(ratio)),
                _ => Err(format!("compression ratio {ratio:?} must be a number from 1 to 100")),
            },
            _ => Err(format!(
                "{text:?} is not a kind of content; write random, compressible or compressible:4"
            )),
        }
    }

    /// The bytes of file `index`, chunk by chunk.
    pub(crate) fn chunks(self, seed: u64, index: u64, size: u64) -> impl Iterator<Item = Bytes> + Send {
        let key = blake3::hash(&[b"forebay content ", &seed.to_le_bytes()[..]].concat());
        let mut rng = ChaCha8Rng::from_seed(*key.as_bytes());
        // Streams of one key never overlap, so no two files share bytes.
        rng.set_stream(index);
        (0..size).step_by(CHUNK).map(move |offset| {
            let mut chunk = vec![0; (size - offset).min(CHUNK as u64) as usize];
            match self {
                Content::Random => rng.fill_bytes(&mut chunk),
                Content::Compressible(ratio) => {
                    let random = (BLOCK as f64 / ratio).round() as usize;
                    for block in chunk.chunks_mut(BLOCK) {
                        let random = random.min(block.len());
                        rng.fill_bytes(&mut block[..random]);
                    }
                }
            }
            chunk.into()
        })
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Random => f.write_str("random"),
            Content::Compressible(ratio) => write!(f, "compressible:{ratio}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(content: Content, seed: u64, index: u64, size: u64) -> Vec<u8> {
        content.chunks(seed, index, size).flatten().collect()
    }

    #[test]
    fn same_seed_and_file_same_bytes() {
        let size = CHUNK as u64 + 999;
        let bytes = all(Content::Random, 1, 2, size);
        assert_eq!(bytes.len() as u64, size);
        assert_eq!(bytes, all(Content::Random, 1, 2, size));
        assert_ne!(bytes, all(Content::Random, 1, 3, size));
        assert_ne!(bytes, all(Content::Random, 2, 2, size));
        assert!(all(Content::Random, 1, 2, 0).is_empty());
    }

    #[test]
    fn it_compresses_as_much_as_was_asked_for() {
        for (text, ratio) in [("random", 1.0), ("compressible", 2.0), ("compressible:4", 4.0)] {
            let bytes = all(Content::parse(text).unwrap(), 1, 0, 1 << 20);
            let packed = miniz_oxide::deflate::compress_to_vec(&bytes, 6);
            let found = bytes.len() as f64 / packed.len() as f64;
            assert!((found / ratio - 1.0).abs() < 0.05, "{text}: {found}");
        }
    }

    #[test]
    fn kinds_have_one_spelling_and_others_are_refused() {
        for text in ["random", "compressible:2", "compressible:1.5"] {
            assert_eq!(Content::parse(text).unwrap().to_string(), text);
        }
        for text in ["Random", "compressible:0", "compressible:x", "zero", "random:2"] {
            assert!(Content::parse(text).is_err(), "{text}");
        }
    }
}
