//! What `strace -f -ttt` prints: reads, writes, opens and stats of files, with the descriptors followed so
//! that each read has its name and its offset.

use super::strace_call::{Call, Part, split, unquote};
use super::{Import, ImportOptions, Wrong, column_of, seconds, wrong};
use crate::error::Result;
use crate::reader::Lines;
use crate::{Action, Header, Record, Status};
use forebay_io::{Kind, Location};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// More descriptors and half-shown calls than this are not of a program but of a broken or hostile file.
const MOST: usize = 1 << 20;

pub(super) fn open(lines: Lines, options: &ImportOptions, mut header: Header) -> Result<Import> {
    let mut calls = Calls { base: options.base.clone(), ..Calls::default() };
    let mut records = super::records(lines, move |line| calls.read(line)).peekable();
    if let Some(Ok(first)) = records.peek_mut() {
        header.clock.realtime_ns = first.t_intended.take().unwrap_or(0);
    }
    Ok(Import::other(header, records))
}

/// An open file: its name, and where the next `read` begins.
#[derive(Clone)]
struct Open {
    uri: String,
    position: u64,
}

#[derive(Default)]
struct Calls {
    base: Option<PathBuf>,
    origin: Option<u64>,
    /// Which table of descriptors a process uses; threads share one.
    tables: HashMap<u64, u64>,
    open: HashMap<(u64, u64), Open>,
    /// Calls of which a line showed only the beginning, by process.
    begun: HashMap<u64, (u64, String)>,
}

/// What a call returned.
#[derive(Clone, Copy)]
struct Ret {
    value: Option<i64>,
    status: Status,
}

impl Ret {
    /// Reads `4096` or `-1 ENOENT (No such file or directory)`.
    fn parse(text: &str) -> Ret {
        let mut words = text.split_ascii_whitespace();
        let value = words.next().and_then(|word| word.parse::<i64>().ok());
        let status = match (value, words.next()) {
            (Some(value), _) if value >= 0 => Status::Ok,
            (_, Some("ENOENT" | "ENOTDIR")) => Status::Failed(Kind::NotFound),
            (_, Some("EACCES" | "EPERM")) => Status::Failed(Kind::Denied),
            (_, Some("EEXIST")) => Status::Failed(Kind::AlreadyExists),
            _ => Status::Error,
        };
        Ret { value, status }
    }
}

/// One call, whole.
struct Done<'a> {
    pid: u64,
    at: u64,
    name: &'a str,
    args: &'a str,
    ret: Ret,
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
        let took = |took: Option<&str>| took.map(|took| seconds(line, took, "the duration")).transpose();
        match call.part {
            Part::Other => Ok(None),
            Part::Begun { name, args } => {
                if self.begun.len() >= MOST {
                    return Err(wrong(1, "too many calls are unfinished"));
                }
                self.begun.insert(call.pid, (at, format!("{name}({args}")));
                Ok(None)
            }
            Part::Resumed { name, args, ret, took: lasted } => {
                let Some((at, begun)) = self.begun.remove(&call.pid) else { return Ok(None) };
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
                let Some(uri) = self.uri(arg(0), named) else { return Ok(None) };
                if let Some(fd) = ok {
                    if self.open.len() >= MOST {
                        return Err(wrong(1, "too many files are open"));
                    }
                    self.open.insert((table, fd), Open { uri: uri.clone(), position: 0 });
                }
                Ok(Some(self.record(&call, Action::Open, uri)))
            }
            "stat" | "lstat" | "newfstatat" | "statx" => {
                let named = if call.name.ends_with("stat") && call.name.len() <= 5 { arg(0) } else { arg(1) };
                // An empty name asks about the descriptor: an fstat, which costs no lookup.
                let uri = self.uri(arg(0), named).filter(|_| named != "\"\"");
                Ok(uri.map(|uri| self.record(&call, Action::Stat, uri)))
            }
            "read" | "readv" => Ok(self.moved(&call, table, arg(0), Action::Read, None, ok)),
            "write" | "writev" => Ok(self.moved(&call, table, arg(0), Action::Put, None, ok)),
            "pread64" | "preadv" | "preadv2" => {
                Ok(self.moved(&call, table, arg(0), Action::Read, arg(3).parse().ok(), ok))
            }
            "pwrite64" | "pwritev" | "pwritev2" => {
                Ok(self.moved(&call, table, arg(0), Action::Put, arg(3).parse().ok(), ok))
            }
            "lseek" => {
                if let (Some(at), Some(fd)) = (ok, descriptor(arg(0)))
                    && let Some(open) = self.open.get_mut(&(table, fd))
                {
                    open.position = at;
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
                if let (Some(new), Some(old)) = (ok, descriptor(arg(0)))
                    && let Some(open) = self.open.get(&(table, old)).cloned()
                {
                    self.open.insert((table, new), open);
                }
                Ok(None)
            }
            "clone" | "clone3" | "fork" | "vfork" => {
                if let Some(child) = ok {
                    self.child(table, child, call.args.contains("CLONE_FILES"));
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A thread uses its parent's descriptors; a process has a copy of them.
    fn child(&mut self, table: u64, child: u64, shares: bool) {
        if shares {
            self.tables.insert(child, table);
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
        file: &str,
        action: Action,
        offset: Option<u64>,
        moved: Option<u64>,
    ) -> Option<Record> {
        let fd = descriptor(file)?;
        // With -y the name stands at the descriptor; sockets and pipes have other words there.
        let named = file.split_once('<').and_then(|(_, name)| name.strip_suffix('>'));
        let named =
            named.filter(|name| name.starts_with('/')).and_then(|name| self.absolute(name.as_bytes()));
        if let Some(uri) = named
            && self.open.len() < MOST
        {
            self.open.entry((table, fd)).or_insert(Open { uri, position: 0 });
        }
        let open = self.open.get_mut(&(table, fd))?;
        let uri = open.uri.clone();
        let from = offset.unwrap_or(open.position);
        if offset.is_none() {
            open.position = open.position.saturating_add(moved.unwrap_or(0));
        }
        let mut record = self.record(call, action, uri);
        record.offset = Some(from);
        record.len = moved;
        record.bytes = moved;
        Some(record)
    }

    fn record(&mut self, call: &Done<'_>, action: Action, uri: String) -> Record {
        let first = self.origin.is_none();
        let origin = *self.origin.get_or_insert(call.at);
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
            && let Some((_, folder)) = folder.split_once('<')
        {
            let folder = folder.strip_suffix('>')?;
            return self.absolute(Path::new(folder).join(OsStr::from_bytes(&name)).as_os_str().as_bytes());
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

/// The number of a descriptor: `3`, or `3</name>` with `-y`.
fn descriptor(arg: &str) -> Option<u64> {
    arg.split('<').next()?.parse().ok()
}
