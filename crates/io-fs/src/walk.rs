//! A directory tree, read page by page: raw `getdents64` with a large buffer, names straight into the
//! page, and no `stat` where the directory says what a name is.
//!
//! What is listed:
//! * regular files, and symbolic links to them, as objects; pipes, sockets and devices are not objects;
//! * symbolic links to directories as the directories they are. One that leads to a directory it lies
//!   in is not entered again: all that is there is listed already;
//! * a link that leads nowhere, as an object, whose reading will say `NotFound`: a sample that is
//!   missing must not make a data set quietly smaller;
//! * not: files that a put is still writing, and what was removed before it could be looked at.
//!
//! A directory that cannot be read is an error that names it.

use crate::prune::Prune;
use crate::{failure, put, version};
use forebay_io::{EntryKind, ListOptions, Location, Meta, Operation, Page, PageBuilder, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, fstat, open, openat, stat, statat};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// How much is done at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stride {
    /// Entries of a page, or somewhat more.
    entries: usize,
    /// Bytes asked of `getdents64` at once.
    buffer: usize,
}

impl Stride {
    /// Pages so large that their hand-over (some 20 µs) is nothing next to reading them (some 10 ms),
    /// and so small that the first comes soon.
    pub(crate) const LONG: Stride = Stride { entries: 64 << 10, buffer: 256 << 10 };

    /// Many pages of few entries, for tests.
    #[cfg(test)]
    pub(crate) const SHORT: Stride = Stride { entries: 10, buffer: 512 };
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A listing under way.
pub(crate) struct Walk {
    root: Location,
    options: ListOptions,
    prune: Prune,
    builder: PageBuilder,
    top: OwnedFd,
    /// The directory that is being read.
    current: Option<Directory>,
    /// Directories that are still to be read, the next one last.
    pending: Vec<Pending>,
    buffer: Vec<MaybeUninit<u8>>,
}

struct Directory {
    fd: OwnedFd,
    /// Its key and a slash; empty for the root.
    prefix: Vec<u8>,
    identity: Arc<Ancestor>,
}

struct Pending {
    key: Vec<u8>,
    parent: Arc<Ancestor>,
}

/// A directory and those that it lies in.
struct Ancestor {
    device: u64,
    inode: u64,
    parent: Option<Arc<Ancestor>>,
}

impl Ancestor {
    fn of(stat: &Stat, parent: Option<Arc<Ancestor>>) -> Arc<Self> {
        Arc::new(Ancestor { device: stat.st_dev, inode: stat.st_ino, parent })
    }

    /// Whether the directory is one of those that it lies in.
    fn is_a_loop(&self) -> bool {
        let above = std::iter::successors(self.parent.as_deref(), |a| a.parent.as_deref());
        above.into_iter().any(|a| (a.device, a.inode) == (self.device, self.inode))
    }
}

/// What a listing begins with.
pub(crate) enum Begun {
    /// The location is a file: this is all.
    Object(Option<Page>),
    /// It is a directory.
    Tree(Box<Walk>),
}

impl Walk {
    pub(crate) fn begin(root: &Location, options: ListOptions, stride: Stride) -> Result<Begun> {
        let fail = |errno| failure::os(Operation::List, errno, root);
        crate::file::check_scheme(Operation::List, root)?;
        let found = stat(root.path_bytes()).map_err(fail)?;
        let mut builder = PageBuilder::new(root.clone(), stride.entries);
        match version::kind_of(&found) {
            Some(EntryKind::Directory) => {}
            Some(EntryKind::Object) => {
                if options.wants(b"") {
                    let meta = options.details.then(|| version::meta_of(&found)).flatten();
                    builder.push(&[], EntryKind::Object, meta);
                }
                return Ok(Begun::Object(builder.take()));
            }
            None => return Err(failure::not_a_file(Operation::List, root)),
        }
        let open = || open(root.path_bytes(), DIRECTORY, Mode::empty()).map_err(fail);
        let top = open()?;
        let identity = Ancestor::of(&fstat(&top).map_err(fail)?, None);
        let current = Some(Directory { fd: open()?, prefix: Vec::new(), identity });
        Ok(Begun::Tree(Box::new(Walk {
            root: root.clone(),
            prune: Prune::new(options.glob.as_ref()),
            options,
            builder,
            top,
            current,
            pending: Vec::new(),
            buffer: vec![MaybeUninit::uninit(); stride.buffer],
        })))
    }

    /// The next page; none when all is listed, or when nobody waits for it any more.
    pub(crate) fn page(&mut self, gave_up: &dyn Fn() -> bool) -> Result<Option<Page>> {
        while !gave_up() {
            let Some(directory) =
                self.current.take().map(Ok).or_else(|| self.next_directory()).transpose()?
            else {
                return Ok(self.builder.take());
            };
            if let Some(unfinished) = self.read(directory, gave_up)? {
                self.current = Some(unfinished);
            }
            if self.builder.is_full() {
                return Ok(self.builder.take());
            }
        }
        Ok(None)
    }

    fn next_directory(&mut self) -> Option<Result<Directory>> {
        loop {
            let Pending { key, parent } = self.pending.pop()?;
            let fail = |errno| failure::os(Operation::List, errno, &self.root.join(&key));
            let fd = match openat(&self.top, &*key, DIRECTORY, Mode::empty()) {
                Ok(fd) => fd,
                // Removed, or replaced by something else, since its name was read.
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(errno) => return Some(Err(fail(errno))),
            };
            let identity = match fstat(&fd) {
                Ok(stat) => Ancestor::of(&stat, Some(parent)),
                Err(errno) => return Some(Err(fail(errno))),
            };
            if identity.is_a_loop() {
                continue;
            }
            let mut prefix = key;
            prefix.push(b'/');
            return Some(Ok(Directory { fd, prefix, identity }));
        }
    }

    /// Reads until the directory ends (none) or the page is full. Stops between two calls of the
    /// kernel only, which remembers where it was.
    fn read(&mut self, directory: Directory, gave_up: &dyn Fn() -> bool) -> Result<Option<Directory>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut entries = RawDir::new(&directory.fd, &mut buffer);
        let result = loop {
            if entries.is_buffer_empty() && (self.builder.is_full() || gave_up()) {
                break Ok(true);
            }
            match entries.next() {
                None => break Ok(false),
                Some(Err(Errno::INTR)) => {}
                Some(Err(errno)) => {
                    let key = directory.prefix.strip_suffix(b"/").unwrap_or_default();
                    break Err(failure::os(Operation::List, errno, &self.root.join(key)));
                }
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes();
                    if let Err(error) = self.entry(&directory, name, entry.file_type()) {
                        break Err(error);
                    }
                }
            }
        };
        self.buffer = buffer;
        Ok(result?.then_some(directory))
    }

    fn entry(&mut self, directory: &Directory, name: &[u8], kind: FileType) -> Result<()> {
        if name == b"." || name == b".." {
            return Ok(());
        }
        let (kind, meta) = match kind {
            FileType::RegularFile if !self.options.details => (EntryKind::Object, None),
            FileType::Directory => (EntryKind::Directory, None),
            FileType::RegularFile | FileType::Symlink | FileType::Unknown => {
                match self.look(directory, name)? {
                    Some(found) => found,
                    None => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        match kind {
            EntryKind::Object => {
                if !name.starts_with(put::RESERVED) {
                    self.push(directory, name, kind, meta);
                }
            }
            EntryKind::Directory if self.options.recursive => {
                let key = [&directory.prefix, name].concat();
                if self.prune.enters(&key) {
                    self.pending.push(Pending { key, parent: directory.identity.clone() });
                }
            }
            EntryKind::Directory => {
                let meta = if self.options.details && meta.is_none() {
                    match self.look(directory, name)? {
                        Some((_, meta)) => meta,
                        None => return Ok(()),
                    }
                } else {
                    meta
                };
                self.push(directory, name, kind, meta);
            }
        }
        Ok(())
    }

    fn push(&mut self, directory: &Directory, name: &[u8], kind: EntryKind, meta: Option<Meta>) {
        let wanted = match (&self.options.glob, &*directory.prefix) {
            (None, _) => true,
            (Some(glob), b"") => glob.matches(name),
            (Some(glob), prefix) => glob.matches(&[prefix, name].concat()),
        };
        if wanted {
            self.builder.push(&[&directory.prefix, name], kind, meta);
        }
    }

    /// What a name is, through links. None for what is not an object and for what is gone.
    fn look(&self, directory: &Directory, name: &[u8]) -> Result<Option<(EntryKind, Option<Meta>)>> {
        let details = |stat: &Stat| self.options.details.then(|| version::meta_of(stat)).flatten();
        let failed = match statat(directory.fd.as_fd(), name, AtFlags::empty()) {
            Ok(stat) => return Ok(version::kind_of(&stat).map(|kind| (kind, details(&stat)))),
            Err(errno) => errno,
        };
        if matches!(failed, Errno::NOENT | Errno::LOOP | Errno::NOTDIR) {
            return match statat(directory.fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Ok(Some((EntryKind::Object, None))),
                Err(_) => Ok(None),
            };
        }
        let key = [&directory.prefix, name].concat();
        Err(failure::os(Operation::List, failed, &self.root.join(&key)))
    }
}
