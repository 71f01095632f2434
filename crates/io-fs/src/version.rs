//! What a `stat` says, as a [`Meta`]; and what a version of a file is.

use forebay_io::{EntryKind, Meta, Version};
use rustix::fs::{FileType, Stat};
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

/// Device, inode, size, and the times of the last change of content and of anything. A file that was
/// replaced has another inode; one that was written to has another change time, which no program can
/// set back.
fn write_version(stat: &Stat, to: &mut impl Write) -> fmt::Result {
    let mut number = itoa::Buffer::new();
    to.write_str(number.format(stat.st_dev))?;
    to.write_char(':')?;
    to.write_str(number.format(stat.st_ino))?;
    to.write_char(':')?;
    to.write_str(number.format(stat.st_size))?;
    for (seconds, nanos) in [(stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec)] {
        to.write_char(':')?;
        let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        // All times until the year 2262 fit into what is quicker to write.
        match i64::try_from(nanos) {
            Ok(nanos) => to.write_str(number.format(nanos))?,
            Err(_) => to.write_str(number.format(nanos))?,
        }
    }
    Ok(())
}

/// What a version of a file is made of, in numbers: two that are equal have equal versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp([i128; 5]);

impl Stamp {
    pub(crate) fn of(stat: &Stat) -> Stamp {
        let nanos = |seconds: i64, nanos| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Stamp([
            i128::from(stat.st_dev),
            i128::from(stat.st_ino),
            i128::from(stat.st_size),
            nanos(stat.st_mtime, stat.st_mtime_nsec),
            nanos(stat.st_ctime, stat.st_ctime_nsec),
        ])
    }

    /// Of the file, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.0[2] as u64
    }
}

/// The version of a file.
pub fn version_of(stat: &Stat) -> Version {
    let mut text = String::with_capacity(80);
    write_version(stat, &mut text).expect("text takes what is written");
    Version::of_a_copy(text)
}

/// Whether `stat` is of this version: without an allocation, because reads of samples inside shards ask
/// for each.
pub(crate) fn is_version(stat: &Stat, version: &Version) -> bool {
    let mut rest = Rest(version.as_str());
    write_version(stat, &mut rest).is_ok() && rest.0.is_empty()
}

/// Takes what is written, as long as it is what comes next.
struct Rest<'a>(&'a str);

impl Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
        Ok(())
    }

    fn write_char(&mut self, one: char) -> fmt::Result {
        self.0 = self.0.strip_prefix(one).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// Object or directory; none for a pipe, a socket or a device.
pub fn kind_of(stat: &Stat) -> Option<EntryKind> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(EntryKind::Object),
        FileType::Directory => Some(EntryKind::Directory),
        _ => None,
    }
}

/// All that is known; none for a pipe, a socket or a device.
pub fn meta_of(stat: &Stat) -> Option<Meta> {
    let kind = kind_of(stat)?;
    let size = if kind == EntryKind::Object { stat.st_size as u64 } else { 0 };
    let version = (kind == EntryKind::Object).then(|| version_of(stat));
    Some(Meta { kind, size, modified: modified(stat), version })
}

/// Files may be older than 1970.
fn modified(stat: &Stat) -> Option<SystemTime> {
    let whole = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let base = if stat.st_mtime >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    };
    base?.checked_add(Duration::from_nanos(stat.st_mtime_nsec))
}
