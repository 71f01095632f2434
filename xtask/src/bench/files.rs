//! `cargo xtask bench files`: local files into batches, against the tight loop, fio and other loaders.
//!
//! Cached and cold results are made and shown apart. Every bar that the project holds itself to is printed
//! with what was measured, met or missed.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use super::contest::{self, Contender, Outcome};
use super::dataset::{Dataset, Shape};
use super::page_cache::{self, Cache};
use super::reading::Reading;
use super::{Args, Programs, fio, limit, results};
use crate::shell;
use crate::workspace::Workspace;

/// Small enough that all stay in the page cache of an 8 GiB machine, large enough that one epoch takes the
/// fastest program a few hundredths of a second and the slowest a few seconds.
pub(crate) const SHAPES: &[Shape] = &[
    Shape { name: "4k", size: 4 << 10, count: 32_768 },
    Shape { name: "64k", size: 64 << 10, count: 16_384 },
    Shape { name: "1m", size: 1 << 20, count: 1_024 },
    Shape { name: "64m", size: 64 << 20, count: 16 },
];

/// Samples in a batch: 32, and less where that would be gigabytes.
fn batch_size(shape: &Shape) -> usize {
    if shape.size > 4 << 20 { 2 } else { 32 }
}

/// Batches that the loader may have in flight; the limit rotates through as many samples' buffers.
const BATCHES_IN_FLIGHT: usize = 8;

/// Other loaders, named as in `bench/peers.py`.
const PEERS: &[&str] = &["torch0", "torch2", "s3dlio", "spdl", "obstore"];

const LIMIT: &str = "limit";
const OURS: &str = "forebay";

/// One data set in one state of the page cache, with everyone's readings.
#[derive(Debug, Serialize)]
struct Case {
    shape: &'static str,
    cache: &'static str,
    outcomes: Vec<Outcome>,
}

/// Runs every case asked for and writes the results.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let programs = Programs::build(workspace, args.peers)?;
    let fio_version = if args.has(Cache::Cold) { Some(fio::require(workspace.root())?) } else { None };
    let data = super::data_folder(workspace)?;

    let mut cases = Vec::new();
    for shape in SHAPES.iter().filter(|shape| args.wants(shape.name)) {
        let dataset = shape.make(&data)?;
        for cache in [Cache::Cached, Cache::Cold].into_iter().filter(|&cache| args.has(cache)) {
            eprintln!("{} files, {}", shape.name, cache.name());
            let bench = Bench { workspace, args, programs: &programs, shape, dataset: &dataset, cache };
            let outcomes = bench.hold()?;
            cases.push(Case { shape: shape.name, cache: cache.name(), outcomes });
        }
    }

    let machine = super::machine::describe(workspace.root(), &data);
    println!("\n{machine}\n{} rounds, interleaved; medians", args.rounds);
    if let Some(version) = &fio_version {
        println!("{version}");
    }
    for case in &cases {
        let reference = if case.cache == Cache::Cached.name() { LIMIT } else { FIO };
        println!("\n{} files, {}", case.shape, case.cache);
        print!("{}", contest::table(&case.outcomes, reference));
        for bar in bars(case) {
            println!("{bar}");
        }
    }
    results::write(workspace, "files", &machine, &cases)
}

/// One case about to be measured.
struct Bench<'a> {
    workspace: &'a Workspace,
    args: &'a Args,
    programs: &'a Programs,
    shape: &'a Shape,
    dataset: &'a Dataset,
    cache: Cache,
}

impl Bench<'_> {
    fn hold(&self) -> anyhow::Result<Vec<Outcome>> {
        let mut contenders = vec![self.contender(LIMIT, || self.limit())];
        contenders.push(self.contender(OURS, || self.python("forebay_loader.py", None)));
        if self.args.peers.runs() {
            let peers =
                PEERS.iter().map(|&peer| self.contender(peer, move || self.python("peers.py", Some(peer))));
            contenders.extend(peers);
        }
        if self.cache == Cache::Cold {
            contenders.extend(fio::VARIANTS.iter().map(|variant| {
                Contender::new(variant.name, || variant.run(self.workspace.root(), self.shape, self.dataset))
            }));
        }
        let files = &self.dataset.files;
        let mut outcomes = contest::hold(self.args.rounds, &mut contenders, || {
            match self.cache {
                Cache::Cached => page_cache::warm(files)?,
                Cache::Cold => page_cache::evict(files)?,
            }
            page_cache::verify(self.cache, self.workspace.root(), files).map(drop)
        })?;
        if self.cache == Cache::Cold {
            outcomes.push(best_fio(&outcomes));
        }
        Ok(outcomes)
    }

    /// A program of ours that prints a reading as its last line.
    fn contender<'b>(&'b self, name: &str, make: impl Fn() -> Command + 'b) -> Contender<'b> {
        Contender::new(name, move || Reading::parse(&shell::read(&mut make())?))
    }

    /// A cold epoch is over when each file was read once; cached ones are repeated for the time asked for.
    fn seconds(&self) -> String {
        let seconds = if self.cache == Cache::Cached { self.args.seconds } else { 0.0 };
        seconds.to_string()
    }

    fn limit(&self) -> Command {
        let buffers = BATCHES_IN_FLIGHT * batch_size(self.shape);
        let mut limit = shell::command(self.workspace.root(), &self.programs.xtask, ["bench-limit"]);
        limit.arg(&self.dataset.folder).args(["--buffers", &buffers.to_string()]);
        limit.args(["--seconds", &self.seconds()]);
        limit
    }

    fn python(&self, script: &str, loader: Option<&str>) -> Command {
        let batch = batch_size(self.shape);
        let in_flight = BATCHES_IN_FLIGHT * batch * self.shape.size;
        let mut python = self.programs.venv.python([bench_script(script)]);
        python.arg(&self.dataset.folder).args(loader);
        python.args(["--batch-size", &batch.to_string()]);
        python.args(["--max-bytes-in-flight", &in_flight.to_string()]);
        python.args(["--seconds", &self.seconds()]);
        python
    }
}

pub(super) fn bench_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench").join(name)
}

const FIO: &str = "fio, best";

/// fio's variant with the highest median stands for it.
fn best_fio(outcomes: &[Outcome]) -> Outcome {
    let ran = outcomes.iter().filter(|outcome| outcome.name.starts_with("fio"));
    let rate = |outcome: &&Outcome| outcome.samples_per_second().median;
    let best = ran.max_by(|a, b| rate(a).total_cmp(&rate(b))).expect("fio runs in every cold case");
    Outcome { name: FIO.to_owned(), ..best.clone() }
}

/// On a cached run the limit does nothing but compute. With fewer processors than its threads it shared them
/// with other programs, and then whoever has the most threads wins: no result to judge anything by.
const LEAST_CORES: f64 = 0.9 * limit::THREADS as f64;

/// What the project asks of itself in this case, and whether it got it.
fn bars(case: &Case) -> Vec<String> {
    let find = |name: &str| case.outcomes.iter().find(|outcome| outcome.name == name);
    let Some(ours) = find(OURS) else { return Vec::new() };
    let had = find(LIMIT).map_or(0.0, |limit| limit.cores().median);
    if case.cache == Cache::Cached.name() && had < LEAST_CORES {
        let busy = "the machine was busy, so nothing is judged by this";
        return vec![format!("NOT JUDGED: the limit had {had:.2} of {} cores; {busy}", limit::THREADS)];
    }
    let rate = |outcome: &Outcome| outcome.samples_per_second().median;
    let cpu = |outcome: &Outcome| outcome.cpu_micros_per_sample().median;
    let mut bars = Vec::new();
    let mut at_least = |text: &str, other: &str, bar: f64| {
        if let Some(other) = find(other) {
            let got = rate(ours) / rate(other);
            let verdict = if got >= bar { "met" } else { "MISSED" };
            bars.push(format!("{verdict:6} {text}: {got:.2}, at least {bar}"));
        }
    };
    match (case.shape, case.cache) {
        ("4k", "cached") => at_least("share of the limit", LIMIT, 0.60),
        ("64k" | "1m", "cached") => {
            at_least("share of the limit", LIMIT, 0.75);
            at_least("times the DataLoader with 2 workers", "torch2", 15.0);
            at_least("times s3dlio", "s3dlio", 2.0);
            if let Some(limit) = find(LIMIT) {
                let got = cpu(ours) / cpu(limit);
                let verdict = if got <= 1.3 { "met" } else { "MISSED" };
                bars.push(format!("{verdict:6} CPU per sample, times the limit's: {got:.2}, at most 1.3"));
            }
        }
        ("64k" | "1m", "cold") => at_least("share of fio", FIO, 0.95),
        _ => {}
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, samples: u64, cpu_seconds: f64) -> Outcome {
        let reading = Reading { samples, bytes: samples, seconds: 1.0, cpu_seconds, ..Reading::default() };
        Outcome { name: name.into(), readings: vec![reading] }
    }

    #[test]
    fn bars_say_what_was_met_and_what_was_missed() {
        let outcomes = vec![outcome(LIMIT, 1000, 2.0), outcome(OURS, 800, 4.0), outcome("torch2", 80, 1.0)];
        let bars = bars(&Case { shape: "64k", cache: "cached", outcomes });
        assert_eq!(bars.len(), 3, "{bars:?}");
        assert!(bars[0].starts_with("met") && bars[0].contains("limit: 0.80"), "{bars:?}");
        assert!(bars[1].starts_with("MISSED") && bars[1].contains("10.00, at least 15"), "{bars:?}");
        assert!(bars[2].starts_with("MISSED") && bars[2].contains("2.50, at most 1.3"), "{bars:?}");
    }

    #[test]
    fn nothing_is_judged_by_a_busy_machine() {
        let outcomes = vec![outcome(LIMIT, 1000, 0.63), outcome(OURS, 1800, 1.4)];
        let bars = bars(&Case { shape: "64k", cache: "cached", outcomes });
        assert_eq!(bars.len(), 1, "{bars:?}");
        assert!(bars[0].starts_with("NOT JUDGED: the limit had 0.63 of 2 cores"), "{bars:?}");
    }

    #[test]
    fn the_fastest_variant_stands_for_fio() {
        let outcomes =
            [outcome(OURS, 900, 1.0), outcome("fio psync x4", 500, 1.0), outcome("fio psync x16", 700, 1.0)];
        let best = best_fio(&outcomes);
        assert_eq!((best.name.as_str(), best.samples_per_second().median), (FIO, 700.0));
    }
}
