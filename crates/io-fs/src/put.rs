//! Writing a file so that readers see the old bytes or the new, never a part.
//!
//! The bytes go to a file without a name (`O_TMPFILE`), or to one with a reserved name where the
//! filesystem has no such thing, in the nearest directory that exists. Only when all of them are there
//! are missing directories made and is the name put in place, by a link (nothing may be there) or a
//! rename (something may). Whatever stops a put before, nothing is left behind.

use crate::failure;
use forebay_io::{Body, Error, Kind, Location, Meta, Operation, PutMode, PutOptions, Result};
use futures::{StreamExt, stream::BoxStream};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::fs::{fstat, fsync, linkat, mkdir, open, renameat, renameat_with, rmdir, unlink};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How the names of files that are being written begin. Nobody else's may, and listings skip them.
pub(crate) const RESERVED: &[u8] = b".forebay-put-";

/// Bytes gathered before they are handed to a thread: a body in small chunks must not pay a wake-up
/// for each, and most bodies are written in one go.
const GATHER: usize = 4 << 20;

/// A file on its way to its name. Dropping it takes everything back that it made.
pub struct Draft {
    target: Location,
    options: PutOptions,
    fd: OwnedFd,
    /// Its reserved name, where it has one now.
    named: Option<PathBuf>,
    /// Directories made for it, outermost first.
    made: Vec<PathBuf>,
    written: u64,
    committed: bool,
}

/// A new file in a directory, and its name if it has one.
type Begun = (OwnedFd, Option<PathBuf>);

impl Draft {
    /// Begins to write the file that will be `target`.
    pub fn begin(target: &Location, options: PutOptions) -> Result<Self> {
        Self::begin_as(target, options, nameless)
    }

    fn begin_as(
        target: &Location,
        options: PutOptions,
        file_in: fn(&Path) -> Result<Begun, Errno>,
    ) -> Result<Self> {
        let fail = |errno| failure::os(Operation::Put, errno, target);
        crate::file::check_scheme(Operation::Put, target)?;
        let name = target.name();
        if name.is_empty() || name == b".." {
            return Err(failure::is_a_directory(Operation::Put, target));
        }
        if name.starts_with(RESERVED) {
            let context = format!(
                "names that begin with {:?} are those of files that are being written; choose another",
                String::from_utf8_lossy(RESERVED)
            );
            return Err(Error::new(Kind::InvalidConfig, Operation::Put, context).at(target));
        }
        let place = nearest_directory(parent(target)).map_err(fail)?;
        let (fd, named) = file_in(place).map_err(fail)?;
        Ok(Draft {
            target: target.clone(),
            options,
            fd,
            named,
            made: Vec::new(),
            written: 0,
            committed: false,
        })
    }

    /// The file, open for writing, for who writes in another way than by [`Draft::write`]; it tells
    /// [`Draft::set_written`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// How many bytes the file has now.
    pub fn set_written(&mut self, bytes: u64) {
        self.written = bytes;
    }

    /// Appends.
    pub fn write(&mut self, chunks: &[bytes::Bytes]) -> Result<()> {
        for chunk in chunks {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                match rustix::io::write(&self.fd, rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(failure::os(Operation::Put, errno, &self.target)),
                }
            }
            self.written += chunk.len() as u64;
        }
        Ok(())
    }

    /// Puts the name in place. What the file is then is what is returned.
    pub fn commit(mut self, promised: Option<u64>) -> Result<Meta> {
        if let Some(promised) = promised.filter(|&promised| promised != self.written) {
            return Err(length(&self.target, self.written, promised));
        }
        let target = self.target.clone();
        let fail = |errno| failure::os(Operation::Put, errno, &target);
        if self.options.durable {
            fsync(&self.fd).map_err(fail)?;
        }
        self.make_directories().map_err(fail)?;
        self.put_name().map_err(fail)?;
        self.committed = true;
        if self.options.durable {
            self.sync_directories().map_err(|errno| {
                fail(errno).context("the file is in place, but may not survive a power cut")
            })?;
        }
        let stat = fstat(&self.fd).map_err(fail)?;
        crate::version::meta_of(&stat).ok_or_else(|| failure::not_a_file(Operation::Put, &target))
    }

    fn make_directories(&mut self) -> Result<(), Errno> {
        let parent = parent(&self.target);
        let mut missing = Vec::new();
        for directory in parent.ancestors() {
            match rustix::fs::stat(directory) {
                Err(Errno::NOENT) => missing.push(directory.to_owned()),
                _ => break,
            }
        }
        for directory in missing.into_iter().rev() {
            match mkdir(&directory, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                Ok(()) => self.made.push(directory),
                // Another put made it meanwhile: it is theirs.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn put_name(&mut self) -> Result<(), Errno> {
        let target = self.target.as_path().to_owned();
        if self.named.is_none() {
            match self.link_to(&target) {
                Err(Errno::EXIST) if self.options.mode == PutMode::Overwrite => {
                    // A link never replaces, a rename does, and needs a name to begin with.
                    let (name, ()) = unused_name(parent(&self.target), |name| self.link_to(name))?;
                    self.named = Some(name);
                }
                other => return other,
            }
        }
        let Some(name) = &self.named else { return Ok(()) };
        match self.options.mode {
            PutMode::Overwrite => renameat(CWD, name, CWD, &target)?,
            PutMode::Create => match renameat_with(CWD, name, CWD, &target, RenameFlags::NOREPLACE) {
                // Not every filesystem can; a link is as good where there are links.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    linkat(CWD, name, CWD, &target, AtFlags::empty())?;
                    let _ = unlink(name);
                }
                other => other?,
            },
        }
        self.named = None;
        Ok(())
    }

    fn link_to(&self, path: &Path) -> Result<(), Errno> {
        match linkat(&self.fd, "", CWD, path, AtFlags::EMPTY_PATH) {
            // What a process without the capability for it is told by older kernels.
            Err(Errno::NOENT | Errno::PERM) => {
                let own = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
                linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)
            }
            other => other,
        }
    }

    /// The name survives when its directory does, and that when its own does.
    fn sync_directories(&self) -> Result<(), Errno> {
        let parents_of_made = self.made.iter().filter_map(|made| made.parent());
        for directory in std::iter::once(parent(&self.target)).chain(parents_of_made) {
            let directory =
                open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            fsync(directory.as_fd())?;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(name) = &self.named {
            let _ = unlink(name);
        }
        if !self.committed {
            // A directory in which another put has its file by now stays: this only removes empty ones.
            for made in self.made.iter().rev() {
                let _ = rmdir(made);
            }
        }
    }
}

const FLAGS: OFlags = OFlags::WRONLY.union(OFlags::CLOEXEC);

/// What the process's umask leaves of it.
const MODE: Mode =
    Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::WGRP).union(Mode::ROTH).union(Mode::WOTH);

/// The directory that the file's name will be in.
fn parent(target: &Location) -> &Path {
    target.as_path().parent().unwrap_or(Path::new("/"))
}

/// The first directory that exists, from `wanted` upwards. On the same filesystem as `wanted` will be.
fn nearest_directory(wanted: &Path) -> Result<&Path, Errno> {
    for directory in wanted.ancestors() {
        match rustix::fs::stat(directory) {
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
            Ok(stat) if crate::version::kind_of(&stat) == Some(forebay_io::EntryKind::Directory) => {
                return Ok(directory);
            }
            Ok(_) => return Err(Errno::NOTDIR),
        }
    }
    Err(Errno::NOENT)
}

/// Without a name if the filesystem can, else with one.
fn nameless(directory: &Path) -> Result<Begun, Errno> {
    match open(directory, OFlags::TMPFILE | FLAGS, MODE) {
        // What filesystems and kernels without nameless files answer.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => named(directory),
        other => Ok((other?, None)),
    }
}

/// With a reserved name.
fn named(directory: &Path) -> Result<Begun, Errno> {
    let (name, fd) = unused_name(directory, |name| open(name, OFlags::CREATE | OFlags::EXCL | FLAGS, MODE))?;
    Ok((fd, Some(name)))
}

/// Calls `take` with reserved names until one is not in use. Names need not be hard to guess: taking
/// one fails if it is there already, link or not.
fn unused_name<T>(directory: &Path, take: impl Fn(&Path) -> Result<T, Errno>) -> Result<(PathBuf, T), Errno> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut name = RESERVED.to_vec();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        name.extend(format!("{}-{number}", std::process::id()).bytes());
        let path = directory.join(OsStr::from_bytes(&name));
        match take(&path) {
            // Left by a process that was killed, or in use on another machine.
            Err(Errno::EXIST) => {}
            other => return other.map(|value| (path, value)),
        }
    }
}

fn length(target: &Location, has: u64, promised: u64) -> Error {
    let context = format!("the body has {has} bytes, {promised} were promised");
    Error::new(Kind::Corrupt, Operation::Put, context).at(target)
}

/// A body, in pieces worth a job each.
pub struct Gathered {
    chunks: BoxStream<'static, Result<bytes::Bytes>>,
    promised: Option<u64>,
    seen: u64,
}

impl Gathered {
    /// A body from its beginning on.
    pub fn new(body: Body) -> Self {
        let promised = body.len();
        Gathered { chunks: body.into_chunks(), promised, seen: 0 }
    }

    /// Its whole length, if known.
    pub fn promised(&self) -> Option<u64> {
        self.promised
    }

    /// The next chunks, and whether they are the last ones.
    pub async fn next(&mut self, target: &Location) -> Result<(Vec<bytes::Bytes>, bool)> {
        let (mut gathered, mut bytes) = (Vec::new(), 0);
        while bytes < GATHER {
            let Some(chunk) = self.chunks.next().await else { return Ok((gathered, true)) };
            let chunk = chunk.map_err(|e| e.context("the body failed"))?;
            bytes += chunk.len();
            self.seen += chunk.len() as u64;
            // Found out before a disk is filled.
            if let Some(promised) = self.promised.filter(|&promised| self.seen > promised) {
                return Err(length(target, self.seen, promised));
            }
            gathered.push(chunk);
        }
        Ok((gathered, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// As on a filesystem that has no nameless files.
    #[test]
    fn a_named_draft_is_as_good_as_a_nameless_one() {
        let dir = tempfile::tempdir().unwrap();
        let target = Location::from_path(&dir.path().join("new/a")).unwrap();
        let begin = |mode, file_in: fn(&Path) -> Result<Begun, Errno>| {
            let mut draft = Draft::begin_as(&target, PutOptions { mode, durable: true }, file_in).unwrap();
            draft.write(&[Bytes::from_static(b"ab"), Bytes::from_static(b"c")]).unwrap();
            draft
        };
        let draft = begin(PutMode::Create, named);
        let [name] = &names(dir.path())[..] else { panic!("one file, in the directory that exists") };
        assert!(name.as_bytes().starts_with(RESERVED));
        drop(draft);
        assert!(names(dir.path()).is_empty());

        assert_eq!(begin(PutMode::Create, named).commit(Some(3)).unwrap().size, 3);
        for file_in in [named as fn(&Path) -> _, nameless] {
            let error = begin(PutMode::Create, file_in).commit(None).unwrap_err();
            assert_eq!(error.kind(), Kind::AlreadyExists);
            begin(PutMode::Overwrite, file_in).commit(None).unwrap();
            let error = begin(PutMode::Overwrite, file_in).commit(Some(4)).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert_eq!(
                (names(dir.path()), names(&dir.path().join("new"))),
                (vec!["new".into()], vec!["a".into()])
            );
        }
        assert_eq!(std::fs::read(target.as_path()).unwrap(), b"abc");
    }

    #[test]
    fn directories_of_a_put_that_fails_at_the_end_go_again() {
        let dir = tempfile::tempdir().unwrap();
        let long = "n".repeat(300);
        let target = Location::from_path(&dir.path().join("x/y").join(long)).unwrap();
        let draft = Draft::begin(&target, PutOptions::default()).unwrap();
        assert_eq!(draft.commit(None).unwrap_err().kind(), Kind::InvalidConfig);
        assert!(names(dir.path()).is_empty());
    }
}
