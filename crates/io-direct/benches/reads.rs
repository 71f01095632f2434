//! What one read past the page cache costs through the store, from a tokio task that submits to the wake-up
//! that brings the bytes. One program a measurement, so that its processor time is its own; the last line
//! that it prints is the reading, for `cargo xtask bench direct`.
//!
//! ```text
//! cargo bench -p forebay-io-direct --bench reads -- random FILE --block 4096 --depth 64 --ahead 64 --seconds 3
//! cargo bench -p forebay-io-direct --bench reads -- whole --depth 16 FILE...
//! ```
#![allow(missing_docs)]

use forebay_io::{Block, Budget, Buf, GetRequest, Location, Place, Pool, ReadOptions, Room, Store, Want};
use forebay_io_direct::{DirectOptions, DirectStore, Engine};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ranges that a task submits together, as a loader does with a batch.
const BATCH: usize = 16;

/// Where memory is small pages, a read of 16 KiB is four pieces to a device.
const HUGE_PAGE: usize = 2 << 20;

struct Args {
    mode: String,
    files: Vec<String>,
    block: u64,
    depth: u32,
    /// Reads that wait for a place in the ring.
    ahead: u32,
    seconds: f64,
    request: Option<u64>,
    engine: Engine,
    one_by_one: bool,
    register: bool,
}

fn args() -> Option<Args> {
    let mut given = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut args = Args {
        mode: given.next()?,
        files: Vec::new(),
        block: 4096,
        depth: 64,
        ahead: 64,
        seconds: 3.0,
        request: None,
        engine: Engine::Auto,
        one_by_one: false,
        register: true,
    };
    while let Some(arg) = given.next() {
        let mut value = || given.next().unwrap_or_else(|| panic!("{arg} wants a value"));
        match &*arg {
            "--block" => args.block = value().parse().expect("a number of bytes"),
            "--depth" => args.depth = value().parse().expect("a number of requests"),
            "--ahead" => args.ahead = value().parse().expect("a number of reads"),
            "--seconds" => args.seconds = value().parse().expect("a number of seconds"),
            "--request" => args.request = Some(value().parse().expect("a number of bytes")),
            "--threads" => args.engine = Engine::Threads,
            "--one-by-one" => args.one_by_one = true,
            "--plain" => args.register = false,
            _ => args.files.push(arg),
        }
    }
    Some(args)
}

struct Tally {
    samples: u64,
    bytes: u64,
}

fn main() {
    let Some(args) = args() else {
        eprintln!("not a test; see the head of benches/reads.rs for how to run it");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let options = DirectOptions {
        depth: args.depth,
        engine: args.engine,
        register_buffers: args.register,
        strict: true,
        ..Default::default()
    };
    let store = DirectStore::new(options).expect("a store");
    let told = store.clone();
    let (tally, seconds, cpu) = match &*args.mode {
        "random" => runtime.block_on(random(store, args)),
        "whole" => runtime.block_on(whole(store, args)),
        other => panic!("{other:?} is neither random nor whole"),
    };
    eprintln!("{:?}", told.ring_memory());
    let Tally { samples, bytes } = tally;
    println!(r#"{{"samples":{samples},"bytes":{bytes},"seconds":{seconds},"cpu_seconds":{cpu}}}"#);
}

/// Blocks at random places of one opened file; more submitted than may be in the ring at once, so that it is kept
/// full, if `--ahead` says so.
async fn random(store: DirectStore, args: Args) -> (Tally, f64, f64) {
    let at: Location = format!("direct://{}", args.files[0]).parse().expect("an absolute path");
    let object = store.open(&at, ReadOptions::default()).await.expect("a file");
    let blocks = object.meta().size / args.block;
    assert!(blocks > 0, "{} is smaller than a block", args.files[0]);
    let batch = if args.one_by_one { 1 } else { BATCH.min(args.depth as usize) };
    let tasks = (args.depth as usize + args.ahead as usize).div_ceil(batch);
    // One batch in the making, read by all: its memory begins where a huge page does, and fills it.
    let slots = (tasks * batch).max(HUGE_PAGE.div_ceil(args.block as usize));
    let pool = Pool::new(Budget::new(slots as u64 * (args.block + 4096)).expect("a budget"));
    let mut bufs = buffers(&pool, slots, args.block).await;
    let spare = bufs.split_off(tasks * batch);
    let mut all = Vec::new();
    for _ in 0..tasks {
        all.push(bufs.split_off(bufs.len() - batch));
    }
    let (begin, before) = (Instant::now(), cpu_seconds());
    let until = begin + Duration::from_secs_f64(args.seconds);
    let work = all.into_iter().zip(0..).map(|(mut bufs, seed)| {
        let object = object.clone();
        tokio::spawn(async move {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut tally = Tally { samples: 0, bytes: 0 };
            while Instant::now() < until {
                let ranges =
                    bufs.into_iter().map(|b| (random.random_range(0..blocks) * args.block, b)).collect();
                bufs = Vec::with_capacity(batch);
                for (buf, served) in object.read_many(ranges).await {
                    tally.bytes += served.expect("a read").bytes;
                    tally.samples += 1;
                    bufs.push(buf);
                }
            }
            tally
        })
    });
    let work: Vec<_> = work.collect();
    let mut all = Tally { samples: 0, bytes: 0 };
    for task in work {
        let one = task.await.expect("a task");
        all.samples += one.samples;
        all.bytes += one.bytes;
    }
    let measured = (begin.elapsed().as_secs_f64(), cpu_seconds() - before);
    drop(spare);
    (all, measured.0, measured.1)
}

async fn buffers(pool: &Pool, count: usize, len: u64) -> Vec<Buf> {
    let lease = pool.lease(pool.budget().ticket(), count as u32);
    let room = Room { align: 4096, ..Room::default() };
    let wants: Vec<_> = (0..count as u32).map(|slot| Want { room, ..Want::new(slot, len) }).collect();
    let mut bufs = lease.reserve(&wants).await.expect("room");
    // Faulted in before the clock starts.
    bufs.iter_mut().for_each(|buf| buf.fill(1));
    bufs
}

/// Whole files, each once, two batches of them ahead; into slabs that are used again.
async fn whole(store: DirectStore, args: Args) -> (Tally, f64, f64) {
    let sizes = args.files.iter().map(|file| std::fs::metadata(file).expect("a file").len());
    let largest = sizes.max().expect("a file at least");
    let pool = Pool::new(Budget::new(4 * (largest + 4096)).expect("a budget"));
    let options = ReadOptions {
        target_request_bytes: args.request.and_then(std::num::NonZeroU64::new),
        ..Default::default()
    };
    let files: Arc<[Location]> =
        args.files.iter().map(|file| format!("direct://{file}").parse().expect("an absolute path")).collect();
    // Memory that is faulted in is what a loader has after its first batches.
    let warm: Vec<_> =
        (0..3).map(|_| read(store.clone(), files[0].clone(), options.clone(), pool.clone())).collect();
    let mut blocks = Vec::new();
    for block in warm {
        blocks.push(block.await);
    }
    drop(blocks);
    let (begin, before) = (Instant::now(), cpu_seconds());
    let mut ahead = std::collections::VecDeque::new();
    let mut all = Tally { samples: 0, bytes: 0 };
    for file in files.iter() {
        if ahead.len() == 3 {
            take(&mut ahead, &mut all).await;
        }
        ahead.push_back(tokio::spawn(read(store.clone(), file.clone(), options.clone(), pool.clone())));
    }
    while !ahead.is_empty() {
        take(&mut ahead, &mut all).await;
    }
    (all, begin.elapsed().as_secs_f64(), cpu_seconds() - before)
}

async fn take(ahead: &mut std::collections::VecDeque<tokio::task::JoinHandle<Block>>, all: &mut Tally) {
    let block = ahead.pop_front().expect("one at least").await.expect("a task");
    all.samples += 1;
    all.bytes += block.slot(0).expect("it was read").len() as u64;
}

async fn read(store: DirectStore, at: Location, options: ReadOptions, pool: Pool) -> Block {
    let lease = pool.lease(pool.budget().ticket(), 1);
    store.get(GetRequest::whole(at, 0), options, lease.clone()).await.expect("a read");
    lease.finish().expect("it is whole")
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
