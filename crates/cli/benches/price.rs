//! What metrics and a trace cost reads at the rate of a device: one stream of random reads of 4 KiB past the page
//! cache, each of which goes through one of three doors (the bare store, the store with metrics, the store with a
//! trace). `price FILE SECONDS`; part of `cargo xtask bench direct` and `metrics`.
//!
//! Which door is open is a matter of the slice of time in which a read is submitted. Three slices make a block, every
//! door once, in an order thrown for each block. What a virtual disk's host does lasts longer than that, so a
//! block's own ratios hardly know of it; and the stream never stops, so nobody starts anew. The head of a
//! slice is not counted: reads of the slice before are still out then.
//!
//! Prints one line of JSON: for each door the seconds of a read, block by block, and the CPU seconds. The trace's
//! thread works behind the reads, up to 10 ms later, in whatever slice that is: its CPU time is taken off all of
//! them, and what a record of it cost on the whole is added to the trace's. What it keeps others waiting falls on all
//! three alike.

use forebay_io::layer::Observed;
use forebay_io::{Budget, Buf, Location, Object, Place, Pool, ReadOptions, Room, Store, Want};
use forebay_io_direct::{DirectOptions, DirectStore};
use forebay_metrics::{MetricsCollector, Operation};
use forebay_trace::{Clock, Header, Recorder, RecorderOptions};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DOORS: [&str; 3] = ["off", "metrics", "trace"];
const TRACE: usize = 2;

/// A slice, and its head, which is not counted: reads are out for 2 ms. (What a virtual disk does wanders like a drunk:
/// two slices side by side differ by a tenth, be they of 4 ms or of 160. So many short ones tell more than few long.)
const SLICE: Duration = Duration::from_millis(10);
const HEAD: Duration = Duration::from_millis(3);

/// Blocks whose CPU time is told together: the kernel adds it up when a thread sleeps, which blurs 7 ms.
const GROUP: usize = 16;

/// Reads that a task submits together, and tasks: twice as many reads as the ring holds.
const BATCH: usize = 16;
const TASKS: usize = 8;
const DEPTH: u32 = 64;
const BLOCK: u64 = 4096;

fn main() -> Result<()> {
    // Cargo adds `--bench`; run without arguments, as `cargo test` does, there is nothing to do.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [file, seconds] = arguments.as_slice() else {
        println!("usage: price FILE SECONDS");
        return Ok(());
    };
    println!("{}", price(Path::new(file), seconds.parse()?)?);
    Ok(())
}

/// With `skipped` where there is nothing to measure, and why.
fn price(file: &Path, seconds: f64) -> Result<Value> {
    let skipped = |why: String| Ok(json!({ "facts": {}, "skipped": why }));
    let options = DirectOptions { depth: DEPTH, strict: true, ..DirectOptions::default() };
    let store = match DirectStore::new(options) {
        Ok(store) if store.uses_ring() => Arc::new(store),
        Ok(_) => return skipped("the kernel refuses io_uring here".to_owned()),
        Err(error) => return skipped(error.to_string()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    let at = Location::from_path(&file.canonicalize()?)?.with_scheme("direct");
    let collector = Arc::new(MetricsCollector::new());
    let folder = tempfile::tempdir()?;
    let header = Header::new("bench", "", Clock { realtime_ns: 0, monotonic_ns: None });
    let path = folder.path().join("bench.jsonl.zst");
    let recorder = Recorder::create(&path, header, Instant::now(), &RecorderOptions::default())?;
    let writer = writer()?;
    let stores: [Arc<dyn Store>; 3] = [
        store.clone(),
        Arc::new(Observed::new(store.clone(), collector.clone())),
        Arc::new(Observed::new(store, recorder.clone())),
    ];
    let mut doors = Vec::new();
    for store in &stores {
        match runtime.block_on(store.open(&at, ReadOptions::default())) {
            Ok(object) => doors.push(object),
            Err(error) => return skipped(error.to_string()),
        }
    }
    let buffers = runtime.block_on(buffers())?;
    let stream = Arc::new(Stream::new(doors, Duration::from_secs_f64(seconds), writer));
    let tasks = buffers.into_iter().zip(0..);
    let tasks: Vec<_> = tasks.map(|(bufs, task)| runtime.spawn(stream.clone().read(task, bufs))).collect();
    for task in tasks {
        runtime.block_on(task)??;
    }
    let writing = stream.writing()?;
    let edges = std::mem::take(&mut *stream.edges.lock().unwrap_or_else(PoisonError::into_inner));
    let schedule = stream.schedule.clone();
    drop(stream);
    let recorded = recorder.finish().ok_or("the recording ended before")?;
    let counted = collector.snapshot().operation(Operation::Read).map_or(0, |read| read.ops);
    if counted == 0 || recorded.records == 0 {
        return Err(format!("{counted} reads were counted and {} recorded", recorded.records).into());
    }
    let a_record = writing / (recorded.records + recorded.dropped) as f64;
    let mut result = series(&schedule, &edges, a_record)?;
    result["facts"]["dropped"] = recorded.dropped.into();
    result["facts"]["records"] = recorded.records.into();
    result["facts"]["writer_seconds_a_record"] = a_record.into();
    Ok(result)
}

/// One batch in the making, read by all tasks.
async fn buffers() -> Result<Vec<Vec<Buf>>> {
    let slots = (TASKS * BATCH) as u32;
    let pool = Pool::new(Budget::new(u64::from(slots) * (BLOCK + 4096))?);
    let lease = pool.lease(pool.budget().ticket(), slots);
    let room = Room { align: 4096, ..Room::default() };
    let wants: Vec<_> = (0..slots).map(|slot| Want { room, ..Want::new(slot, BLOCK) }).collect();
    let mut all = lease.reserve(&wants).await?;
    Ok((0..TASKS).map(|_| all.split_off(all.len() - BATCH)).collect())
}

/// What was seen where a counted stretch began or ended, by whoever came first after that.
#[derive(Debug, Clone, Copy)]
struct Edge {
    seconds: f64,
    /// Completed before.
    reads: u64,
    /// Of all threads but the trace's.
    cpu: f64,
}

struct Stream {
    doors: Vec<Arc<dyn Object>>,
    /// The door of each slice.
    schedule: Vec<usize>,
    begun: Instant,
    reads: AtomicU64,
    /// The next edge to be seen: of slice `n`, `2 * n` is where counting begins and the next where it ends.
    next: AtomicUsize,
    edges: Mutex<Vec<Edge>>,
    writer: File,
}

impl Stream {
    fn new(doors: Vec<Arc<dyn Object>>, time: Duration, writer: File) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let blocks = (time.as_secs_f64() / (SLICE.as_secs_f64() * DOORS.len() as f64)) as usize;
        let mut schedule = Vec::new();
        for _ in 0..blocks.max(1) {
            let mut block = [0, 1, 2];
            block.shuffle(&mut random);
            schedule.extend(block);
        }
        let edges = Mutex::new(Vec::with_capacity(2 * schedule.len()));
        let (reads, next) = (AtomicU64::new(0), AtomicUsize::new(0));
        Stream { doors, schedule, begun: Instant::now(), reads, next, edges, writer }
    }

    /// Reads until the last slice is over.
    async fn read(
        self: Arc<Self>,
        task: u64,
        mut bufs: Vec<Buf>,
    ) -> std::result::Result<(), forebay_io::Error> {
        let mut random = ChaCha8Rng::seed_from_u64(task);
        let blocks = self.doors[0].meta().size / BLOCK;
        let mut now = Duration::ZERO;
        while let Some(&door) = self.schedule.get((now.as_nanos() / SLICE.as_nanos()) as usize) {
            let ranges = bufs.into_iter().map(|buf| (random.random_range(0..blocks) * BLOCK, buf)).collect();
            let results = self.doors[door].read_many(ranges).await;
            bufs = Vec::with_capacity(BATCH);
            for (buf, served) in results {
                served?;
                bufs.push(buf);
            }
            now = self.begun.elapsed();
            self.see(now);
            self.reads.fetch_add(BATCH as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether an edge lies behind us that nobody saw.
    fn see(&self, now: Duration) {
        let next = self.next.load(Ordering::Relaxed);
        if next == 2 * self.schedule.len() || now < edge(next) {
            return;
        }
        let mut edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        let reads = self.reads.load(Ordering::Relaxed);
        let cpu = cpu_seconds() - self.writing().unwrap_or(f64::NAN);
        while edges.len() < 2 * self.schedule.len() && now >= edge(edges.len()) {
            edges.push(Edge { seconds: now.as_secs_f64(), reads, cpu });
        }
        self.next.store(edges.len(), Ordering::Relaxed);
    }

    /// Seconds that the trace's thread has had a processor.
    fn writing(&self) -> Result<f64> {
        let mut text = [0; 64];
        let len = self.writer.read_at(&mut text, 0)?;
        let text = std::str::from_utf8(&text[..len])?;
        Ok(text.split(' ').next().unwrap_or_default().parse::<f64>()? * 1e-9)
    }
}

/// When counting begins or ends.
fn edge(index: usize) -> Duration {
    let slice = (index / 2) as u32;
    if index.is_multiple_of(2) { SLICE * slice + HEAD } else { SLICE * (slice + 1) }
}

/// What a read took at each door, block by block, and by groups of blocks. A block with a slice in which nothing came is left out.
fn series(schedule: &[usize], edges: &[Edge], a_record: f64) -> Result<Value> {
    let mut seconds: [Vec<f64>; 3] = Default::default();
    // Reads and CPU seconds.
    let mut spent: [Vec<(f64, f64)>; 3] = Default::default();
    let (blocks, _) = schedule.as_chunks::<3>();
    let (edges, _) = edges.as_chunks::<6>();
    let mut stalled = 0;
    for (doors, edges) in blocks.iter().zip(edges) {
        let (slices, _) = edges.as_chunks::<2>();
        if slices.iter().any(|[begin, end]| end.reads <= begin.reads || end.seconds <= begin.seconds) {
            stalled += 1;
            continue;
        }
        for (&door, [begin, end]) in doors.iter().zip(slices) {
            let reads = (end.reads - begin.reads) as f64;
            seconds[door].push((end.seconds - begin.seconds) / reads);
            spent[door].push((reads, end.cpu - begin.cpu));
        }
    }
    let cpu = |door: usize| -> Vec<f64> {
        let behind = if door == TRACE { a_record } else { 0.0 };
        let sum = |group: &[(f64, f64)]| {
            let (reads, cpu) = group.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            cpu / reads + behind
        };
        spent[door].chunks(GROUP).map(sum).collect()
    };
    let (Some([.., first]), Some([.., last])) = (edges.first(), edges.last()) else {
        return Err("no block was read".into());
    };
    let rate = (last.reads - first.reads) as f64 / (last.seconds - first.seconds).max(f64::MIN_POSITIVE);
    let mut result = json!({ "facts": { "reads_a_second": rate, "stalled": stalled } });
    for (door, name) in DOORS.iter().enumerate() {
        result[*name] = json!({ "seconds": seconds[door], "cpu_seconds": cpu(door) });
    }
    Ok(result)
}

/// Where the kernel tells of the time of the trace's thread.
fn writer() -> Result<File> {
    // It names itself as soon as it runs.
    for _ in 0..1000 {
        for task in fs::read_dir("/proc/self/task")? {
            let task = task?.path();
            if fs::read_to_string(task.join("comm"))?.trim_end() == "forebay-trace" {
                return Ok(File::open(task.join("schedstat"))?);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err("the trace has no thread of its name".into())
}

/// CPU seconds of all threads of this process.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
