//! The files that every design reads: made once for a size, known by their index, and put out of the page cache.

use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files in a batch, as long as the batch stays within [`BATCH_BYTES`].
const BATCH: usize = 32;
/// A batch of files larger than 2 MiB has fewer than [`BATCH`] of them.
const BATCH_BYTES: usize = 64 << 20;

/// A set of files of one size, in one flat directory.
pub(crate) struct Files {
    pub(crate) dir: PathBuf,
    pub(crate) dirfd: c_int,
    pub(crate) size: usize,
    pub(crate) batch: usize,
    pub(crate) full: Vec<CString>,
    pub(crate) names: Vec<CString>,
}

/// The counts of files by size, about 5.5 GiB altogether.
fn count_of(size: usize) -> usize {
    match size {
        0..=4096 => 50_000,
        4097..=65536 => 20_000,
        65537..=1_048_576 => 2_000,
        _ => 32,
    }
}

impl Files {
    pub(crate) fn make(root: &Path, label: &str, size: usize) -> Files {
        let dir = root.join(label);
        std::fs::create_dir_all(&dir).expect("create the data directory");
        let count = count_of(size);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut content = vec![0u8; size];
        let mut wrote = false;
        let (mut full, mut names) = (Vec::new(), Vec::new());
        for index in 0..count {
            let name = format!("sample-{index:07}.bin");
            let path = dir.join(&name);
            if std::fs::metadata(&path).map(|m| m.len()).unwrap_or(u64::MAX) != size as u64 {
                for word in content.chunks_exact_mut(8) {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    word.copy_from_slice(&state.to_le_bytes());
                }
                // The index at both ends lets a run be checked without a checksum.
                content[..8].copy_from_slice(&(index as u64).to_le_bytes());
                content[size - 8..].copy_from_slice(&(index as u64).to_le_bytes());
                std::fs::write(&path, &content).expect("write a sample");
                wrote = true;
            }
            full.push(CString::new(path.as_os_str().as_bytes()).expect("no NUL in the path"));
            names.push(CString::new(name).expect("no NUL in the name"));
        }
        if wrote {
            // SAFETY: sync takes no arguments and touches no memory of ours.
            unsafe { libc::sync() };
        }
        let c = CString::new(dir.as_os_str().as_bytes()).expect("no NUL in the path");
        // SAFETY: c is a NUL-terminated path that outlives the call.
        let dirfd = unsafe { libc::open(c.as_ptr(), libc::O_DIRECTORY | libc::O_RDONLY | libc::O_CLOEXEC) };
        assert!(dirfd >= 0, "open {}: {}", dir.display(), std::io::Error::last_os_error());
        let batch = BATCH.min((BATCH_BYTES / size).max(1));
        Files { dir, dirfd, size, batch, full, names }
    }
}

pub(crate) fn drop_caches(files: &Files, order: &[u32], pages_only: bool) {
    if !pages_only {
        // SAFETY: sync takes no arguments and touches no memory of ours.
        unsafe { libc::sync() };
        std::fs::write("/proc/sys/vm/drop_caches", "3")
            .expect("write to /proc/sys/vm/drop_caches (needs root)");
        return;
    }
    for &file in order {
        // SAFETY: the path is NUL-terminated, and the descriptor is closed at once.
        unsafe {
            let fd = libc::open(files.full[file as usize].as_ptr(), libc::O_RDONLY);
            libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED);
            libc::close(fd);
        }
    }
}
