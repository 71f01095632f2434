//! What a training loop sees: batches as PyTorch's tensors beside PyTorch's own loader, what a tight cap on bytes
//! in flight costs, and how soon a resumed epoch goes on. Part of `cargo xtask bench loader`.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::contest::{self, Contender, Outcome};
use super::dataset::Dataset;
use super::files::{SHAPES, bench_script};
use super::page_cache::{self, Cache};
use super::reading::{Reading, median};
use super::{Args, Peers, Programs, data_folder, loading, results};
use crate::shell;
use crate::workspace::Workspace;

const BATCH_SIZE: usize = 32;
const BATCHES_IN_FLIGHT: usize = 8;

const OURS: &str = "forebay";
const PEER: &str = "torch2";
/// Times the peer's rate at least.
const TIMES: f64 = 8.0;

/// `num_workers` and `prefetch` of the capped loader and of the one without a cap: batches under way in all. Of the
/// first an eighth has room for several batches, of the second for little more than one.
const UNDER_WAY: [(usize, usize); 2] = [(16, 16), (8, 4)];
/// Batches of cached files that are read at once, one a core (`io-fs` has no more run). A cap with room for
/// fewer changes the concurrency, too.
const AT_ONCE: u64 = super::limit::THREADS as u64;
/// Times the uncapped rate at least.
const CAPPED: f64 = 0.90;

/// From a loaded state to the first batch, at most.
const RESUME_SECONDS: f64 = 0.050;
/// A state takes less.
const STATE_BYTES: usize = 1024;

/// What `bench/capped.py` prints.
#[derive(Debug, Serialize, Deserialize)]
struct Capped {
    working_set: u64,
    cap: u64,
    /// Of the capped loader.
    peak: u64,
    uncapped: Vec<Rates>,
    capped: Vec<Rates>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Rates {
    samples_per_second: f64,
    samples_per_cpu_second: f64,
}

/// What `bench/resume.py` prints of each order of delivery.
#[derive(Debug, Serialize, Deserialize)]
struct Resumed {
    seconds: Vec<f64>,
    state_bytes: usize,
}

/// Runs all three and writes the results.
pub(super) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let programs = Programs::build(workspace, args.peers)?;
    let data = data_folder(workspace)?;
    let machine = super::machine::describe(workspace.root(), &data);
    let mut all: Vec<Value> = Vec::new();
    for shape in SHAPES.iter().filter(|shape| matches!(shape.name, "4k" | "64k") && args.wants(shape.name)) {
        let dataset = shape.make(&data)?;
        if args.peers == Peers::Run {
            let outcomes = tensors(workspace, args, &programs, &dataset, BATCH_SIZE * shape.size)?;
            println!("\n{machine}\n{} files as tensors, cached; {} rounds, medians", shape.name, args.rounds);
            print!("{}", contest::table(&outcomes, PEER));
            println!("{}", tensors_bar(&outcomes));
            all.push(json!({ "files": shape.name, "outcomes": outcomes }));
        }
        for (num_workers, prefetch) in UNDER_WAY {
            let capped = capped(args, &programs, &dataset, num_workers, prefetch)?;
            println!(
                "\n{} files, cached, num_workers {num_workers}, prefetch {prefetch}\n{}",
                shape.name,
                told(&capped, (BATCH_SIZE * shape.size) as u64)
            );
            all.push(json!({
                "files": shape.name, "num_workers": num_workers, "prefetch": prefetch, "cap": capped,
            }));
        }
    }
    if args.peers == Peers::Run {
        let mut resume = programs.venv.python([bench_script("resume.py")]);
        resume.arg(data.join("resume")).args(["--rounds", &args.rounds.to_string()]);
        let resumed: Value = last_line(&shell::read(&mut resume)?)?;
        println!(
            "\nresume after 1000000 shuffled samples of 2000000, from load_state_dict to the first batch"
        );
        for mode in ["ordered", "completion"] {
            println!("{}", resumed_bar(mode, &serde_json::from_value(resumed[mode].clone())?));
        }
        all.push(json!({ "resume": resumed }));
    } else {
        println!("\nNOT MEASURED: tensors and resume need PyTorch, which --peers leave-out leaves out");
    }
    results::write(workspace, "feeding", &machine, &all)
}

fn tensors(
    workspace: &Workspace,
    args: &Args,
    programs: &Programs,
    dataset: &Dataset,
    batch_bytes: usize,
) -> anyhow::Result<Vec<Outcome>> {
    let contender = |name: &'static str| {
        Contender::new(name, move || {
            let mut python = programs.venv.python([bench_script("torch_loaders.py")]);
            python.arg(&dataset.folder).arg(name).args(["--batch-size", &BATCH_SIZE.to_string()]);
            python.args(["--max-bytes-in-flight", &(BATCHES_IN_FLIGHT * batch_bytes).to_string()]);
            Reading::parse(&shell::read(python.args(["--seconds", &args.seconds.to_string()]))?)
        })
    };
    contest::hold(args.rounds, &mut [contender(OURS), contender(PEER)], || {
        page_cache::warm(&dataset.files)?;
        page_cache::verify(Cache::Cached, workspace.root(), &dataset.files).map(drop)
    })
}

fn tensors_bar(outcomes: &[Outcome]) -> String {
    let rate = |name: &str| {
        let found = outcomes.iter().find(|outcome| outcome.name == name);
        found.map_or(f64::NAN, |outcome| outcome.samples_per_second().median)
    };
    let got = rate(OURS) / rate(PEER);
    let verdict = if got >= TIMES { "met" } else { "MISSED" };
    format!("{verdict:6} times torch.utils.data.DataLoader with 2 workers: {got:.2}, at least {TIMES}")
}

fn capped(
    args: &Args,
    programs: &Programs,
    dataset: &Dataset,
    num_workers: usize,
    prefetch: usize,
) -> anyhow::Result<Capped> {
    page_cache::warm(&dataset.files)?;
    let mut python = programs.venv.python([bench_script("capped.py")]);
    python.arg(&dataset.folder).args(["--batch-size", &BATCH_SIZE.to_string()]);
    python.args(["--num-workers", &num_workers.to_string(), "--prefetch", &prefetch.to_string()]);
    python.args(["--seconds", &args.seconds.to_string(), "--rounds", &args.rounds.to_string()]);
    last_line(&shell::read(&mut python)?)
}

/// The rates are compared at equal concurrency only, which a cap without room for what is to be read at once is not.
fn told(capped: &Capped, batch_bytes: u64) -> String {
    let ratio = |figure: fn(&Rates) -> f64| {
        median(capped.capped.iter().zip(&capped.uncapped).map(|(a, b)| figure(a) / figure(b)).collect())
    };
    let (rate, by_cpu) = (ratio(|r| r.samples_per_second), ratio(|r| r.samples_per_cpu_second));
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    let room = capped.cap / batch_bytes;
    let (judged, bar) = if room < AT_ONCE {
        ("", format!("not judged: there is room for {room} of {AT_ONCE} batches at once"))
    } else {
        (verdict(rate >= CAPPED), format!("at least {CAPPED}"))
    };
    format!(
        "{judged:6} rate under an eighth of the working set ({} of {} bytes), times that without: {rate:.3}, {bar}\n       \
         the same by processor time: {by_cpu:.3}\n{:6} most bytes in flight: {}, at most {}",
        capped.cap,
        capped.working_set,
        verdict(capped.peak <= capped.cap),
        capped.peak,
        capped.cap
    )
}

fn resumed_bar(mode: &str, resumed: &Resumed) -> String {
    let seconds = median(resumed.seconds.clone());
    let state = resumed.state_bytes;
    let state = format!("{state} bytes of state{}", if state < STATE_BYTES { "" } else { ", MISSED" });
    format!("{} ({state})", loading::bar(&format!("{mode} order, seconds"), seconds, RESUME_SECONDS))
}

fn last_line<T: serde::de::DeserializeOwned>(output: &str) -> anyhow::Result<T> {
    let line = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("no readings in {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_judged_by_pairs_of_one_round() {
        let rates = |all: &[f64]| {
            let rate = |&rate: &f64| Rates { samples_per_second: rate, samples_per_cpu_second: 2.0 * rate };
            all.iter().map(rate).collect::<Vec<_>>()
        };
        let (uncapped, capped) = (rates(&[10.0, 100.0, 20.0]), rates(&[9.5, 50.0, 19.0]));
        let capped = Capped { working_set: 800, cap: 100, peak: 100, uncapped, capped };
        let text = told(&capped, 50);
        assert!(text.contains("met    rate") && text.contains("0.950"), "{text}");
        let narrow = told(&capped, 51);
        assert!(narrow.contains("room for 1 of 2 batches") && !narrow.contains("met    rate"), "{narrow}");
        assert!(told(&Capped { peak: 101, ..capped }, 50).contains("MISSED most bytes"));
    }

    #[test]
    fn resumes_and_tensors_have_their_verdicts() {
        let resumed = Resumed { seconds: vec![0.01, 0.2, 0.02], state_bytes: 300 };
        let text = resumed_bar("ordered", &resumed);
        assert!(text.starts_with("met") && text.ends_with("(300 bytes of state)"), "{text}");
        let outcome = |name: &str, samples| Outcome {
            name: name.into(),
            readings: vec![Reading {
                samples,
                bytes: samples,
                seconds: 1.0,
                cpu_seconds: 1.0,
                ..Reading::default()
            }],
        };
        assert!(tensors_bar(&[outcome(OURS, 700), outcome(PEER, 100)]).starts_with("MISSED"));
    }
}
