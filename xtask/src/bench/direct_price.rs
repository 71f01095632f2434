//! What measuring and recording cost at the rate of a device: random reads of 4 KiB past the page cache, with
//! metrics, with a trace and with neither, in one stream (`crates/cli/benches/price.rs`). Part of `bench direct` and of
//! `bench metrics`.

use std::path::Path;

use super::dataset::Shape;
use super::loading::{Measured, Series, bar};
use super::reading::{median, paired};
use super::{page_cache, program};
use crate::shell;
use crate::workspace::Workspace;

const FILE: Shape = Shape { name: "metrics-direct", size: 256 << 20, count: 1 };

/// The rate at which the price counts.
const IOPS: f64 = 80_000.0;

/// Times what reads cost without it, at most.
const METRICS: f64 = 1.01;
const TRACE: f64 = 1.02;

/// For how long, which is two thousand blocks of three slices: enough to tell half a percent.
const SECONDS: u32 = 64;

/// Measures and prints it.
pub(super) fn run(workspace: &Workspace, data: &Path) -> anyhow::Result<Measured> {
    let file = FILE.make(data)?;
    page_cache::evict(&file.files)?;
    let root = workspace.root();
    let program = program::bench(root, "forebay-cli", "price")?;
    let mut command = shell::command(root, &program, [""; 0]);
    let measured = Measured::parse(&shell::read(command.arg(&file.files[0]).arg(SECONDS.to_string()))?)?;
    println!(
        "\nmetrics and trace on and off, one stream of random reads of 4 KiB past the page cache, 64 in the ring"
    );
    if let Some(why) = &measured.skipped {
        println!("skipped: {why}");
        return Ok(measured);
    }
    let off = measured.series("off")?;
    let cpu = median(off.cpu_seconds.clone()) * 1e6;
    let rate = measured.fact("reads_a_second")?;
    println!(
        "       {rate:.0} reads/s, {cpu:.2} us of CPU time each with neither; the price counts at {IOPS:.0}"
    );
    for (what, most) in [("metrics", METRICS), ("trace", TRACE)] {
        let on = measured.series(what)?;
        let (time, (least, greatest)) = ratio(on, off, |series| &series.seconds);
        // Met or missed by all of it, or by the median alone.
        let sure = if (least <= most) == (greatest <= most) { "" } else { "; not told from noise" };
        let blocks = on.seconds.len();
        println!(
            "{} ({least:.3} to {greatest:.3}, 95 in 100, of {blocks} blocks{sure})",
            bar(&format!("{what}, time with it, times that without"), time, most)
        );
        let (cpu, (least, greatest)) = ratio(on, off, |series| &series.cpu_seconds);
        println!("       {what}, CPU time: {cpu:.3} ({least:.3} to {greatest:.3})");
    }
    println!("{}", bar("operations that the trace lost", measured.fact("dropped")?, 0.0));
    if rate < IOPS {
        println!("       the device is slower than that: the CPU time of a read is what can be compared");
    }
    Ok(measured)
}

/// What one costs, times what the other does in the same block.
fn ratio(on: &Series, off: &Series, figure: fn(&Series) -> &Vec<f64>) -> (f64, (f64, f64)) {
    let logs = figure(on).iter().zip(figure(off)).map(|(on, off)| (on / off).ln()).collect();
    let (middle, (least, greatest)) = paired(logs);
    (middle.exp(), (least.exp(), greatest.exp()))
}
