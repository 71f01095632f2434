//! A batch of whole files or ranges.
//!
//! A thread opens a group of files, which tells their sizes, and asks the place for all their bytes at
//! once; the engine reads; and whoever read last has a thread open the next group. If the place has no
//! room now, the batch goes back to its caller to wait for it without a thread, and comes again with the
//! room. The caller is woken for that, and when all is done.

use crate::flight::{Caller, Flight, Landed, Read};
use crate::open_file::OpenFile;
use crate::room;
use crate::shared::{Shared, check_landed, failed, request_bytes};
use forebay_io::{
    Buf, Error, GetRequest, Kind, Operation, Place, ReadOptions, Reservation, Result, Room, Served, Want,
};
use forebay_io_fs::posix::{self, Folder, Held, Stopped};
use futures::channel::oneshot;
use rustix::fd::BorrowedFd;
use rustix::fs::{CWD, fstat};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See the module's words.
pub(crate) struct Batch {
    shared: Arc<Shared>,
    requests: Arc<[GetRequest]>,
    options: ReadOptions,
    place: Arc<dyn Place>,
    next: usize,
    /// Opened, without room yet; in the order of the requests.
    opened: Vec<Opened>,
    wants: Vec<Want>,
    one_by_one: bool,
    /// The place has no room for spare bytes.
    tight: bool,
    /// Counts the open files while the batch waits for room.
    held: Option<Held>,
    results: Vec<Option<Result<Served>>>,
}

/// A file between being opened and being read.
struct Opened {
    index: usize,
    /// None while the batch waits for room and descriptors are scarce.
    file: Option<Arc<OpenFile>>,
    span: Range<u64>,
    size: u64,
    /// What it needs around its bytes.
    room: Room,
    spent: Duration,
}

/// Why a batch came back.
pub(crate) enum Stop {
    Done(Vec<Result<Served>>),
    /// [`Batch::wants`] must be reserved first.
    Wait(Box<Batch>),
}

/// The place's answer to what was waited for.
pub(crate) type Granted = Result<Vec<Buf>>;

/// Who waits for the reads of a group.
struct Group {
    batch: Box<Batch>,
    files: Vec<Opened>,
    answer: oneshot::Sender<Stop>,
}

impl Batch {
    pub(crate) fn new(
        shared: Arc<Shared>,
        requests: Arc<[GetRequest]>,
        options: ReadOptions,
        place: Arc<dyn Place>,
    ) -> Box<Self> {
        Box::new(Batch {
            shared,
            results: requests.iter().map(|_| None).collect(),
            requests,
            options,
            place,
            next: 0,
            opened: Vec::new(),
            wants: Vec::new(),
            one_by_one: false,
            tight: false,
            held: None,
        })
    }

    pub(crate) fn wants(&self) -> &[Want] {
        &self.wants
    }

    /// Goes on, on a thread that may wait, with the room if it was waited for.
    pub(crate) fn start(self: Box<Self>, room: Option<Granted>) -> oneshot::Receiver<Stop> {
        let (answer, stop) = oneshot::channel();
        self.go_on(room, answer);
        stop
    }

    fn go_on(self: Box<Self>, room: Option<Granted>, answer: oneshot::Sender<Stop>) {
        let shared = self.shared.clone();
        shared.engine.threads.submit(move || {
            if !answer.is_canceled() {
                self.run(room, answer);
            }
        });
    }

    fn run(mut self: Box<Self>, mut room: Option<Granted>, answer: oneshot::Sender<Stop>) {
        self.held = None;
        loop {
            match room.take() {
                Some(Ok(bufs)) => {
                    if let Some((reads, files)) = self.reads(bufs) {
                        let shared = self.shared.clone();
                        let caller = Box::new(Group { batch: self, files, answer });
                        shared.engine.submit(Flight { reads, caller, watched: shared.watched() });
                        return;
                    }
                }
                Some(Err(error)) => self.refused(error),
                None => {}
            }
            if answer.is_canceled() {
                return;
            }
            if self.opened.is_empty() && !self.open_group() {
                let _ = answer.send(Stop::Done(self.finish()));
                return;
            }
            room = match self.ask() {
                Some(Reservation::Granted(bufs)) => Some(Ok(bufs)),
                Some(Reservation::Wait) => {
                    self.held = self.shared.descriptors.hold(self.opened.len());
                    if self.held.is_none() {
                        // They are opened again when there is room for them.
                        self.opened.iter_mut().for_each(|opened| opened.file = None);
                    }
                    let _ = answer.send(Stop::Wait(self));
                    return;
                }
                Some(Reservation::TooLarge { index, error }) => {
                    if self.loosen(&error) {
                        None
                    } else {
                        let opened = self.opened.remove(index);
                        self.fail(opened.index, error);
                        None
                    }
                }
                Some(Reservation::Refused(error)) => Some(Err(error)),
                None => None,
            };
        }
    }

    /// Opens the next files. False if there are none left.
    fn open_group(&mut self) -> bool {
        if self.next == self.requests.len() {
            return false;
        }
        (self.one_by_one, self.tight) = (false, false);
        let requests = self.requests.clone();
        let mut folder = Folder::default();
        let mut begin = Instant::now();
        while self.next < requests.len() && self.opened.len() < self.shared.descriptors.group() {
            let index = self.next;
            let opened = self.open_one(index, folder.locate(&requests[index].location));
            // Read and close what is open first; then there are descriptors for this one.
            if let Err(Stopped::OutOfFiles(_)) = &opened
                && !self.opened.is_empty()
            {
                break;
            }
            self.next += 1;
            let end = Instant::now();
            match opened {
                Ok(opened) => self.opened.push(Opened { spent: end - begin, ..opened }),
                Err(stopped) => self.results[index] = Some(Err(stopped.into())),
            }
            begin = end;
        }
        true
    }

    fn open_one(&self, index: usize, path: (BorrowedFd<'_>, &[u8])) -> Result<Opened, Stopped> {
        let GetRequest { location, range, if_version, .. } = &self.requests[index];
        let (file, stat) = self.shared.open(Operation::Get, location, path, None)?;
        posix::check_version(if_version.as_ref(), &stat, location)?;
        let size = stat.st_size as u64;
        let span = posix::span(range.as_ref(), size, location)?;
        let alignment = crate::alignment::Alignment { offset: file.grain, ..file.rung.alignment() };
        let room = room::around(&span, alignment);
        Ok(Opened { index, file: Some(file), span, size, room, spent: Duration::ZERO })
    }

    fn ask(&mut self) -> Option<Reservation> {
        let asked = if self.one_by_one { 1 } else { self.opened.len() };
        let tight = self.tight;
        self.wants.clear();
        self.wants.extend(self.opened.iter().take(asked).map(|opened| {
            let want = Want::new(self.requests[opened.index].slot, opened.span.end - opened.span.start);
            if tight { want } else { Want { room: opened.room, ..want } }
        }));
        if self.wants.is_empty() { None } else { Some(self.place.try_reserve(&self.wants)) }
    }

    /// Whether it makes sense to ask again without spare bytes. (Then some blocks are copied.)
    fn loosen(&mut self, error: &Error) -> bool {
        let kind = matches!(error.kind(), Kind::InvalidRange | Kind::Precondition);
        let roomy = self.wants.iter().any(|want| !want.room.is_none());
        let again = kind && roomy && !self.tight;
        self.tight |= again;
        again
    }

    /// The place will not take what was asked for: without spare bytes it may; and if it was for several
    /// files, each is asked for alone, because the reason may lie in one of them.
    fn refused(&mut self, error: Error) {
        if self.loosen(&error) {
            return;
        }
        if self.wants.len() > 1 {
            self.one_by_one = true;
        } else {
            let opened = self.opened.remove(0);
            self.fail(opened.index, error);
        }
    }

    /// The reads of what got room; none if nothing is left of them.
    fn reads(&mut self, bufs: Vec<Buf>) -> Option<(Vec<Read>, Vec<Opened>)> {
        let request = request_bytes(&self.options);
        let mut reads = Vec::with_capacity(bufs.len());
        let mut files = Vec::with_capacity(bufs.len());
        let opened: Vec<_> = self.opened.drain(..bufs.len()).collect();
        for (opened, buf) in opened.into_iter().zip(bufs) {
            match self.file_of(&opened) {
                Ok(file) => {
                    reads.push(Read::new(file, opened.span.start, buf, request));
                    files.push(Opened { file: None, ..opened });
                }
                Err(error) => self.results[opened.index] = Some(Err(error)),
            }
        }
        (!reads.is_empty()).then_some((reads, files))
    }

    /// The open file, opened again if it was closed.
    fn file_of(&self, opened: &Opened) -> Result<Arc<OpenFile>> {
        if let Some(file) = &opened.file {
            return Ok(file.clone());
        }
        let location = &self.requests[opened.index].location;
        let again = self.open_one(opened.index, (CWD, location.path_bytes()))?;
        match again.file {
            Some(file) if (again.size, &again.span) == (opened.size, &opened.span) => Ok(file),
            _ => {
                let now = format_args!("{} are there now", again.size);
                Err(posix::changed(Operation::Get, location, opened.size, now))
            }
        }
    }

    /// What a read came to. A whole file must not have changed meanwhile; a range is the same whatever
    /// follows it.
    fn served(&self, opened: &Opened, landed: &Landed) -> Result<Served> {
        let GetRequest { location, range, if_version, .. } = &self.requests[opened.index];
        check_landed(Operation::Get, landed, opened.size, location)?;
        if range.is_none() {
            let stat = fstat(&landed.file.fd).map_err(|errno| failed(Operation::Get, errno, location))?;
            if stat.st_size as u64 != opened.size {
                let now = format_args!("{} are there now", stat.st_size);
                return Err(posix::changed(Operation::Get, location, opened.size, now));
            }
            posix::check_version(if_version.as_ref(), &stat, location)?;
        }
        Ok(Served {
            bytes: opened.span.end - opened.span.start,
            elapsed: opened.spent + landed.elapsed,
            first_byte: None,
            cache: landed.file.rung.cache(),
        })
    }

    fn fail(&mut self, index: usize, error: Error) {
        self.results[index] = Some(Err(error.at(&self.requests[index].location)));
    }

    fn finish(self) -> Vec<Result<Served>> {
        self.results.into_iter().map(|result| result.expect("every file was read or failed")).collect()
    }
}

impl Caller for Group {
    fn gave_up(&self) -> bool {
        self.answer.is_canceled()
    }

    fn landed(self: Box<Self>, landed: Vec<Landed>) {
        let Group { mut batch, files, answer } = *self;
        if batch.shared.watched() {
            let requests = batch.requests.clone();
            let told: Vec<_> = files
                .iter()
                .zip(&landed)
                .map(|(file, landed)| (&requests[file.index].location, &*landed.requests))
                .collect();
            batch.shared.attempted(Operation::Get, &told);
        }
        for (file, landed) in files.iter().zip(&landed) {
            let result = batch.served(file, landed);
            batch.results[file.index] = Some(result);
        }
        // The room and the descriptors are given up before anybody hears of the result.
        drop(landed);
        if batch.opened.is_empty() && batch.next == batch.requests.len() {
            let _ = answer.send(Stop::Done(batch.finish()));
        } else {
            batch.go_on(None, answer);
        }
    }
}
