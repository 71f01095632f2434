//! What one file costs through the store, next to a bare loop over the same files in the same run: cached files,
//! batches of 32 (fewer of large ones), as many batches in flight as a loader has. Also: what the same costs through mappings, and a listing next to
//! bare `getdents64`.
//!
//! ```text
//! cargo bench -p forebay-io-fs --bench store -- run [--threads N] [--in-flight N] [--dir DIR] [SIZE...]
//! ```
#![allow(missing_docs)]

use forebay_io::{Block, Budget, GetRequest, ListOptions, Location, Pool, ReadOptions, Store, Through};
use forebay_io_fs::{FsOptions, FsStore};
use futures::StreamExt;
use futures::executor::block_on;
use futures::stream::FuturesOrdered;
use rustix::fs::{CWD, Mode, OFlags, RawDir};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;
/// Bytes of a batch at most.
const BATCH_BYTES: usize = 64 << 20;

struct Set {
    size: usize,
    batch: usize,
    paths: Vec<PathBuf>,
}

fn make(root: &Path, size: usize) -> Set {
    let count = ((1usize << 30) / size).clamp(16, 40_000);
    let dir = root.join(format!("store-{size}"));
    std::fs::create_dir_all(&dir).expect("create the directory");
    let content = vec![7u8; size];
    let mut paths: Vec<_> = (0..count).map(|i| dir.join(format!("sample-{i:07}.bin"))).collect();
    for path in &paths {
        if std::fs::metadata(path).map_or(true, |m| m.len() != size as u64) {
            std::fs::write(path, &content).expect("write a sample");
        }
    }
    // A fixed shuffle: the order of a directory is kinder than that of a sampler.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for i in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        paths.swap(i, (state % (i as u64 + 1)) as usize);
    }
    Set { size, batch: 32.min((BATCH_BYTES / size).max(1)), paths }
}

/// `threads` threads, each open, fstat, pread, close into rotating buffers of a batch each.
fn bare(set: &Set, threads: usize, slabs: &mut [Vec<u8>]) -> Duration {
    let begin = Instant::now();
    let each = set.paths.len().div_ceil(threads);
    let slabs_each = slabs.len() / threads;
    std::thread::scope(|scope| {
        for (paths, slabs) in set.paths.chunks(each).zip(slabs.chunks_mut(slabs_each)) {
            scope.spawn(move || {
                for (i, batch) in paths.chunks(set.batch).enumerate() {
                    let turn = i % slabs.len();
                    for (path, into) in batch.iter().zip(slabs[turn].chunks_mut(set.size)) {
                        let fd =
                            rustix::fs::open(path.as_os_str().as_bytes(), OFlags::CLOEXEC, Mode::empty())
                                .expect("open");
                        let stat = rustix::fs::fstat(&fd).expect("fstat");
                        assert_eq!(stat.st_size as usize, set.size);
                        assert_eq!(rustix::io::pread(&fd, into, 0).expect("pread"), set.size);
                    }
                }
            });
        }
    });
    begin.elapsed()
}

fn through_store(
    store: &FsStore,
    set: &Set,
    locations: &[Location],
    in_flight: usize,
    pool: &Pool,
    through: Through,
) -> Duration {
    let begin = Instant::now();
    block_on(async {
        let mut batches = locations.chunks(set.batch);
        let mut running = FuturesOrdered::new();
        let mut held: Option<Block> = None;
        loop {
            while running.len() < in_flight
                && let Some(batch) = batches.next()
            {
                let requests: Arc<[GetRequest]> =
                    batch.iter().enumerate().map(|(i, l)| GetRequest::whole(l.clone(), i as u32)).collect();
                let lease = pool.lease(pool.budget().ticket(), batch.len() as u32);
                let options = ReadOptions { through, ..ReadOptions::default() };
                running.push_back(async move {
                    let results = store.get_many(requests, options, lease.clone()).await;
                    for result in results {
                        result.expect("a read");
                    }
                    lease.finish().expect("every slot came back")
                });
            }
            let Some(block) = running.next().await else { break };
            block.take();
            held = Some(block);
        }
        drop(held);
    });
    begin.elapsed()
}

fn list(store: &FsStore, dir: &Path) -> (Duration, usize) {
    let begin = Instant::now();
    let location = Location::from_path(dir).expect("absolute");
    let mut count = 0;
    block_on(async {
        let mut pages = store.list(&location, ListOptions::recursive());
        while let Some(page) = pages.next().await {
            count += page.expect("a page").len();
        }
    });
    (begin.elapsed(), count)
}

fn bare_list(dir: &Path) -> (Duration, usize) {
    let begin = Instant::now();
    let fd = rustix::fs::openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("open");
    let mut buffer = vec![std::mem::MaybeUninit::uninit(); 256 << 10];
    let mut entries = RawDir::new(&fd, &mut buffer);
    let mut count = 0;
    while let Some(entry) = entries.next() {
        std::hint::black_box(entry.expect("an entry").file_name());
        count += 1;
    }
    (begin.elapsed(), count - 2)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let mut root = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (mut wanted, mut in_flight, mut sizes) = (false, 6usize, Vec::new());
    let mut options = FsOptions::default();
    let mut names = None;
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "run" => wanted = true,
            "--threads" => options.threads = value().parse().expect("a number of threads"),
            "--in-flight" => in_flight = value().parse().expect("a number of batches"),
            "--dir" => root = value().into(),
            "--list" => names = Some(value().parse::<usize>().expect("a number of names")),
            size => sizes.push(size.parse::<usize>().expect("a size in bytes")),
        }
    }
    if !wanted {
        // Test runners start every target without arguments: that is no wish to measure.
        return;
    }
    let store = FsStore::new(options).expect("a store");
    if let Some(names) = names {
        let dir = root.join(format!("store-names-{names}"));
        if !dir.exists() {
            std::fs::create_dir_all(&dir).expect("create the directory");
            for i in 0..names {
                std::fs::File::create(dir.join(format!("sample-{i:07}.bin"))).expect("create a file");
            }
        }
        let dir = std::fs::canonicalize(dir).expect("it exists");
        let mut walls = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (bare, count) = bare_list(&dir);
            walls.0.push(bare.as_secs_f64() * 1e3);
            let (ours, listed) = list(&store, &dir);
            walls.1.push(ours.as_secs_f64() * 1e3);
            assert_eq!(count, listed);
        }
        let (bare, ours) = (median(walls.0), median(walls.1));
        println!("list {names}: bare getdents64 {bare:.0} ms, store {ours:.0} ms, {:.2} of it", ours / bare);
    }
    for size in sizes {
        let set = make(&root, size);
        let locations: Vec<_> = set
            .paths
            .iter()
            .map(|p| Location::from_path(&std::path::absolute(p).expect("absolute")).expect("a location"))
            .collect();
        let bytes = (set.batch * size.next_multiple_of(64)) as u64;
        let pool = Pool::new(Budget::new(bytes * (in_flight as u64 + 1)).expect("a budget"));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut slabs: Vec<Vec<u8>> =
            (0..in_flight.next_multiple_of(cores)).map(|_| vec![1; bytes as usize]).collect();
        let (mut limit, mut ours, mut cpu_limit, mut cpu_ours) = (vec![], vec![], vec![], vec![]);
        let (mut mapped, mut cpu_mapped) = (vec![], vec![]);
        // Faults the slabs in.
        bare(&set, cores, &mut slabs);
        through_store(&store, &set, &locations, in_flight, &pool, Through::Calls);
        for _ in 0..ROUNDS {
            let files = set.paths.len() as f64;
            let cpu = cpu_time();
            limit.push(bare(&set, cores, &mut slabs).as_nanos() as f64 * cores as f64 / files);
            let between = cpu_time();
            ours.push(
                through_store(&store, &set, &locations, in_flight, &pool, Through::Calls).as_nanos() as f64
                    * cores as f64
                    / files,
            );
            cpu_limit.push((between - cpu).as_nanos() as f64 / files);
            let ours_done = cpu_time();
            cpu_ours.push((ours_done - between).as_nanos() as f64 / files);
            let through = through_store(&store, &set, &locations, in_flight, &pool, Through::Mapping);
            mapped.push(through.as_nanos() as f64 * cores as f64 / files);
            cpu_mapped.push((cpu_time() - ours_done).as_nanos() as f64 / files);
        }
        let ratio = median(limit.iter().zip(&ours).map(|(a, b)| a / b).collect());
        let mapping = median(limit.iter().zip(&mapped).map(|(a, b)| a / b).collect());
        println!(
            "{size} bytes x {}: through mappings {:.0} ns a file and core, {mapping:.2} of the limit's speed; CPU {:.0} ns \
             a file",
            set.paths.len(),
            median(mapped),
            median(cpu_mapped),
        );
        println!(
            "{size} bytes x {}: bare {:.0} ns a file and core, store {:.0}, {ratio:.2} of the limit's speed; CPU {:.0} and \
             {:.0} ns a file",
            set.paths.len(),
            median(limit),
            median(ours),
            median(cpu_limit),
            median(cpu_ours),
        );
    }
}
