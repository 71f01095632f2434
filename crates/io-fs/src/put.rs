//! Writing a file so that readers see the old bytes or the new, never a part.
//!
//! The bytes go to a file without a name (`O_TMPFILE`), or to one with a reserved name where the
//! filesystem has no such thing, in the nearest directory that exists. Only when all of them are there
//! are missing directories made and is the name put in place, by a link (nothing may be there) or a
//! rename (something may). Whatever stops a put before, nothing is left behind.

use crate::failure;
use forebay_io::{Body, Error, Kind, Location, Meta, Operation, PutMode, PutOptions, Result};
use futures::{StreamExt, stream::BoxStream};
use rustix::fd::{AsFd, OwnedFd};
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
pub(crate) struct Draft {
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

/// How the file is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Without a name if the filesystem can, else with one.
    Nameless,
    /// With a reserved name. Only tests ask for it where the filesystem can do better.
    Named,
}

impl Draft {
    /// Begins to write the file that will be `target`.
    pub(crate) fn begin(target: &Location, options: PutOptions, start: Start) -> Result<Self> {
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
        let (fd, named) = match start {
            Start::Nameless => match open(place, OFlags::TMPFILE | FLAGS, MODE) {
                Ok(fd) => (fd, None),
                // What filesystems and kernels without nameless files answer.
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                    named(place).map_err(fail)?
                }
                Err(errno) => return Err(fail(errno)),
            },
            Start::Named => named(place).map_err(fail)?,
        };
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

    /// Appends.
    pub(crate) fn write(&mut self, chunks: &[bytes::Bytes]) -> Result<()> {
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
    pub(crate) fn commit(mut self, promised: Option<u64>) -> Result<Meta> {
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

fn named(directory: &Path) -> Result<(OwnedFd, Option<PathBuf>), Errno> {
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
pub(crate) struct Gathered {
    chunks: BoxStream<'static, Result<bytes::Bytes>>,
    promised: Option<u64>,
    seen: u64,
}

impl Gathered {
    pub(crate) fn new(body: Body) -> Self {
        let promised = body.len();
        Gathered { chunks: body.into_chunks(), promised, seen: 0 }
    }

    pub(crate) fn promised(&self) -> Option<u64> {
        self.promised
    }

    /// The next chunks, and whether they are the last ones.
    pub(crate) async fn next(&mut self, target: &Location) -> Result<(Vec<bytes::Bytes>, bool)> {
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
