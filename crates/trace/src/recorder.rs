//! Records what a store is asked. On the path of a read it costs one clock reading a batch and a few words
//! in a ring of the thread's own; a thread of the recorder's formats, compresses and writes.
//!
//! Nothing is lost in silence: when a ring is full, or the disk is, what does not get into the trace is
//! counted, the trace says that it is incomplete, and the job goes on.

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::pack::{Batch, Packer, TooLong};
use crate::ring::{Consumer, Producer, ring};
use crate::unpack::{Unpacker, Words};
use crate::{Header, Writer};
use forebay_io::{Attempt, End, Event, Observe, Op};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How a recorder is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderOptions {
    /// Operations that may wait to be written, of each thread that records, each in 64 bytes of memory; rounded up to a power of
    /// two. Names that have little in common with the one before take more, those of one folder less. 32,768 are the
    /// operations of 65 ms at 500,000 a second: longer than a writer usually waits for a core that others keep busy.
    pub queue: usize,
    /// Begin another file when one has reached this many bytes, as they lie on disk: [`RecorderOptions::LEAST_ROTATION`] or
    /// more. None: one file.
    pub rotate_bytes: Option<u64>,
}

impl RecorderOptions {
    /// The least of `rotate_bytes`: some hundred operations, so that a mistake (a size without its unit) does not fill a folder
    /// with files of one operation each.
    pub const LEAST_ROTATION: u64 = 64 << 10;
}

impl Default for RecorderOptions {
    fn default() -> Self {
        RecorderOptions { queue: 32_768, rotate_bytes: None }
    }
}

/// What became of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Operations in the trace.
    pub records: u64,
    /// Operations that are not.
    pub dropped: u64,
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// Their bytes together.
    pub bytes: u64,
    /// Why the file could not be written to its end, if so.
    pub failure: Option<String>,
}

impl Recorded {
    /// All of it; files by name.
    pub fn to_json(&self) -> Value {
        let files: Vec<_> = self.files.iter().map(|file| file.to_string_lossy()).collect();
        json!({
            "files": files, "records": self.records, "dropped": self.dropped, "bytes": self.bytes,
            "failure": self.failure,
        })
    }
}

/// Words of a ring for each operation that may wait: an operation of a batch takes five or six.
const WORDS: usize = 8;

/// The writer looks this often; a ring that is half full before wakes it, once. At 500,000 operations a second of one thread
/// it finds 5,000: enough to be worth its waking, a sixth of a ring.
const PAUSE: Duration = Duration::from_millis(10);

/// Sees operations and writes them to a trace. Dropped without [`Recorder::finish`], it still writes what
/// it was told, and the end of the file.
pub struct Recorder {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<Recorded>>>,
}

struct Shared {
    /// Tells this recorder from others of the process.
    number: u64,
    /// Rings of threads that recorded for the first time, for the writer to take over.
    new_rings: Mutex<Vec<Consumer>>,
    /// Words of a ring.
    capacity: usize,
    /// From which times count.
    origin: Instant,
    dropped: AtomicU64,
    over: AtomicBool,
    writer: thread::Thread,
}

impl Recorder {
    /// Begins a trace. `origin` is the instant that the header's clock speaks of.
    ///
    /// # Errors
    /// Those of creating the file; [`Error::Invalid`] for options that make no sense.
    pub fn create(
        path: &Path,
        header: Header,
        origin: Instant,
        options: &RecorderOptions,
    ) -> Result<Arc<Recorder>> {
        if options.queue == 0 {
            return Err(Error::Invalid("the queue of a recorder must be 1 or more, is 0".into()));
        }
        let least = RecorderOptions::LEAST_ROTATION;
        if let Some(bytes) = options.rotate_bytes.filter(|bytes| *bytes < least) {
            return Err(Error::Invalid(format!("rotate_bytes must be {least} or more, is {bytes}")));
        }
        let writer = Writer::create(path, &header)?;
        let (send, receive) = std::sync::mpsc::channel::<Arc<Shared>>();
        let rotation = options.rotate_bytes;
        let writer = in_pieces(writer, rotation);
        let first = path.to_owned();
        let thread = thread::Builder::new()
            .name("forebay-trace".into())
            .spawn(move || {
                let shared = receive.recv().expect("the recorder sends it at once");
                Writing::new(first, writer, header, rotation).run(&shared)
            })
            .map_err(Error::file(path))?;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let shared = Arc::new(Shared {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            new_rings: Mutex::default(),
            capacity: options.queue.saturating_mul(WORDS),
            origin,
            dropped: AtomicU64::new(0),
            over: AtomicBool::new(false),
            writer: thread.thread().clone(),
        });
        send.send(shared.clone()).expect("the thread waits for it");
        Ok(Arc::new(Recorder { shared, writer: Mutex::new(Some(thread)) }))
    }

    /// Operations that are missing so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Counts operations that happened where this recorder sees nothing, in other processes of the job: the trace is not
    /// complete without them.
    pub fn missed(&self, operations: u64) {
        self.shared.dropped.fetch_add(operations, Ordering::Relaxed);
    }

    /// Writes what is left and ends the trace. What is observed later is counted as missing by nobody: end
    /// the work first. A second call returns none.
    pub fn finish(&self) -> Option<Recorded> {
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.shared.over.store(true, Ordering::Release);
        self.shared.writer.unpark();
        thread.join().ok()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Observe for Recorder {
    fn started(&self, _: &[Op<'_>]) {}

    fn ended(&self, ops: &[Op<'_>], ends: &[End]) {
        let shared = &*self.shared;
        let batch = Batch { origin: shared.origin, done: Instant::now() };
        let dropped = SOURCES.try_with(|sources| {
            // Nothing that is recorded from in here is recorded.
            let mut sources = sources.try_borrow_mut().ok()?;
            let source = source_of(&mut sources, shared);
            let dropped = source.put(ops, ends, batch);
            if source.ring.publish() {
                shared.writer.unpark();
            }
            Some(dropped)
        });
        // A thread that ends has no ring any more.
        let dropped = dropped.ok().flatten().unwrap_or(ops.len() as u64);
        if dropped > 0 {
            shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    /// A trace is of operations: their tries are in the metrics.
    fn attempted(&self, _: &[Attempt<'_>]) {}

    fn noted(&self, _: Option<&str>, _: Event) {}
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

/// What a thread records with.
struct Source {
    /// The recorder it is for.
    number: u64,
    ring: Producer,
    packer: Packer,
}

impl Source {
    /// Writes operations into the ring. Returns how many there was no room for.
    fn put(&mut self, ops: &[Op<'_>], ends: &[End], batch: Batch) -> u64 {
        let mut dropped = 0;
        for (op, end) in ops.iter().zip(ends) {
            match self.packer.pack(op, end, batch) {
                Ok(words) if self.ring.write(words) => {}
                Ok(_) | Err(TooLong) => {
                    dropped += 1;
                    self.packer.forget();
                }
            }
        }
        dropped
    }
}

thread_local! {
    /// This thread's sources, one for each recorder at work: hardly ever more than one.
    static SOURCES: RefCell<Vec<Source>> = const { RefCell::new(Vec::new()) };
}

/// This thread's source for that recorder, made if it has none.
fn source_of<'a>(sources: &'a mut Vec<Source>, shared: &Shared) -> &'a mut Source {
    let index = match sources.iter().position(|source| source.number == shared.number) {
        Some(index) => index,
        None => {
            // Those of recorders that are over.
            sources.retain(|source| !source.ring.is_closed());
            let (ring, consumer) = ring(shared.capacity);
            shared.new_rings.lock().unwrap_or_else(PoisonError::into_inner).push(consumer);
            sources.push(Source { number: shared.number, ring, packer: Packer::default() });
            sources.len() - 1
        }
    };
    &mut sources[index]
}

/// Files are as large as they may be, give or take a quarter.
fn in_pieces(writer: Writer, rotation: Option<u64>) -> Writer {
    match rotation {
        Some(most) => writer.in_pieces_of(most / 4),
        None => writer,
    }
}

/// What the recorder's thread works with.
struct Writing {
    first: PathBuf,
    /// None where the next file could not be begun.
    writer: Option<Writer>,
    header: Header,
    rotation: Option<u64>,
    recorded: Recorded,
}

impl Writing {
    fn new(first: PathBuf, writer: Writer, header: Header, rotation: Option<u64>) -> Writing {
        let recorded =
            Recorded { records: 0, dropped: 0, files: vec![first.clone()], bytes: 0, failure: None };
        Writing { first, writer: Some(writer), header, rotation, recorded }
    }

    fn run(mut self, shared: &Shared) -> Recorded {
        let mut rings: Vec<(Consumer, Unpacker)> = Vec::new();
        let mut words = Vec::new();
        loop {
            // Looked at before the rings: what was published before it was set is still found.
            let over = shared.over.load(Ordering::Acquire);
            let new = std::mem::take(&mut *shared.new_rings.lock().unwrap_or_else(PoisonError::into_inner));
            rings.extend(new.into_iter().map(|ring| (ring, Unpacker::new())));
            let mut found = false;
            rings.retain_mut(|(ring, unpacker)| {
                let closed = ring.is_closed();
                words.clear();
                // No more than what is there now: one busy thread must not keep us from the others.
                if !ring.take(&mut words) {
                    return !closed;
                }
                found = true;
                self.write(unpacker, &words, shared);
                true
            });
            if !found {
                if over {
                    return self.finish(shared);
                }
                thread::park_timeout(PAUSE);
            }
        }
    }

    /// Writes the operations of one ring. Those that cannot be written are counted.
    fn write(&mut self, unpacker: &mut Unpacker, words: &[u64], shared: &Shared) {
        let mut words = Words::new(words);
        let mut nowhere = Frame::new(false);
        loop {
            let failed = self.recorded.failure.is_some();
            let Some(writer) = self.writer.as_mut().filter(|_| !failed) else {
                nowhere.clear();
                if !unpacker.line(&mut words, &mut nowhere) {
                    return;
                }
                shared.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            if !unpacker.line(&mut words, writer.frame()) {
                return;
            }
            let before = writer.records();
            match writer.end_record() {
                Ok(true) => {}
                Ok(false) => {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let lost = before + 1 - writer.records();
                    self.fail(&error, shared, lost);
                    continue;
                }
            }
            if self.rotation.is_some_and(|most| writer.bytes() >= most)
                && let Err(error) = self.rotate(shared)
            {
                self.fail(&error, shared, 0);
            }
        }
    }

    /// Ends this file and begins the next.
    fn rotate(&mut self, shared: &Shared) -> Result<()> {
        self.header.part += 1;
        let next = part_path(&self.first, self.header.part);
        let name = next.file_name().map(|name| name.to_string_lossy().into_owned());
        // The next one first: the end of this one must not name a file that there is not.
        let following = Writer::create(&next, &self.header);
        self.end_file(shared, name.filter(|_| following.is_ok()));
        let following = following?;
        if self.recorded.failure.is_some() {
            // Nobody goes on in it.
            return std::fs::remove_file(&next).map_err(Error::file(&next));
        }
        self.writer = Some(in_pieces(following, self.rotation));
        self.recorded.files.push(next);
        Ok(())
    }

    /// Ends this file, if need be without the records that wait.
    fn end_file(&mut self, shared: &Shared, next: Option<String>) {
        let Some(mut writer) = self.writer.take() else { return };
        let dropped = || shared.dropped.load(Ordering::Relaxed);
        let before = writer.records();
        if let Err(error) = writer.end(dropped(), next) {
            self.fail(&error, shared, before - writer.records());
            // Without the others there may be room for it. A file that has no end reads as one that was cut.
            let _ = writer.end(dropped(), None);
        }
        self.recorded.records += writer.records();
        self.recorded.bytes += writer.bytes();
    }

    /// The trace ends here; the job does not.
    fn fail(&mut self, error: &Error, shared: &Shared, lost: u64) {
        shared.dropped.fetch_add(lost, Ordering::Relaxed);
        self.recorded.failure.get_or_insert(error.to_string());
    }

    fn finish(mut self, shared: &Shared) -> Recorded {
        self.end_file(shared, None);
        self.recorded.dropped = shared.dropped.load(Ordering::Relaxed);
        self.recorded
    }
}

/// `run.jsonl.zst` goes on in `run.1.jsonl.zst`.
fn part_path(first: &Path, part: u32) -> PathBuf {
    let name = first.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (stem, suffix) = match name.find('.').filter(|&at| at > 0) {
        Some(at) => name.split_at(at),
        None => (name.as_str(), ""),
    };
    first.with_file_name(format!("{stem}.{part}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_after_the_first() {
        for (first, second) in [
            ("/t/run.jsonl.zst", "/t/run.1.jsonl.zst"),
            ("run.jsonl", "run.1.jsonl"),
            ("run", "run.1"),
            ("/t.d/.hidden", "/t.d/.hidden.1"),
        ] {
            assert_eq!(part_path(Path::new(first), 1), Path::new(second));
        }
    }
}
