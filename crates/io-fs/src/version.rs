//! What a `stat` says, as a [`Meta`]; and what a version of a file is.

use forebay_io::{EntryKind, Meta, Version};
use rustix::fs::{FileType, Stat};
use std::time::{Duration, SystemTime};

/// Device, inode, size, and the times of the last change of content and of anything. A file that was
/// replaced has another inode; one that was written to has another change time, which no program can
/// set back.
pub fn version_of(stat: &Stat) -> Version {
    let nanos = |seconds: i64, nanos: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Version::new(format!(
        "{}:{}:{}:{}:{}",
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        nanos(stat.st_mtime, stat.st_mtime_nsec),
        nanos(stat.st_ctime, stat.st_ctime_nsec),
    ))
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
