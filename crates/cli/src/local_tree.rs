//! Removing a directory tree of this machine without ever leaving it: every step is taken from an open
//! directory, and no symbolic link is followed, also when somebody puts one there meanwhile.

use crate::failure::Failure;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why it stopped.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The system refused, at this path.
    Os(PathBuf, io::Error),
    /// Whoever was told of a removal refused.
    Told(Failure),
}

/// A deeper tree would run out of descriptors or stack; nobody has one that is not a mistake.
const DEEPEST: usize = 512;

/// Removes `path` and everything in it, on a thread of its own. `told` hears of each file and link that
/// is gone, by its place beneath `path`. Dropping the future stops it between two removals.
pub(crate) async fn remove(
    path: PathBuf,
    told: impl FnMut(&[u8]) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failed> {
    let stop = Arc::new(AtomicBool::new(false));
    let _stop_on_drop = StopOnDrop(stop.clone());
    let shown = path.clone();
    let work = move || {
        let mut removal = Removal { root: path, told, stop, beneath: Vec::new() };
        let root = removal.root.clone();
        removal.entry(CWD, root.as_os_str().as_bytes(), 0)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(lost) => Err(Failed::Os(shown, io::Error::other(lost))),
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Removal<F> {
    root: PathBuf,
    told: F,
    stop: Arc<AtomicBool>,
    /// The place beneath the root that is looked at.
    beneath: Vec<u8>,
}

impl<F: FnMut(&[u8]) -> Result<(), Failure>> Removal<F> {
    /// Removes `name` in `parent`, be it a file, a link or a directory.
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<(), Failed> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(self.failed(Errno::CANCELED));
        }
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => return (self.told)(&self.beneath).map_err(Failed::Told),
            // What Linux says of a directory; POSIX also allows the other.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(self.failed(errno)),
        }
        if depth == DEEPEST {
            return Err(self.failed(Errno::NAMETOOLONG));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match openat(parent, name, flags, Mode::empty()) {
            Ok(directory) => directory,
            // Not a directory after all: the first answer stands.
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(self.failed(Errno::PERM)),
            Err(errno) => return Err(self.failed(errno)),
        };
        let entries = Dir::read_from(&directory).map_err(|errno| self.failed(errno))?;
        for entry in entries {
            let entry = entry.map_err(|errno| self.failed(errno))?;
            let name: &CStr = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let above = self.beneath.len();
            if above > 0 {
                self.beneath.push(b'/');
            }
            self.beneath.extend_from_slice(name.to_bytes());
            self.entry(directory.as_fd(), name.to_bytes(), depth + 1)?;
            self.beneath.truncate(above);
        }
        unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(|errno| self.failed(errno))
    }

    fn failed(&self, errno: Errno) -> Failed {
        let mut path = self.root.clone();
        if !self.beneath.is_empty() {
            path.push(OsStr::from_bytes(&self.beneath));
        }
        Failed::Os(path, errno.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::Mutex;

    #[tokio::test]
    async fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("tree/a/b")).unwrap();
        fs::create_dir_all(at("kept")).unwrap();
        for name in ["tree/x", "tree/a/y", "tree/a/b/z", "kept/k"] {
            fs::write(at(name), name).unwrap();
        }
        symlink(at("kept"), at("tree/a/link")).unwrap();

        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = told.clone();
        remove(at("tree"), move |beneath| {
            seen.lock().unwrap().push(String::from_utf8(beneath.to_vec()).unwrap());
            Ok(())
        })
        .await
        .unwrap();
        let mut told = told.lock().unwrap().clone();
        told.sort();
        assert_eq!(told, ["a/b/z", "a/link", "a/y", "x"]);
        assert!(!at("tree").exists() && at("kept/k").exists());
    }

    #[tokio::test]
    async fn a_link_at_the_top_is_itself_removed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("kept")).unwrap();
        symlink(at("kept"), at("link")).unwrap();
        remove(at("link"), |_| Ok(())).await.unwrap();
        assert!(at("kept").exists() && fs::symlink_metadata(at("link")).is_err());
    }

    #[tokio::test]
    async fn what_is_not_there_is_named() {
        let Err(Failed::Os(path, error)) = remove("/nonexistent-forebay/x".into(), |_| Ok(())).await else {
            panic!("nothing there to remove")
        };
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(path, PathBuf::from("/nonexistent-forebay/x"));
    }
}
