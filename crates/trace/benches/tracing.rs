//! What `cargo xtask bench trace` asks of recording and replay themselves. Prints one line of JSON.
//!
//! * `record OPERATIONS`: the cost of an operation on the thread that records it, beside reading the clock once
//!   a batch of 32, names being in its cache as they are after a read; the processor time of the writer's thread;
//!   operations lost; bytes on disk.
//! * `replay FOLDER SECONDS`: 10,000 operations a second, at times drawn from a Poisson process, on files of 4 KiB in
//!   the page cache; and the machine's own noise floor right before and after.

use forebay_io::{End, Location, Observe, Op, Operation, Served, Store};
use forebay_io_fs::{FsOptions, FsStore};
use forebay_trace::replay::{Plan, Remap, ReplayOptions, Stop, noise_floor, prepare, replay};
use forebay_trace::synth::{Arrivals, Model, Sizes};
use forebay_trace::{Clock, Header, Recorder, RecorderOptions, percentiles};
use rustix::time::ClockId;
use serde_json::{Value, json};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`; run without a subcommand, as `cargo test` does, there is nothing to do.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["record", operations] => record(operations.parse()?)?,
        ["replay", folder, seconds] => replayed(Path::new(folder), seconds.parse()?)?,
        _ => {
            println!("usage: tracing record OPERATIONS | tracing replay FOLDER SECONDS");
            return Ok(());
        }
    };
    println!("{result}");
    Ok(())
}

fn seconds_of(clock: ClockId) -> f64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Processor time of this thread alone: the writer's is not the reader's.
fn thread_seconds() -> f64 {
    seconds_of(ClockId::ThreadCPUTime)
}

/// Processor time of all threads but this one.
fn other_seconds() -> f64 {
    seconds_of(ClockId::ProcessCPUTime) - thread_seconds()
}

const BATCH: usize = 32;

fn record(operations: usize) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bench.jsonl.zst");
    let root = Location::from_path(Path::new("/data/imagenet/train"))?;
    let locations: Vec<_> =
        (0..operations.min(1 << 20)).map(|i| root.join(format!("{i:08}.bin").as_bytes())).collect();
    let header = Header::new("bench", "", Clock { realtime_ns: 0, monotonic_ns: None });
    let origin = Instant::now();
    let recorder = Recorder::create(&path, header, origin, &RecorderOptions::default())?;
    // At the rate that is asked of it: 500,000 a second of the reading thread's own time.
    let pace = Duration::from_secs_f64(BATCH as f64 / 500_000.0);
    let (mut spent, mut baseline) = (0.0, 0.0);
    let writing = other_seconds();
    let mut due = Instant::now();
    for batch in 0..operations / BATCH {
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        due += pace;
        let begun = Instant::now();
        // Shuffled names and spread sizes, as an epoch has them: order would compress too well.
        let at = |i: usize| ((batch * BATCH + i).wrapping_mul(2_654_435_761)) % locations.len();
        let op = |i: usize| Op {
            operation: Operation::Get,
            location: &locations[at(i)],
            range: None,
            sample: Some(at(i) as u64),
            stage: "read",
            stream: Some(batch as u64 % 4),
            attempt: 0,
            begun,
        };
        let ops: Vec<_> = (0..BATCH).map(op).collect();
        let served = |i: usize| Served { bytes: 4096 + (at(i) * 7919 % 100_000) as u64, ..Served::default() };
        let ends: Vec<_> = (0..BATCH).map(|i| End::Done(served(i))).collect();
        // Whoever has read an object has its name at hand.
        let bytes = ops.iter().flat_map(|op| op.location.path_bytes());
        let names: usize = bytes.map(|byte| usize::from(*byte)).sum();
        std::hint::black_box(names);
        let before = thread_seconds();
        let between = thread_seconds();
        recorder.ended(&ops, &ends);
        let after = thread_seconds();
        baseline += between - before;
        spent += after - between;
    }
    let recorded = recorder.finish().ok_or("the recording ended before")?;
    let writing = other_seconds() - writing;
    let count = (operations / BATCH * BATCH) as f64;
    Ok(json!({
        "operations": count,
        "ns_an_operation": (spent - baseline) / count * 1e9,
        "writer_ns_an_operation": writing / recorded.records.max(1) as f64 * 1e9,
        "dropped": recorded.dropped,
        "bytes_a_record": recorded.bytes as f64 / recorded.records.max(1) as f64,
        "seconds": origin.elapsed().as_secs_f64(),
    }))
}

const RATE: f64 = 10_000.0;

fn replayed(folder: &Path, seconds: f64) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let prefix = Location::from_path(&folder.canonicalize()?)?.join(b"trace").to_string() + "/";
    let model = Model {
        arrivals: Arrivals::Poisson { rate: RATE },
        sizes: Sizes::Fixed(4096),
        objects: 2000,
        prefix,
        operations: (RATE * seconds) as u64,
        seed: 1,
    };
    let plan = Plan::new(move || Ok(Box::new(model.records()?.map(Ok))), &std::env::temp_dir());
    let store: Arc<dyn Store> = Arc::new(FsStore::new(FsOptions::default())?);
    let stores = move |_: &Location| Ok(store.clone());
    runtime.block_on(prepare(&plan, &Remap::default(), &stores, 1, true, 8))?;
    let gap = Duration::from_secs_f64(1.0 / RATE);
    let floor = || percentiles(&noise_floor(gap, Duration::from_secs(3)).lateness);
    let before = floor();
    let fidelity =
        replay(&plan, &ReplayOptions::default(), &stores, runtime.handle(), &Stop::default(), |_| {})?;
    let after = floor();
    Ok(json!({ "fidelity": fidelity.to_json(), "floor_before_ns": before, "floor_after_ns": after }))
}
