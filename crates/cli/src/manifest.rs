//! The manifest of a data set: which files there are, how large, and their checksums.
//!
//! JSON lines. The first is a header, each other one a file:
//! ```json
//! {"format":"forebay-manifest","version":1,"root":"file:///data/train","files":2,"bytes":96,"seed":1,"sizes":"fixed:48","content":"random"}
//! {"key":"00000000.bin","size":48,"blake3":"…64 hex digits…"}
//! ```
//! Only `format` and `version` must be in the header; `files`, where given, is checked.

use crate::chunks::{self, chunks};
use crate::failure::{Failure, Result};
use forebay_io::{Kind, Location, ReadOptions, Store};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

const FORMAT: &str = "forebay-manifest";
const VERSION: u32 = 1;

/// A line may be this long. A key has at most 4 KiB, six times that when every byte is escaped.
const LONGEST_LINE: usize = 64 << 10;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: String,
    pub(crate) version: u32,
    /// Where the files were when it was written. They may have moved since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<String>,
    /// How many files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<u64>,
    /// How many bytes in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// What the files were made from: the same seed, sizes and content make the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// As it was given to `--sizes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sizes: Option<String>,
    /// As it was given to `--content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
}

impl Header {
    /// A header that says nothing but what it is.
    pub(crate) fn new() -> Self {
        Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            root: None,
            files: None,
            bytes: None,
            seed: None,
            sizes: None,
            content: None,
        }
    }
}

/// Every other line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Relative to the root.
    pub(crate) key: String,
    /// Bytes.
    pub(crate) size: u64,
    /// The checksum in hex.
    pub(crate) blake3: String,
}

/// What is known of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) size: u64,
    pub(crate) hash: blake3::Hash,
}

/// A manifest that was read: a promise for each key.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) files: HashMap<Box<[u8]>, Promise>,
}

/// Where the manifest of a data set is unless one says otherwise: beside it, so that it is no sample.
pub(crate) fn beside(root: &Location) -> Result<Location> {
    if root.path_bytes().iter().all(|&b| b == b'/') {
        return Err(Failure::usage(format!("{root} has no place beside it; name one with --manifest")));
    }
    // By way of text, because that is how a location of any scheme is made.
    Ok(format!("{}.manifest.jsonl", root.to_string().trim_end_matches('/')).parse()?)
}

/// One line of JSON.
pub(crate) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("strings and numbers have a JSON form");
    line.push(b'\n');
    line
}

impl Manifest {
    /// Reads a manifest from a store.
    pub(crate) async fn read(store: &Arc<dyn Store>, location: &Location) -> Result<Self> {
        let object = store.open(location, ReadOptions::default()).await?;
        let size = object.meta().size;
        let pool = chunks::pool(1)?;
        let mut chunks = pin!(chunks(object, 0..size, &pool));
        let mut reader = Reader::default();
        let wrong = |why: String| Failure::refused(Kind::Corrupt, format!("manifest {location}: {why}"));
        while let Some(chunk) = chunks.try_next().await? {
            reader.feed(&chunk).map_err(wrong)?;
        }
        reader.end().map_err(wrong)
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().fold(0, |sum, promise| sum.saturating_add(promise.size))
    }
}

/// Takes a manifest in pieces of any size.
#[derive(Debug, Default)]
struct Reader {
    rest: Vec<u8>,
    number: u64,
    header: Option<Header>,
    manifest: Manifest,
}

impl Reader {
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some(at) = bytes.iter().position(|&b| b == b'\n') {
            if self.rest.is_empty() {
                self.line(&bytes[..at])?;
            } else {
                let mut line = std::mem::take(&mut self.rest);
                line.extend_from_slice(&bytes[..at]);
                self.line(&line)?;
            }
            bytes = &bytes[at + 1..];
        }
        self.rest.extend_from_slice(bytes);
        match self.rest.len() > LONGEST_LINE {
            true => Err(format!("line {} is longer than {LONGEST_LINE} bytes", self.number + 1)),
            false => Ok(()),
        }
    }

    fn line(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.number += 1;
        let number = self.number;
        let at = |why: &dyn std::fmt::Display| format!("line {number}: {why}");
        if self.header.is_none() {
            let header: Header =
                serde_json::from_slice(bytes).map_err(|e| at(&format!("not a manifest's header: {e}")))?;
            if header.format != FORMAT {
                return Err(at(&format!("format is {:?}, not {FORMAT:?}", header.format)));
            }
            if header.version != VERSION {
                return Err(at(&format!("version is {}; this command reads {VERSION}", header.version)));
            }
            self.header = Some(header);
            return Ok(());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(bytes).map_err(|e| at(&e))?;
        let leaves = line.key.starts_with('/') || line.key.split('/').any(|part| part == "..");
        if leaves || line.key.is_empty() || line.key.contains('\0') {
            return Err(at(&format!("key {:?} does not name a file beneath the root", line.key)));
        }
        let hash = blake3::Hash::from_hex(&line.blake3)
            .map_err(|_| at(&format!("blake3 {:?} is not 64 hex digits", line.blake3)))?;
        let promise = Promise { size: line.size, hash };
        let key = line.key.into_bytes().into_boxed_slice();
        match self.manifest.files.insert(key, promise) {
            Some(_) => Err(at(&"this key was there before")),
            None => Ok(()),
        }
    }

    fn end(mut self) -> Result<Manifest, String> {
        if !self.rest.is_empty() {
            let line = std::mem::take(&mut self.rest);
            self.line(&line)?;
        }
        let found = self.manifest.files.len() as u64;
        match self.header {
            None => Err("it is empty".to_owned()),
            Some(Header { files: Some(files), .. }) if files != found => {
                Err(format!("it lists {found} files, its header says {files}: it is cut short"))
            }
            Some(_) => Ok(self.manifest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, step: usize) -> Result<Manifest, String> {
        let mut reader = Reader::default();
        for piece in text.as_bytes().chunks(step) {
            reader.feed(piece)?;
        }
        reader.end()
    }

    fn sample() -> String {
        let header = Header { files: Some(2), ..Header::new() };
        let file = |key: &str, size| {
            let blake3 = blake3::hash(key.as_bytes()).to_hex().to_string();
            Line { key: key.to_owned(), size, blake3 }
        };
        let lines = [line(&header), line(&file("a b", 1)), line(&file("ä/\n", 2))];
        String::from_utf8(lines.concat()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_in_pieces_of_any_size() {
        let text = sample();
        for step in [1, 7, 1000] {
            for text in [text.as_str(), text.trim_end()] {
                let manifest = read(text, step).unwrap();
                assert_eq!(manifest.files.len(), 2);
                let promise = manifest.files["ä/\n".as_bytes()];
                assert_eq!((promise.size, promise.hash), (2, blake3::hash("ä/\n".as_bytes())));
                assert_eq!(manifest.bytes(), 3);
            }
        }
    }

    #[test]
    fn what_is_not_a_manifest_is_refused_with_its_line() {
        let good = sample();
        let (header, lines) = good.split_once('\n').unwrap();
        let first = lines.lines().next().unwrap();
        for (text, why) in [
            (String::new(), "it is empty"),
            ("{}\n".to_owned(), "line 1"),
            (good.replace("forebay-manifest", "other"), "format is \"other\""),
            (good.replace("\"version\":1", "\"version\":9"), "version is 9"),
            (format!("{header}\n{first}\n"), "lists 1 files, its header says 2"),
            (format!("{header}\n{first}\n{first}\n"), "line 3: this key"),
            (good.replace("a b", "../a"), "beneath the root"),
            (good.replace("a b", "/a"), "beneath the root"),
            (good.replace("\"blake3\":\"", "\"blake3\":\"z"), "not 64 hex digits"),
            (format!("{header}\nnonsense\n"), "line 2"),
            ("x".repeat(LONGEST_LINE + 1), "longer than"),
        ] {
            let error = read(&text, 1 << 20).unwrap_err();
            assert!(error.contains(why), "{error:?} for {why:?}");
        }
    }

    #[test]
    fn a_manifest_lies_beside_its_data_set() {
        for (root, place) in [
            ("/data/a b", "file:///data/a%20b.manifest.jsonl"),
            ("s3://bucket/train/", "s3://bucket/train.manifest.jsonl"),
        ] {
            assert_eq!(beside(&root.parse().unwrap()).unwrap().to_string(), place);
        }
        for root in ["/", "s3://bucket"] {
            let failure = beside(&root.parse().unwrap()).unwrap_err();
            assert!(failure.to_string().contains("--manifest"), "{failure}");
        }
    }
}
