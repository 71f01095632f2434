//! `cargo xtask bench direct`: reads past the page cache through the store, against what fio makes of the
//! same file with the same number of requests in the ring.
//!
//! Random blocks of one large file, batches of them submitted by tokio tasks, and whole large files one
//! after another. What the store costs includes the wake-up of the task that asked.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use serde::Serialize;

use super::contest::{self, Contender, Outcome};
use super::dataset::{Dataset, Shape};
use super::reading::Reading;
use super::{Args, files, fio, page_cache, results};
use crate::shell;
use crate::workspace::Workspace;

/// Where random blocks are read.
const LARGE: Shape = Shape { name: "direct-1g", size: 1 << 30, count: 1 };

/// The shape of `bench files` that is read whole.
const WHOLE: &str = "64m";

const OURS: &str = "forebay";
const FIO: &str = "fio";

/// The least share of fio's speed that the project is content with.
const SHARE: f64 = 0.97;

/// Random reads of one size.
struct Random {
    name: &'static str,
    block: usize,
    /// Requests in the ring, ours as fio's.
    depth: usize,
    /// Microseconds of processor time a read may cost, where the project has set itself a bar.
    most_cpu: Option<f64>,
}

const RANDOM: &[Random] = &[
    Random { name: "4k", block: 4 << 10, depth: 64, most_cpu: Some(4.5) },
    Random { name: "16k", block: 16 << 10, depth: 64, most_cpu: None },
    Random { name: "128k", block: 128 << 10, depth: 32, most_cpu: Some(14.0) },
    Random { name: "1m", block: 1 << 20, depth: 16, most_cpu: None },
];

/// Requests of 1 MiB in the ring when whole files are read.
const WHOLE_DEPTH: usize = 16;

/// Everyone's readings of one case.
#[derive(Debug, Serialize)]
struct Case {
    name: String,
    outcomes: Vec<Outcome>,
    bars: Vec<String>,
}

/// Names for `--only`, beside those of the shapes of files.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RANDOM.iter().map(|random| random.name)
}

/// Runs every case asked for and writes the results.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let root = workspace.root();
    let version = fio::require(root)?;
    shell::run(&mut shell::cargo(
        root,
        ["bench", "--quiet", "--no-run", "-p", "forebay-io-direct", "--bench", "reads"],
    ))?;
    let data = super::data_folder(workspace)?;
    let mut cases = Vec::new();
    let random: Vec<_> = RANDOM.iter().filter(|random| args.wants(random.name)).collect();
    if !random.is_empty() {
        let large = LARGE.make(&data)?;
        for case in random {
            eprintln!("{} random reads, {} in the ring", case.name, case.depth);
            let outcomes = hold(
                args,
                &large,
                || ours_random(root, &large, case, args),
                || fio_random(root, &large, case, args),
            )?;
            let bars = bars(&outcomes, case.most_cpu);
            cases.push(Case {
                name: format!("{} random reads, {} in the ring", case.name, case.depth),
                outcomes,
                bars,
            });
        }
    }
    if let Some(shape) = files::SHAPES.iter().find(|shape| shape.name == WHOLE && args.wants(shape.name)) {
        let whole = shape.make(&data)?;
        eprintln!("whole files of 64 MiB");
        let outcomes = hold(args, &whole, || ours_whole(root, &whole), || fio_whole(root, &whole, shape))?;
        let bars = bars(&outcomes, None);
        cases.push(Case { name: "whole files of 64 MiB".into(), outcomes, bars });
    }

    ensure!(!cases.is_empty(), "nothing of `bench direct` is named by --only");
    let machine = super::machine::describe(root, &data);
    println!("\n{machine}\n{} rounds, interleaved; medians; past the page cache\n{version}", args.rounds);
    for case in &cases {
        println!("\n{}", case.name);
        print!("{}", contest::table(&case.outcomes, FIO));
        case.bars.iter().for_each(|bar| println!("{bar}"));
    }
    results::write(workspace, "direct", &machine, &cases)
}

fn hold(
    args: &Args,
    data: &Dataset,
    ours: impl Fn() -> anyhow::Result<Reading>,
    fio: impl Fn() -> anyhow::Result<Reading>,
) -> anyhow::Result<Vec<Outcome>> {
    // Pages that are in the cache make a kernel look for them before it reads past it.
    page_cache::evict(&data.files)?;
    let mut contenders = [Contender::new(FIO, &fio), Contender::new(OURS, &ours)];
    contest::hold(args.rounds, &mut contenders, || Ok(()))
}

/// Our program, built as `cargo bench` builds it; its last line is the reading.
fn ours(root: &Path, mode: &str) -> Command {
    shell::cargo(root, ["bench", "--quiet", "-p", "forebay-io-direct", "--bench", "reads", "--", mode])
}

fn ours_random(root: &Path, data: &Dataset, case: &Random, args: &Args) -> anyhow::Result<Reading> {
    let mut command = ours(root, "random");
    command.arg(&data.files[0]);
    command.args(["--block".into(), case.block.to_string(), "--depth".into(), case.depth.to_string()]);
    Reading::parse(&shell::read(command.args(["--seconds".into(), args.seconds.to_string()]))?)
}

fn ours_whole(root: &Path, data: &Dataset) -> anyhow::Result<Reading> {
    let mut command = ours(root, "whole");
    command.args(["--depth".into(), WHOLE_DEPTH.to_string()]).args(&data.files);
    Reading::parse(&shell::read(&mut command)?)
}

/// fio with a ring and past the page cache.
fn fio_command(root: &Path, block: usize, depth: usize) -> Command {
    let mut fio = shell::command(root, "fio", ["--output-format=json", "--ioengine=io_uring", "--direct=1"]);
    fio.args([format!("--bs={block}"), format!("--iodepth={depth}"), "--name=reads".into()]);
    fio
}

fn fio_random(root: &Path, data: &Dataset, case: &Random, args: &Args) -> anyhow::Result<Reading> {
    let mut fio = fio_command(root, case.block, case.depth);
    fio.args(["--rw=randread", "--norandommap", "--time_based"]);
    fio.arg(format!("--runtime={}ms", (args.seconds * 1e3) as u64));
    fio.arg(format!("--filename={}", data.files[0].display()));
    fio::parse(&shell::read(&mut fio)?, &Shape { name: case.name, size: case.block, count: 1 })
}

fn fio_whole(root: &Path, data: &Dataset, shape: &Shape) -> anyhow::Result<Reading> {
    let mut fio = fio_command(root, 1 << 20, WHOLE_DEPTH);
    fio.args(["--rw=read", "--file_service_type=sequential"]);
    let files: Vec<_> = data.files.iter().map(|file| file.display().to_string()).collect();
    fio.arg(format!("--filename={}", files.join(":")));
    let reading = fio::parse(&shell::read(&mut fio)?, shape)?;
    ensure!(reading.bytes == shape.bytes(), "fio read {} of {} bytes", reading.bytes, shape.bytes());
    Ok(reading)
}

/// What the project asks of itself, and whether it got it.
fn bars(outcomes: &[Outcome], most_cpu: Option<f64>) -> Vec<String> {
    let find = |name: &str| outcomes.iter().find(|outcome| outcome.name == name);
    let (Some(ours), Some(fio)) = (find(OURS), find(FIO)) else { return Vec::new() };
    let share = ours.samples_per_second().median / fio.samples_per_second().median;
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    let mut bars = vec![format!("{:6} share of fio: {share:.2}, at least {SHARE}", verdict(share >= SHARE))];
    if let Some(most) = most_cpu {
        let cpu = ours.cpu_micros_per_sample().median;
        bars.push(format!("{:6} CPU us a read: {cpu:.2}, at most {most}", verdict(cpu <= most)));
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, samples: u64, cpu_seconds: f64) -> Outcome {
        let reading = Reading { samples, bytes: samples, seconds: 1.0, cpu_seconds, attempts: None };
        Outcome { name: name.into(), readings: vec![reading] }
    }

    #[test]
    fn bars_say_what_was_met_and_what_was_missed() {
        let outcomes = [outcome(FIO, 1000, 0.001), outcome(OURS, 960, 0.004)];
        let bars = bars(&outcomes, Some(4.5));
        assert!(bars[0].starts_with("MISSED") && bars[0].contains("0.96, at least 0.97"), "{bars:?}");
        assert!(bars[1].starts_with("met") && bars[1].contains("4.17, at most 4.5"), "{bars:?}");
    }
}
