//! What `cargo xtask bench loader` asks of orders: how soon the first index of a hundred million samples
//! is there, how many a core makes in a second, and what is resident for it.
//!
//! Prints one line of JSON: for each order the seconds to its first index and indices a second of each
//! repeat, in turn; and what grew in memory over all of it. A rate is by processor time: what a core does while it
//! is ours, whoever else wants it.

use forebay_loader::{LoaderOptions, Sampler};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::time::Instant;

const SAMPLES: u64 = 100_000_000;
/// Indices of one repeat: a few tenths of a second.
const DRAWN: u64 = 100_000 * BATCH as u64;
/// Indices are asked for as the loader does, a batch at a time.
const BATCH: usize = 64;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`; run without a number, as `cargo test` does, there is nothing to do.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [repeats] = arguments.as_slice() else {
        println!("usage: order REPEATS");
        return Ok(());
    };
    let repeats: usize = repeats.parse()?;
    let orders = [
        ("listed", json!({})),
        ("shuffled", json!({ "shuffle": true })),
        ("window of 10000", json!({ "shuffle": true, "shuffle_window": 10_000 })),
        ("uniform", json!({ "random_index_mode": "uniform" })),
        ("zipfian 0.5", json!({ "random_index_mode": "zipfian:0.5" })),
        ("zipfian 0.99", json!({ "random_index_mode": "zipfian:0.99" })),
        ("zipfian 1.5", json!({ "random_index_mode": "zipfian:1.5" })),
    ];
    let before = resident()?;
    let mut readings: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); orders.len()];
    for repeat in 0..repeats as u64 {
        for ((_, order), (first, rate)) in orders.iter().zip(&mut readings) {
            let map = order.as_object().ok_or("an order is an object")?;
            // A middle rank of a few, as in a real job.
            let options = LoaderOptions {
                shard_rank: 1,
                shard_world_size: 4,
                seed: 7,
                ..LoaderOptions::from_json(map)?
            };
            let begin = Instant::now();
            let sampler = Sampler::new(SAMPLES, repeat, 0, &options);
            black_box(sampler.id(0));
            first.push(begin.elapsed().as_secs_f64());
            let begin = cpu_seconds();
            for batch in (0..DRAWN).step_by(BATCH) {
                black_box(sampler.ids(batch..batch + BATCH as u64));
            }
            rate.push(DRAWN as f64 / (cpu_seconds() - begin));
        }
    }
    let grown = resident()?.saturating_sub(before);
    let orders: Map<String, Value> = orders
        .iter()
        .zip(readings)
        .map(|((name, _), (first, rate))| {
            ((*name).to_owned(), json!({ "first_seconds": first, "indices_per_second": rate }))
        })
        .collect();
    println!("{}", json!({ "samples": SAMPLES, "resident_growth_bytes": grown, "orders": orders }));
    Ok(())
}

/// Processor time of this thread.
fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Bytes of this process in memory.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
