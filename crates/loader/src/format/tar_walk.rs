//! The headers of a tar archive, one after another, with the extensions that change the next one: long names
//! of GNU tar, and pax records (`path`, `size`).

use tar::{EntryType, Header, PaxExtensions};

/// Bytes of a header; data are padded to a multiple.
pub(crate) const BLOCK: u64 = 512;

/// What a header announces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A block of zeros: the archive is over.
    End,
    /// `len` bytes that say something of the next header: hand them to [`TarWalk::extend`].
    Extension { kind: Extension, len: u64 },
    /// A file of `len` bytes.
    File { name: Vec<u8>, len: u64 },
    /// A file with holes, whose bytes are not together.
    Sparse,
    /// A link of this name: the bytes of what it points to are elsewhere, perhaps in no archive.
    Link { name: Vec<u8> },
    /// A directory, a device: nothing to read, `len` bytes to go past.
    Other { len: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    LongName,
    Pax,
    /// Of all headers, or of links: not looked at.
    Ignored,
}

/// What extensions said of the next header.
#[derive(Debug, Default)]
pub(crate) struct TarWalk {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

/// Bytes with the padding behind them.
pub(crate) fn padded(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(BLOCK)
}

impl TarWalk {
    /// Reads a header, a block of [`BLOCK`] bytes.
    pub(crate) fn step(&mut self, block: &[u8]) -> Result<Step, String> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(Step::End);
        }
        let header = Header::from_byte_slice(block);
        let found = header.cksum().map_err(|_| "expected a tar header, found no checksum".to_owned())?;
        // The sum of all bytes, the checksum's own taken as spaces.
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum();
        let expected = sum + 8 * 32;
        if found != expected {
            return Err(format!("expected a tar header with checksum {expected}, found {found}"));
        }
        let len = header.entry_size().map_err(|_| "expected a size in the tar header".to_owned())?;
        let extension = |kind| Ok(Step::Extension { kind, len });
        match header.entry_type() {
            EntryType::GNULongName => extension(Extension::LongName),
            EntryType::XHeader => extension(Extension::Pax),
            EntryType::GNULongLink | EntryType::XGlobalHeader => extension(Extension::Ignored),
            EntryType::GNUSparse => Ok(Step::Sparse),
            _ if self.sparse => Ok(Step::Sparse),
            kind => {
                let (name, size) = (self.name.take(), self.size.take());
                let len = size.unwrap_or(len);
                let name = || name.unwrap_or_else(|| header.path_bytes().into_owned());
                match kind {
                    EntryType::Regular | EntryType::Continuous => Ok(Step::File { name: name(), len }),
                    // Its size says how large what it points to is; no data follow.
                    EntryType::Link | EntryType::Symlink => Ok(Step::Link { name: name() }),
                    _ => Ok(Step::Other { len }),
                }
            }
        }
    }

    /// Takes what an extension says.
    pub(crate) fn extend(&mut self, kind: Extension, data: &[u8]) -> Result<(), String> {
        match kind {
            Extension::Ignored => {}
            Extension::LongName => {
                let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
                self.name = Some(data[..end].to_vec());
            }
            Extension::Pax => {
                for record in PaxExtensions::new(data) {
                    let record = record.map_err(|_| "expected pax records".to_owned())?;
                    match record.key_bytes() {
                        b"path" => self.name = Some(record.value_bytes().to_vec()),
                        b"size" => {
                            let size = record.value().ok().and_then(|value| value.parse().ok());
                            self.size = Some(size.ok_or("expected a number as pax size")?);
                        }
                        key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// The key and the extension of a member of a WebDataset: what stands before and after the first dot of the
/// file's name. None for what is no member.
pub(crate) fn split_name(name: &[u8]) -> Option<(&[u8], String)> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let first = name.split(|&byte| byte == b'/').next().unwrap_or_default();
    if first.len() >= 4 && first.starts_with(b"__") && first.ends_with(b"__") {
        return None;
    }
    let file = name.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let dot = file + name[file..].iter().position(|&byte| byte == b'.')?;
    let extension = String::from_utf8_lossy(&name[dot + 1..]).to_lowercase();
    (dot > file).then(|| (&name[..dot], extension))
}
