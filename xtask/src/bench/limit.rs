//! What the machine can do: a tight loop of open, fstat, pread, close over the same files, in two threads,
//! into as many rotating buffers as a loader has samples in flight. No queue, no batch, no order to keep.
//!
//! It is its own process, built for release, so that its CPU time is its own.

use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::pread;
use rustix::time::{ClockId, clock_gettime};

use super::dataset::files_under;
use super::reading::Reading;

/// Options of the limit program.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Holds the files
    folder: PathBuf,
    /// Buffers to rotate through, over both threads
    #[arg(long)]
    buffers: usize,
    /// Repeat for this long; 0: read each file once
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What it keeps busy, where nothing else is running.
pub(crate) const THREADS: usize = 2;

/// A file is at most a few preads; looking at the clock once in so many files costs nothing.
const FILES_PER_LOOK: usize = 16;

/// Reads, and prints the reading as one line of JSON.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(&read_all(args)?)?);
    Ok(())
}

fn read_all(args: &Args) -> anyhow::Result<Reading> {
    ensure!(args.buffers >= THREADS, "--buffers {}: at least one a thread, {THREADS}", args.buffers);
    let mut files = files_under(&args.folder)?;
    // With as many, each thread gets a share; with fewer, one would be missed at the barrier below.
    ensure!(files.len() >= THREADS, "{} file: at least one a thread, {THREADS}", files.len());
    let mut largest = 0;
    for path in &files {
        largest = largest.max(path.metadata()?.len());
    }
    let largest = usize::try_from(largest)?;
    files.shuffle(&mut ChaCha8Rng::seed_from_u64(args.seed));
    let share = files.len().div_ceil(THREADS);
    let deadline = (args.seconds > 0.0).then(|| Duration::from_secs_f64(args.seconds));

    // Everyone's buffers are allocated and touched before the clock starts.
    let ready = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = files
            .chunks(share)
            .map(|files| {
                let ready = &ready;
                scope.spawn(move || {
                    let mut buffers = vec![vec![1u8; largest]; args.buffers / THREADS];
                    ready.wait();
                    read_share(files, &mut buffers, deadline)
                })
            })
            .collect();
        ready.wait();
        let cpu = cpu_seconds();
        let shares =
            threads.into_iter().map(|thread| thread.join().expect("a reading thread does not panic"));
        let shares: Vec<Share> = shares.collect::<anyhow::Result<_>>()?;
        Ok(Share::together(&shares, cpu_seconds() - cpu))
    })
}

/// What one thread read, and when.
pub(super) struct Share {
    pub(super) samples: u64,
    pub(super) bytes: u64,
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

impl Share {
    /// What all threads read, there being at least one: from the first that began to the last that ended.
    /// Whoever started them may have been woken after they were, so its own clock would leave time out.
    pub(super) fn together(shares: &[Share], cpu_seconds: f64) -> Reading {
        let began = shares.iter().map(|share| share.began).min().expect("there are threads");
        let ended = shares.iter().map(|share| share.ended).max().expect("there are threads");
        Reading {
            samples: shares.iter().map(|share| share.samples).sum(),
            bytes: shares.iter().map(|share| share.bytes).sum(),
            seconds: (ended - began).as_secs_f64(),
            cpu_seconds,
            ..Reading::default()
        }
    }
}

/// Reads this thread's files over and over until the time is up, or once when there is none given.
fn read_share(
    files: &[PathBuf],
    buffers: &mut [Vec<u8>],
    deadline: Option<Duration>,
) -> anyhow::Result<Share> {
    let began = Instant::now();
    let (mut samples, mut bytes) = (0u64, 0);
    loop {
        for some in files.chunks(FILES_PER_LOOK) {
            for path in some {
                let buffer = &mut buffers[samples as usize % buffers.len()];
                bytes +=
                    read_file(path, buffer).with_context(|| format!("cannot read {}", path.display()))?;
                samples += 1;
            }
            let ended = Instant::now();
            if deadline.is_some_and(|deadline| ended - began >= deadline) {
                return Ok(Share { samples, bytes, began, ended });
            }
        }
        if deadline.is_none() {
            return Ok(Share { samples, bytes, began, ended: Instant::now() });
        }
    }
}

/// One file, whole, into the buffer's beginning; returns its size.
fn read_file(path: &PathBuf, buffer: &mut [u8]) -> anyhow::Result<u64> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let size = usize::try_from(fstat(&file)?.st_size)?;
    let mut at = 0;
    while at < size {
        let got = pread(&file, &mut buffer[at..size], at as u64)?;
        ensure!(got > 0, "it became shorter, {at} of {size} bytes");
        at += got;
    }
    Ok(size as u64)
}

/// CPU time of this process so far, all threads.
pub(crate) fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::dataset::Shape;

    fn args(folder: PathBuf, seconds: f64) -> Args {
        Args { folder, buffers: 4, seconds, seed: 1 }
    }

    #[test]
    fn without_a_time_each_file_is_read_once() {
        let parent = tempfile::tempdir().unwrap();
        let dataset = Shape { name: "tiny", size: 5000, count: 37 }.make(parent.path()).unwrap();
        let reading = read_all(&args(dataset.folder, 0.0)).unwrap();
        assert_eq!((reading.samples, reading.bytes), (37, 37 * 5000));
    }

    #[test]
    fn with_a_time_files_are_read_until_it_is_up() {
        let parent = tempfile::tempdir().unwrap();
        let dataset = Shape { name: "tiny", size: 10, count: 4 }.make(parent.path()).unwrap();
        let reading = read_all(&args(dataset.folder, 0.05)).unwrap();
        assert!(reading.samples > 4 && reading.seconds >= 0.05, "{reading:?}");
        assert_eq!(reading.bytes, reading.samples * 10);
    }

    #[test]
    fn too_few_buffers_or_files_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let dataset = Shape { name: "tiny", size: 10, count: 4 }.make(parent.path()).unwrap();
        let one_buffer = Args { buffers: 1, ..args(dataset.folder, 0.0) };
        assert!(read_all(&one_buffer).unwrap_err().to_string().contains("--buffers 1"));
        let one_file = Shape { name: "one", size: 10, count: 1 }.make(parent.path()).unwrap();
        assert!(read_all(&args(one_file.folder, 0.0)).unwrap_err().to_string().contains("1 file"));
    }
}
