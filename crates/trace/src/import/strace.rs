//! What `strace -f -ttt` prints: reads, writes, opens and stats of files, with the descriptors followed so
//! that each read has its name and its offset.

use super::strace_call::{Call, Part, name_at, split, unquote};
use super::{Import, ImportOptions, Wrong, column_of, seconds, wrong};
use crate::error::Result;
use crate::reader::Lines;
use crate::{Action, Header, Record, Status};
use forebay_io::{Kind, Location};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// More descriptors and half-shown calls than this are not of a program but of a broken or hostile file.
const MOST: usize = 1 << 20;

pub(super) fn open(lines: Lines, options: &ImportOptions, mut header: Header) -> Result<Import> {
    let mut calls = Calls { base: options.base.clone(), ..Calls::default() };
    let left_out = calls.left_out.clone();
    let mut records = super::records(lines, move |line| calls.read(line)).peekable();
    if let Some(Ok(first)) = records.peek_mut() {
        header.clock.realtime_ns = first.t_intended.take().unwrap_or(0);
    }
    Ok(Import { left_out, ..Import::other(header, records) })
}

/// An open file. Descriptors that were made of one another share where the next `read` begins.
#[derive(Clone)]
struct Open {
    uri: String,
    position: Arc<AtomicU64>,
    /// Whether the descriptor ends where another program is begun.
    cloexec: bool,
}

#[derive(Default)]
struct Calls {
    base: Option<PathBuf>,
    /// When the first line was written.
    origin: Option<u64>,
    /// Whether a record has told that.
    told: bool,
    /// Calls whose file is not known.
    left_out: Arc<AtomicU64>,
    /// Which table of descriptors a process uses; threads share one.
    tables: HashMap<u64, u64>,
    /// Processes that were seen before the call that made them had returned.
    met: HashSet<u64>,
    open: HashMap<(u64, u64), Open>,
    /// Calls of which a line showed only the beginning, by process.
    begun: HashMap<u64, (u64, String)>,
}

/// What a call returned.
#[derive(Clone, Copy)]
struct Ret<'a> {
    text: &'a str,
    value: Option<i64>,
    status: Status,
}

impl Ret<'_> {
    /// Reads `4096`, `3</name>` as -y has it, or `-1 ENOENT (No such file or directory)`.
    fn parse(text: &str) -> Ret<'_> {
        let mut words = text.split_ascii_whitespace();
        let value = words.next().and_then(|word| word.split('<').next()?.parse::<i64>().ok());
        let status = match (value, words.next()) {
            (Some(value), _) if value >= 0 => Status::Ok,
            (_, Some("ENOENT" | "ENOTDIR")) => Status::Failed(Kind::NotFound),
            (_, Some("EACCES" | "EPERM")) => Status::Failed(Kind::Denied),
            (_, Some("EEXIST")) => Status::Failed(Kind::AlreadyExists),
            _ => Status::Error,
        };
        Ret { text, value, status }
    }
}

/// One call, whole.
struct Done<'a> {
    pid: u64,
    at: u64,
    name: &'a str,
    args: &'a str,
    ret: Ret<'a>,
    took: Option<u64>,
}

impl Calls {
    fn read(&mut self, line: &str) -> Result<Option<Record>, Wrong> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let call = Call::parse(line).ok_or_else(|| {
            wrong(1, "this is not a line of strace -f -ttt: [PID] SECONDS.MICROS call(…) = result")
        })?;
        let at = seconds(line, call.time, "the time")?;
        if at < *self.origin.get_or_insert(at) {
            let what = "the time is before that of the first line: the clock was set back meanwhile";
            return Err(wrong(column_of(line, call.time), what));
        }
        self.meet(call.pid);
        let took = |took: Option<&str>| took.map(|took| seconds(line, took, "the duration")).transpose();
        match call.part {
            Part::Other => {
                if line.contains("+++ exited") || line.contains("+++ killed") {
                    self.tables.remove(&call.pid);
                    self.met.remove(&call.pid);
                }
                Ok(None)
            }
            Part::Begun { name, args } => {
                if self.begun.len() >= MOST {
                    return Err(wrong(1, "too many calls are unfinished"));
                }
                self.begun.insert(call.pid, (at, format!("{name}({args}")));
                Ok(None)
            }
            Part::Resumed { name, args, ret, took: lasted } => {
                let Some((at, begun)) = self.begun.remove(&call.pid) else {
                    // It began before whoever traced it looked.
                    self.leave_out(is_kept(name));
                    return Ok(None);
                };
                let Some((begun_name, first)) = begun.split_once('(').filter(|(begun, _)| *begun == name)
                else {
                    return Err(wrong(
                        column_of(line, name),
                        format!("{name} is resumed, but was not begun"),
                    ));
                };
                let args = format!("{first}{args}");
                let took = took(lasted)?;
                self.done(Done {
                    pid: call.pid,
                    at,
                    name: begun_name,
                    args: &args,
                    ret: Ret::parse(ret),
                    took,
                })
            }
            Part::Whole { name, args, ret, took: lasted } => {
                let took = took(lasted)?;
                self.done(Done { pid: call.pid, at, name, args, ret: Ret::parse(ret), took })
            }
        }
    }

    fn done(&mut self, call: Done<'_>) -> Result<Option<Record>, Wrong> {
        let args = split(call.args);
        let table = *self.tables.entry(call.pid).or_insert(call.pid);
        let arg = |i: usize| args.get(i).copied().unwrap_or_default();
        let ok = call.ret.value.and_then(|ret| u64::try_from(ret).ok());
        match call.name {
            "open" | "openat" | "creat" => {
                let named = if call.name == "openat" { arg(1) } else { arg(0) };
                let Some(uri) = self.uri(arg(0), named) else {
                    self.leave_out(true);
                    return Ok(None);
                };
                // With -y the kernel's name, by which all that follows calls it, too.
                let uri = name_at(call.ret.text).and_then(|name| self.file(&name)).unwrap_or(uri);
                if let Some(fd) = ok {
                    if self.open.len() >= MOST {
                        return Err(wrong(1, "too many files are open"));
                    }
                    let cloexec = call.args.contains("O_CLOEXEC");
                    self.open
                        .insert((table, fd), Open { uri: uri.clone(), position: Arc::default(), cloexec });
                }
                Ok(Some(self.record(&call, Action::Open, uri)))
            }
            "stat" | "lstat" | "newfstatat" | "statx" => {
                let named = if call.name.ends_with("stat") && call.name.len() <= 5 { arg(0) } else { arg(1) };
                // An empty name asks about the descriptor: an fstat, which costs no lookup.
                if named == "\"\"" {
                    return Ok(None);
                }
                let uri = self.uri(arg(0), named);
                self.leave_out(uri.is_none());
                Ok(uri.map(|uri| self.record(&call, Action::Stat, uri)))
            }
            "read" | "readv" => Ok(self.moved(&call, table, &args, Action::Read, None, ok)),
            "write" | "writev" => Ok(self.moved(&call, table, &args, Action::Put, None, ok)),
            "pread64" | "preadv" | "preadv2" => {
                Ok(self.moved(&call, table, &args, Action::Read, arg(3).parse().ok(), ok))
            }
            "pwrite64" | "pwritev" | "pwritev2" => {
                Ok(self.moved(&call, table, &args, Action::Put, arg(3).parse().ok(), ok))
            }
            // Of both sides the one that reads, as if it had been read into memory.
            "copy_file_range" => {
                let as_read = [arg(0), "", arg(4)];
                Ok(self.moved(&call, table, &as_read, Action::Read, pointed(arg(1)), ok))
            }
            "sendfile" | "sendfile64" => {
                let as_read = [arg(1), "", arg(3)];
                Ok(self.moved(&call, table, &as_read, Action::Read, pointed(arg(2)), ok))
            }
            "lseek" => {
                if let Some(open) = self.file_of(table, arg(0))
                    && let Some(at) = ok
                {
                    open.position.store(at, Ordering::Relaxed);
                }
                Ok(None)
            }
            "close" => {
                if let Some(fd) = descriptor(arg(0)) {
                    self.open.remove(&(table, fd));
                }
                Ok(None)
            }
            "dup" | "dup2" | "dup3" => {
                self.copy(table, arg(0), ok, call.args.contains("O_CLOEXEC"));
                Ok(None)
            }
            "fcntl" | "fcntl64" if matches!(arg(1), "F_DUPFD" | "F_DUPFD_CLOEXEC") => {
                self.copy(table, arg(0), ok, arg(1) == "F_DUPFD_CLOEXEC");
                Ok(None)
            }
            "close_range" => {
                if let (Ok(first), Ok(last), Some(_)) = (arg(0).parse(), arg(1).parse(), ok)
                    && !call.args.contains("CLOSE_RANGE_CLOEXEC")
                {
                    self.open.retain(|&(of, fd), _| of != table || !(first..=last).contains(&fd));
                }
                Ok(None)
            }
            "execve" | "execveat" => {
                if ok == Some(0) {
                    self.open.retain(|&(of, _), open| of != table || !open.cloexec);
                }
                Ok(None)
            }
            // What they return is no file, whatever had that number before.
            "pipe" | "pipe2" | "socketpair" => {
                let pair = args.iter().rev().find_map(|arg| arg.strip_prefix('[')?.strip_suffix(']'));
                for fd in pair.filter(|_| ok.is_some()).into_iter().flat_map(split).filter_map(descriptor) {
                    self.open.remove(&(table, fd));
                }
                Ok(None)
            }
            "socket" | "accept" | "accept4" | "eventfd2" | "epoll_create1" | "memfd_create"
            | "timerfd_create" | "signalfd4" | "inotify_init1" | "pidfd_open" | "io_uring_setup" => {
                if let Some(fd) = ok {
                    self.open.remove(&(table, fd));
                }
                Ok(None)
            }
            "clone" | "clone3" | "fork" | "vfork" => {
                if let Some(child) = ok.filter(|child| !self.met.remove(child)) {
                    self.child(table, child, call.args.contains("CLONE_FILES"));
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A thread or process is often seen before the call that made it has returned: it is then that call's.
    fn meet(&mut self, pid: u64) {
        if self.tables.contains_key(&pid) {
            return;
        }
        let mut makers = self.begun.iter().filter(|(_, (_, call))| {
            ["clone(", "clone3(", "fork(", "vfork("].iter().any(|name| call.starts_with(name))
        });
        match (makers.next(), makers.next()) {
            (Some((&parent, (_, call))), None) => {
                let shares = call.contains("CLONE_FILES");
                let table = *self.tables.entry(parent).or_insert(parent);
                self.child(table, pid, shares);
                self.met.insert(pid);
            }
            _ => {
                self.tables.insert(pid, pid);
            }
        }
    }

    fn leave_out(&self, lost: bool) {
        self.left_out.fetch_add(u64::from(lost), Ordering::Relaxed);
    }

    /// A thread uses its parent's descriptors; a process has a copy of them.
    fn child(&mut self, table: u64, child: u64, shares: bool) {
        if shares {
            self.tables.insert(child, table);
            // What it opened before anybody knew whose it is.
            let own: Vec<_> = self.open.keys().filter(|(of, _)| *of == child).copied().collect();
            for (of, fd) in own.into_iter().filter(|_| child != table) {
                if let Some(open) = self.open.remove(&(of, fd)) {
                    self.open.insert((table, fd), open);
                }
            }
            return;
        }
        let inherited: Vec<_> = self
            .open
            .iter()
            .filter(|((of, _), _)| *of == table)
            .map(|((_, fd), open)| ((child, *fd), open.clone()))
            .take(MOST)
            .collect();
        self.open.extend(inherited);
        self.tables.insert(child, child);
    }

    fn moved(
        &mut self,
        call: &Done<'_>,
        table: u64,
        args: &[&str],
        action: Action,
        offset: Option<u64>,
        moved: Option<u64>,
    ) -> Option<Record> {
        let file = args.first().copied().unwrap_or_default();
        descriptor(file)?;
        // What came; of a call that failed, what it asked for. More than came was not there to be read.
        let len = moved.or_else(|| asked(args));
        let (Some(open), Some(len)) = (self.file_of(table, file), len) else {
            self.leave_out(name_at(file).is_none_or(|name| name.starts_with(b"/")));
            return None;
        };
        let uri = open.uri.clone();
        let from = offset.unwrap_or_else(|| open.position.load(Ordering::Relaxed));
        if offset.is_none() {
            open.position.store(from.saturating_add(moved.unwrap_or(0)), Ordering::Relaxed);
        }
        let mut record = self.record(call, action, uri);
        record.offset = Some(from);
        record.len = Some(len);
        record.bytes = moved;
        Some(record)
    }

    /// The file that a descriptor is open on, if it is one. With -y its name stands there, and rules: a file may have
    /// got another, and what made the descriptor may not have been seen.
    fn file_of(&mut self, table: u64, arg: &str) -> Option<&Open> {
        let key = (table, descriptor(arg)?);
        let room = self.open.len() < MOST;
        match name_at(arg).map(|name| self.file(&name)) {
            None => {}
            Some(None) => drop(self.open.remove(&key)),
            Some(Some(uri)) => match self.open.get_mut(&key) {
                Some(open) => open.uri = uri,
                None if room => {
                    self.open.insert(key, Open { uri, position: Arc::default(), cloexec: false });
                }
                None => {}
            },
        }
        self.open.get(&key)
    }

    /// A descriptor that was made of another.
    fn copy(&mut self, table: u64, old: &str, new: Option<u64>, cloexec: bool) {
        let Some(new) = new.filter(|&new| Some(new) != descriptor(old)) else { return };
        match self.file_of(table, old).cloned() {
            Some(open) if self.open.len() < MOST => {
                self.open.insert((table, new), Open { cloexec, ..open });
            }
            _ => drop(self.open.remove(&(table, new))),
        }
    }

    /// The location of what -y calls so; none of a socket or a pipe.
    fn file(&self, name: &[u8]) -> Option<String> {
        name.starts_with(b"/").then(|| self.absolute(name))?
    }

    fn record(&mut self, call: &Done<'_>, action: Action, uri: String) -> Record {
        let first = !std::mem::replace(&mut self.told, true);
        let origin = self.origin.unwrap_or(call.at);
        let submit = call.at.saturating_sub(origin);
        Record {
            t_done: call.took.map(|took| submit.saturating_add(took)),
            status: call.ret.status,
            stream: Some(call.pid),
            // Taken out again by `open`: the header's clock.
            t_intended: first.then_some(origin),
            ..Record::asked(action, uri, submit)
        }
    }

    fn uri(&self, folder: &str, named: &str) -> Option<String> {
        let name = unquote(named)?;
        if !name.starts_with(b"/")
            && let Some(folder) = name_at(folder)
        {
            let folder = Path::new(OsStr::from_bytes(&folder));
            return self.absolute(folder.join(OsStr::from_bytes(&name)).as_os_str().as_bytes());
        }
        self.absolute(&name)
    }

    /// None for a relative name where no directory was given to take it from.
    fn absolute(&self, name: &[u8]) -> Option<String> {
        let path = Path::new(OsStr::from_bytes(name));
        let path = match &self.base {
            Some(base) => base.join(path),
            None => path.to_owned(),
        };
        Location::from_path(&path).ok().map(|location| location.to_string())
    }
}

/// Whether a call of this name is one that a trace keeps.
fn is_kept(name: &str) -> bool {
    matches!(name, "open" | "openat" | "creat" | "stat" | "lstat" | "newfstatat" | "statx")
        || matches!(name, "copy_file_range" | "sendfile" | "sendfile64")
        || matches!(name, "read" | "readv" | "pread64" | "preadv" | "preadv2")
        || matches!(name, "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2")
}

/// The offset that `[100]` or `[100] => [200]` points to.
fn pointed(arg: &str) -> Option<u64> {
    arg.strip_prefix('[')?.split(']').next()?.parse().ok()
}

/// The bytes that a call asked for: its third argument, or the sum of its buffers.
fn asked(args: &[&str]) -> Option<u64> {
    let buffers = args.get(1)?;
    if !buffers.starts_with('[') {
        return args.get(2)?.parse().ok();
    }
    let lens = buffers.split("iov_len=").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<u64>().ok()
    });
    lens.sum()
}

/// The number of a descriptor: `3`, or `3</name>` with `-y`.
fn descriptor(arg: &str) -> Option<u64> {
    arg.split('<').next()?.parse().ok()
}
