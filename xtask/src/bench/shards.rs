//! `cargo xtask bench shards`: random samples out of tar shards, against bare `pread`s at the same offsets, and
//! against the webdataset package, which reads the same shards from beginning to end.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::contest::{self, Contender, Outcome};
use super::page_cache::{self, Cache};
use super::reading::Reading;
use super::shard_set::ShardSet;
use super::{Args, Programs, limit, results};
use crate::shell;
use crate::workspace::Workspace;

/// One GiB: stays in the page cache of an 8 GiB machine.
const SET: ShardSet = ShardSet { shards: 64, samples: 1024, size: 16 << 10 };

const BATCH_SIZE: usize = 32;

/// Batches that the loader may have in flight; the limit rotates through as many samples' buffers.
const BATCHES_IN_FLIGHT: usize = 8;

const LIMIT: &str = "limit";
const OURS: &str = "forebay";
const PEER: &str = "webdataset";

/// Runs the measurement and writes the results.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let programs = Programs::build(workspace, args.peers)?;
    let data = super::data_folder(workspace)?;
    let (folder, files) = SET.make(&data)?;
    let outcomes = hold(workspace, args, &programs, &folder, &files)?;
    let machine = super::machine::describe(workspace.root(), &data);
    println!("\n{machine}\n{} rounds, interleaved; medians", args.rounds);
    println!(
        "\n{} tar shards of {} samples of {} KiB, cached; random but for {PEER}, which is sequential",
        SET.shards,
        SET.samples,
        SET.size >> 10
    );
    print!("{}", contest::table(&outcomes, LIMIT));
    bars(&outcomes).iter().for_each(|bar| println!("{bar}"));
    results::write(workspace, "shards", &machine, &[json!({ "cache": "cached", "outcomes": outcomes })])
}

fn hold(
    workspace: &Workspace,
    args: &Args,
    programs: &Programs,
    folder: &Path,
    files: &[PathBuf],
) -> anyhow::Result<Vec<Outcome>> {
    let seconds = args.seconds.to_string();
    let limit = || {
        let mut limit = shell::command(workspace.root(), &programs.xtask, ["bench-shard-limit"]);
        limit.arg(folder).args(["--samples", &SET.samples.to_string(), "--size", &SET.size.to_string()]);
        limit.args(["--buffers", &(BATCHES_IN_FLIGHT * BATCH_SIZE).to_string(), "--seconds", &seconds]);
        Reading::parse(&shell::read(&mut limit)?)
    };
    let python = |script: &str, dataset: Option<&str>| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench").join(script);
        let mut python = programs.venv.python([script]);
        python.arg(folder).args(["--batch-size", &BATCH_SIZE.to_string(), "--seconds", &seconds]);
        let in_flight = BATCHES_IN_FLIGHT * BATCH_SIZE * SET.size;
        python.args(["--max-bytes-in-flight", &in_flight.to_string()]);
        python.args(dataset.map(|dataset| ["--dataset", dataset]).into_iter().flatten());
        Reading::parse(&shell::read(&mut python)?)
    };
    let dataset = json!({ "format": "webdataset", "member": "bin" }).to_string();
    let mut contenders = vec![
        Contender::new(LIMIT, limit),
        Contender::new(OURS, || python("forebay_loader.py", Some(&dataset))),
    ];
    if args.peers.runs() {
        contenders.push(Contender::new(PEER, || python("webdataset_reader.py", None)));
    }
    contest::hold(args.rounds, &mut contenders, || {
        page_cache::warm(files)?;
        page_cache::verify(Cache::Cached, workspace.root(), files).map(drop)
    })
}

/// What the project asks of itself, and whether it got it.
fn bars(outcomes: &[Outcome]) -> Vec<String> {
    let find = |name: &str| outcomes.iter().find(|outcome| outcome.name == name);
    let Some(ours) = find(OURS) else { return Vec::new() };
    let had = find(LIMIT).map_or(0.0, |limit| limit.cores().median);
    // With fewer processors than its threads the limit shared them, and nothing is judged by that.
    if had < 0.9 * limit::THREADS as f64 {
        return vec![format!("NOT JUDGED: the limit had {had:.2} of {} cores", limit::THREADS)];
    }
    let bars = [("share of bare preads at the same offsets", LIMIT, 0.80), ("times webdataset", PEER, 3.0)];
    let judged = bars.into_iter().filter_map(|(text, other, bar)| {
        let got = ours.samples_per_second().median / find(other)?.samples_per_second().median;
        let verdict = if got >= bar { "met" } else { "MISSED" };
        Some(format!("{verdict:6} {text}: {got:.2}, at least {bar}"))
    });
    judged.collect()
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
        let said = bars(&[outcome(LIMIT, 1000, 2.0), outcome(OURS, 850, 2.0), outcome(PEER, 300, 1.0)]);
        assert!(said[0].starts_with("met") && said[1].starts_with("MISSED"), "{said:?}");
        let said = bars(&[outcome(LIMIT, 1000, 0.7), outcome(OURS, 850, 2.0)]);
        assert!(said[0].starts_with("NOT JUDGED") && said.len() == 1, "{said:?}");
    }
}
