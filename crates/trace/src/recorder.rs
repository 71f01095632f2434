//! Records what a store is asked. On the path of a read it costs one clock reading a batch and a push of
//! fixed size into a ring of the thread's own; a thread of the recorder's formats, compresses and writes.
//!
//! Nothing is lost in silence: when a ring is full, or the disk is, what does not get into the trace is
//! counted, the trace says that it is incomplete, and the job goes on.

use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::ring::{Consumer, Producer, ring};
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
    /// Operations that may wait to be written, of each thread that records; rounded up to a power of two. 8,192 are a hundredth of a second at
    /// 800,000 operations a second of one thread.
    pub queue: usize,
    /// Begin another file when one has reached this many bytes, as they lie on disk. None: one file.
    pub rotate_bytes: Option<u64>,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        RecorderOptions { queue: 8192, rotate_bytes: None }
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

/// The writer looks this often; a ring that fills up faster than that wakes it.
const PAUSE: Duration = Duration::from_millis(2);

/// Sees operations and writes them to a trace. Dropped without [`Recorder::finish`], it still writes what
/// it was told, and the end of the file.
pub struct Recorder {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<Recorded>>>,
}

struct Shared {
    /// Tells this recorder from others of the process.
    number: u64,
    /// Rings of threads that recorded for the first time, for the writer to take over. Each takes a MiB or two.
    new_rings: Mutex<Vec<Consumer<Entry>>>,
    capacity: usize,
    dropped: AtomicU64,
    /// The epoch that operations belong to, plus one; 0 for none.
    epoch: AtomicU64,
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
        if options.queue == 0 || options.rotate_bytes == Some(0) {
            return Err(Error::Invalid(
                "the queue of a recorder and the size of its files must be 1 or more".into(),
            ));
        }
        let writer = Writer::create(path, &header)?;
        let (send, receive) = std::sync::mpsc::channel::<Arc<Shared>>();
        let rotation = options.rotate_bytes;
        let first = path.to_owned();
        let thread = thread::Builder::new()
            .name("forebay-trace".into())
            .spawn(move || {
                let shared = receive.recv().expect("the recorder sends it at once");
                Writing::new(first, writer, header, origin, rotation).run(&shared)
            })
            .map_err(Error::file(path))?;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let shared = Arc::new(Shared {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            new_rings: Mutex::default(),
            capacity: options.queue,
            dropped: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            over: AtomicBool::new(false),
            writer: thread.thread().clone(),
        });
        send.send(shared.clone()).expect("the thread waits for it");
        Ok(Arc::new(Recorder { shared, writer: Mutex::new(Some(thread)) }))
    }

    /// From here on, operations belong to this epoch.
    pub fn begin_epoch(&self, epoch: u64) {
        self.shared.epoch.store(epoch.saturating_add(1), Ordering::Relaxed);
    }

    /// Operations that are missing so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
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
        let done = Instant::now();
        let epoch = shared.epoch.load(Ordering::Relaxed);
        let dropped = RINGS.try_with(|rings| {
            // Nothing that is recorded from in here is recorded.
            let mut rings = rings.try_borrow_mut().ok()?;
            let ring = ring_of(&mut rings, shared);
            let entries = ops.iter().zip(ends).filter_map(|(op, end)| Entry::of(op, end, done, epoch));
            let dropped = entries.map(|entry| u64::from(ring.push(entry).is_err())).sum::<u64>();
            if ring.publish() > shared.capacity / 2 {
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

    fn noted(&self, _: Event) {}
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

thread_local! {
    /// This thread's rings, one for each recorder at work: hardly ever more than one.
    static RINGS: RefCell<Vec<(u64, Producer<Entry>)>> = const { RefCell::new(Vec::new()) };
}

/// This thread's ring for that recorder, made if it has none.
fn ring_of<'a>(rings: &'a mut Vec<(u64, Producer<Entry>)>, shared: &Shared) -> &'a mut Producer<Entry> {
    let index = match rings.iter().position(|(number, _)| *number == shared.number) {
        Some(index) => index,
        None => {
            // Those of recorders that are over.
            rings.retain(|(_, ring)| !ring.is_closed());
            let (producer, consumer) = ring(shared.capacity);
            shared.new_rings.lock().unwrap_or_else(PoisonError::into_inner).push(consumer);
            rings.push((shared.number, producer));
            rings.len() - 1
        }
    };
    &mut rings[index].1
}

/// What the recorder's thread works with.
struct Writing {
    first: PathBuf,
    /// None once writing has failed.
    writer: Option<Writer>,
    header: Header,
    origin: Instant,
    rotation: Option<u64>,
    uri: String,
    text: Vec<u8>,
    recorded: Recorded,
}

impl Writing {
    fn new(
        first: PathBuf,
        writer: Writer,
        header: Header,
        origin: Instant,
        rotation: Option<u64>,
    ) -> Writing {
        let recorded =
            Recorded { records: 0, dropped: 0, files: vec![first.clone()], bytes: 0, failure: None };
        let (uri, text) = (String::new(), Vec::with_capacity(512));
        Writing { first, writer: Some(writer), header, origin, rotation, uri, text, recorded }
    }

    fn run(mut self, shared: &Shared) -> Recorded {
        let mut rings = Vec::new();
        loop {
            // Looked at before the rings: what was published before it was set is still found.
            let over = shared.over.load(Ordering::Acquire);
            rings.append(&mut shared.new_rings.lock().unwrap_or_else(PoisonError::into_inner));
            let mut found = false;
            rings.retain_mut(|ring| {
                let closed = ring.is_closed();
                // Not more than one fill: one busy thread must not keep us from the others.
                for _ in 0..shared.capacity {
                    let Some(entry) = ring.pop() else { return !closed };
                    found = true;
                    self.write(&entry, shared);
                }
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

    fn write(&mut self, entry: &Entry, shared: &Shared) {
        let Some(writer) = &mut self.writer else {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.text.clear();
        entry.write(self.origin, &mut self.uri, &mut self.text);
        let written = writer.write_text(&self.text);
        let full = self.rotation.is_some_and(|most| writer.bytes() >= most);
        match written {
            Ok(()) => self.recorded.records += 1,
            Err(error) => return self.fail(&error, shared, 1),
        }
        if full && let Err(error) = self.rotate(shared) {
            self.fail(&error, shared, 0);
        }
    }

    /// Ends this file and begins the next.
    fn rotate(&mut self, shared: &Shared) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        self.header.part += 1;
        let next = part_path(&self.first, self.header.part);
        let name = next.file_name().map(|name| name.to_string_lossy().into_owned());
        // The next one first: the end of this one must not name a file that there is not.
        let following = Writer::create(&next, &self.header);
        let goes_on = following.is_ok();
        self.recorded.bytes +=
            writer.finish(shared.dropped.load(Ordering::Relaxed), name.filter(|_| goes_on))?;
        self.writer = Some(following?);
        self.recorded.files.push(next);
        Ok(())
    }

    /// The trace ends here; the job does not.
    fn fail(&mut self, error: &Error, shared: &Shared, lost: u64) {
        shared.dropped.fetch_add(lost, Ordering::Relaxed);
        self.recorded.failure = Some(error.to_string());
        self.writer = None;
    }

    fn finish(mut self, shared: &Shared) -> Recorded {
        if let Some(writer) = self.writer.take() {
            match writer.finish(shared.dropped.load(Ordering::Relaxed), None) {
                Ok(bytes) => self.recorded.bytes += bytes,
                Err(error) => self.recorded.failure = Some(error.to_string()),
            }
        }
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
