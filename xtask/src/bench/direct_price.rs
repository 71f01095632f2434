//! What measuring and recording cost at the rate of a device: random reads of 4 KiB past the page cache, with
//! metrics, with a trace and with neither, in turn. Part of `bench direct` and of `bench metrics`.

use std::path::Path;

use super::dataset::Shape;
use super::loading::{self, Measured, bar};
use super::page_cache;
use super::reading::median;
use crate::workspace::Workspace;

const FILE: Shape = Shape { name: "metrics-direct", size: 256 << 20, count: 1 };

/// The rate at which the price counts.
const IOPS: f64 = 80_000.0;

/// Times what reads cost without it, at most.
const METRICS: f64 = 1.01;
const TRACE: f64 = 1.02;

/// Of a quarter of a second each. With fewer, a percent cannot be told from noise: single rounds are 5% apart.
const ROUNDS: usize = 96;

/// Measures and prints it.
pub(super) fn run(workspace: &Workspace, data: &Path, rounds: usize) -> anyhow::Result<Measured> {
    let file = FILE.make(data)?;
    page_cache::evict(&file.files)?;
    let measured = loading::measure(workspace, "direct", &file.files[0], rounds.max(ROUNDS))?;
    println!("\nmetrics and trace on and off, random reads of 4 KiB past the page cache, 64 in the ring");
    if let Some(why) = &measured.skipped {
        println!("skipped: {why}");
        return Ok(measured);
    }
    print!("{}", measured.table());
    let seconds = median(measured.series("off")?.seconds.clone());
    let rate = measured.fact("samples")? / seconds;
    println!("       {rate:.0} reads/s with neither; the price counts at {IOPS:.0}");
    for (what, most) in [("metrics", METRICS), ("trace", TRACE)] {
        println!("{what}:");
        measured.price(what, most)?;
    }
    println!("{}", bar("operations that the trace lost", measured.fact("dropped")?, 0.0));
    if rate < IOPS {
        println!("       the device is slower than that: the CPU time of a read is what can be compared");
    }
    Ok(measured)
}
