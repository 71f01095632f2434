//! What `cargo xtask bench trace` asks of recording and replay themselves. Prints one line of JSON.
//!
//! * `record OPERATIONS`: the cost of an operation on the thread that records it, beside reading the clock once
//!   a batch of 32, names being in its cache as they are after a read; the processor time of the writer's thread;
//!   operations lost; bytes on disk.
//! * `replay files FOLDER SECONDS`, `replay s3 SECONDS`, `replay azure SECONDS`: 10,000 operations a second on files in the
//!   page cache, 500 on the servers that the tests use, at times drawn from a Poisson process, of about 4 KiB; and the
//!   machine's own noise floor, half as long right before and right after.

use forebay_io::{End, Location, Observe, Op, Operation, Served, Store};
use forebay_io_fs::{FsOptions, FsStore};
use forebay_io_open::{StoreOptions, Surroundings, open};
use forebay_io_testkit::servers::{Azurite, S3Server};
use forebay_trace::replay::{
    Plan, Priority, Remap, ReplayOptions, Stop, Stores, noise_floor, prepare, replay,
};
use forebay_trace::synth::{Arrivals, Model, Sizes};
use forebay_trace::{Clock, Header, Recorder, RecorderOptions};
use rustix::time::ClockId;
use serde_json::{Value, json};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`; run without a subcommand, as `cargo test` does, there is nothing to do.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["record", operations] => record(operations.parse()?)?,
        ["replay", "files", folder, seconds] => on_files(Path::new(folder), seconds.parse()?)?,
        ["replay", "s3", seconds] => on_s3(seconds.parse()?)?,
        ["replay", "azure", seconds] => on_azure(seconds.parse()?)?,
        _ => {
            println!(
                "usage: tracing record OPERATIONS | replay files FOLDER SECONDS | replay s3|azure SECONDS"
            );
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
            epoch: Some(0),
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

fn on_files(folder: &Path, seconds: f64) -> Result<Value> {
    let prefix = Location::from_path(&folder.canonicalize()?)?.join(b"replayed").to_string() + "/";
    let store: Arc<dyn Store> = Arc::new(FsStore::new(FsOptions::default())?);
    replayed(prefix, 2000, Box::new(move |_| Ok(store.clone())), 10_000.0, seconds, Priority::Fair)
}

fn on_s3(seconds: f64) -> Result<Value> {
    let server = S3Server::start()?;
    let stores = stores(&[
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_REGION", S3Server::REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY.to_owned()),
    ]);
    on_server(format!("s3://{}/replayed/", server.bucket()), stores, seconds, &PRIORITIES)
}

/// Also with a server that gives way, as one on a machine of its own does.
fn on_azure(seconds: f64) -> Result<Value> {
    let on = |azurite: &Azurite, priorities: &[Priority]| {
        let stores = stores(&[("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string())]);
        on_server(format!("az://{}/replayed/", azurite.new_container()?), stores, seconds, priorities)
    };
    let mut all = on(&*Azurite::shared()?, &PRIORITIES)?;
    all["giving_way"] = on(&Azurite::start_giving_way()?, &[Priority::Fair])?["fair"].take();
    Ok(all)
}

const PRIORITIES: [Priority; 2] = [Priority::Fair, Priority::RealTime];

/// Once with each priority; with the real-time one where the kernel lets us. As any thread, too, because the server has the same
/// processors.
fn on_server(prefix: String, stores: Box<Stores>, seconds: f64, priorities: &[Priority]) -> Result<Value> {
    let stores: Arc<Stores> = stores.into();
    let mut all = serde_json::Map::new();
    for &priority in priorities {
        let (permitted, stores) =
            (noise_floor(Duration::from_millis(1), Duration::from_millis(2), priority), stores.clone());
        let stores = Box::new(move |location: &Location| stores(location));
        let measured = match permitted {
            Ok(_) => replayed(prefix.clone(), 200, stores, 500.0, seconds, priority)?,
            Err(_) => Value::Null,
        };
        all.insert(priority.name().to_owned(), measured);
    }
    Ok(Value::Object(all))
}

/// Opens stores with an environment such as the services' own tools read.
#[allow(clippy::disallowed_methods, reason = "a program is an edge: the clock of the day is read here")]
fn stores(environment: &[(&str, String)]) -> Box<Stores> {
    let variables = environment.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    let options = StoreOptions::default().with_surroundings(Surroundings::new(variables, SystemTime::now));
    Box::new(move |location| open(location, &options))
}

fn replayed(
    prefix: String,
    objects: u64,
    stores: Box<Stores>,
    rate: f64,
    seconds: f64,
    priority: Priority,
) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let model = Model {
        arrivals: Arrivals::Poisson { rate },
        sizes: Sizes::LogNormal { median: 4096.0, sigma: 0.5 },
        objects,
        prefix,
        operations: (rate * seconds) as u64,
        seed: 1,
    };
    let plan = Plan::new(move || Ok(Box::new(model.records()?.map(Ok))), &std::env::temp_dir());
    runtime.block_on(prepare(&plan, &Remap::default(), &*stores, 1, true, 8))?;
    let gap = Duration::from_secs_f64(1.0 / rate);
    let floor =
        || noise_floor(gap, Duration::from_secs_f64(seconds / 2.0), priority).map(|floor| floor.to_json());
    let before = floor()?;
    let (options, stop) = (ReplayOptions { priority, ..ReplayOptions::default() }, Stop::default());
    let fidelity = replay(&plan, &options, &*stores, runtime.handle(), &stop, |_| {})?;
    let after = floor()?;
    Ok(json!({ "fidelity": fidelity.to_json(), "floor_before_ns": before, "floor_after_ns": after }))
}
