//! What the machine can do with samples inside shards: a tight loop of bare `pread`s at the same offsets in
//! random order, in two threads, over shards that stay open, into as many rotating buffers as a loader has
//! samples in flight.
//!
//! It is its own process, built for release, so that its CPU time is its own.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::dataset::files_under;
use super::limit::{Share, THREADS, cpu_seconds};
use super::reading::Reading;
use super::shard_set::ShardSet;

/// Options of the limit program.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Holds the shards
    folder: PathBuf,
    /// Samples of each shard
    #[arg(long)]
    samples: usize,
    /// Bytes of each sample
    #[arg(long)]
    size: usize,
    /// Buffers to rotate through, over both threads
    #[arg(long)]
    buffers: usize,
    /// Repeat for this long
    #[arg(long)]
    seconds: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Looking at the clock once in so many reads costs nothing.
const READS_PER_LOOK: usize = 64;

/// Reads, and prints the reading as one line of JSON.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(&read_all(args)?)?);
    Ok(())
}

fn read_all(args: &Args) -> anyhow::Result<Reading> {
    ensure!(args.buffers >= THREADS, "--buffers {}: at least one a thread, {THREADS}", args.buffers);
    let paths = files_under(&args.folder)?;
    let set = ShardSet { shards: paths.len(), samples: args.samples, size: args.size };
    let shards: Vec<File> = paths.iter().map(File::open).collect::<Result<_, _>>()?;
    let mut order: Vec<(usize, u64)> = (0..set.shards)
        .flat_map(|shard| (0..set.samples).map(move |number| (shard, set.offset(number))))
        .collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(args.seed));
    ensure!(order.len() >= THREADS, "{} samples: at least one a thread, {THREADS}", order.len());
    let deadline = Duration::from_secs_f64(args.seconds);
    // Everyone's buffers are allocated and touched before the clock starts.
    let ready = Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = order
            .chunks(order.len().div_ceil(THREADS))
            .map(|share| {
                let (ready, shards) = (&ready, &shards);
                scope.spawn(move || {
                    let mut buffers = vec![vec![1u8; args.size]; args.buffers / THREADS];
                    ready.wait();
                    read_share(share, shards, &mut buffers, deadline)
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

/// Reads this thread's samples over and over until the time is up.
fn read_share(
    share: &[(usize, u64)],
    shards: &[File],
    buffers: &mut [Vec<u8>],
    deadline: Duration,
) -> anyhow::Result<Share> {
    let began = Instant::now();
    let (mut samples, mut bytes) = (0u64, 0);
    loop {
        for some in share.chunks(READS_PER_LOOK) {
            for &(shard, offset) in some {
                let buffer = &mut buffers[samples as usize % buffers.len()];
                shards[shard].read_exact_at(buffer, offset)?;
                samples += 1;
                bytes += buffer.len() as u64;
            }
            let ended = Instant::now();
            if ended - began >= deadline {
                return Ok(Share { samples, bytes, began, ended });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_until_the_time_is_up() {
        let parent = tempfile::tempdir().unwrap();
        let set = ShardSet { shards: 3, samples: 5, size: 512 };
        let (folder, _) = set.make(parent.path()).unwrap();
        let args = Args { folder, samples: 5, size: 512, buffers: 4, seconds: 0.05, seed: 1 };
        let reading = read_all(&args).unwrap();
        assert!(reading.samples > 15 && reading.seconds >= 0.05, "{reading:?}");
        assert_eq!(reading.bytes, reading.samples * 512);
    }
}
