//! `cargo xtask bench metrics`: what a value costs to record, how true percentiles are, and what measuring costs a
//! loader over cached files and reads past the page cache.

use anyhow::Context;
use serde_json::{Value, json};

use super::loading::{self, bar};
use super::{Args, data_folder, direct_price, files, machine, results};
use crate::shell;
use crate::workspace::Workspace;

/// With fewer, a percent cannot be told from noise.
const ROUNDS: usize = 7;

pub(super) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let data = data_folder(workspace)?;
    let rounds = args.rounds.max(ROUNDS);
    let mut all = Vec::new();
    // With --only, what costs a run and nothing else.
    if args.only.is_empty() {
        all.push(recording(workspace)?);
        all.push(accuracy(workspace)?);
        println!(
            "       one reading of the clock a batch: counted by the tests, `cargo test -p forebay-io --lib observed`"
        );
    }
    let shapes = files::SHAPES.iter().filter(|shape| matches!(shape.name, "4k" | "64k"));
    for shape in shapes.filter(|shape| args.wants(shape.name)) {
        let (dataset, title) = (shape.make(&data)?, "metrics on and off");
        let measured = loading::on_and_off(workspace, "metrics", title, &dataset, rounds, 1.01)?;
        all.push(serde_json::to_value(measured)?);
    }
    if args.only.is_empty() {
        all.push(serde_json::to_value(direct_price::run(workspace, &data)?)?);
    }
    results::write(workspace, "metrics", &machine::describe(workspace.root(), &data), &all)
}

/// What one value costs on the thread that records it.
fn recording(workspace: &Workspace) -> anyhow::Result<Value> {
    let bench = ["bench", "--quiet", "-p", "forebay-metrics", "--bench", "record"];
    let output = shell::read(&mut shell::cargo(workspace.root(), bench))?;
    let line = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let measured: Value = serde_json::from_str(line).with_context(|| format!("no readings in {line:?}"))?;
    println!("\n{}", output.trim_end().trim_end_matches(line).trim_end());
    let figure = |name: &str| {
        let path = format!("/{name}/median");
        measured.pointer(&path).and_then(Value::as_f64).with_context(|| format!("no {path} in {line:?}"))
    };
    println!("{}", bar("ns a histogram entry, 32 a batch", figure("entry_of_32")?, 3.0));
    let (one, clock) = (figure("entry")?, figure("clock")?);
    println!("       one entry by itself {one:.2} ns; reading the clock {clock:.2} ns");
    // Of a get: its latency and its size.
    println!("       a whole operation, 32 a batch, two entries: {:.2} ns", figure("operation_of_32")?);
    Ok(measured)
}

/// Percentiles of ten million values against exact ones.
fn accuracy(workspace: &Workspace) -> anyhow::Result<Value> {
    let test = ["test", "--quiet", "--release", "-p", "forebay-metrics", "--test", "accuracy_ten_million"];
    let mut command = shell::cargo(workspace.root(), test);
    let output = shell::read(command.args(["--", "--nocapture"]))?;
    let mut found = Vec::new();
    println!("\npercentiles of 10,000,000 values, p50 to p99.99, each number of digits");
    for line in output.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let ["percentiles", shape, digits, worst] = words.as_slice() else { continue };
        let (digits, worst): (i32, f64) = (digits.parse()?, worst.parse()?);
        let times = worst * 10f64.powi(digits);
        println!(
            "{}",
            bar(&format!("{shape}, {digits} digits: greatest error, in 10^-{digits}"), times, 1.0)
        );
        found.push(json!({ "shape": shape, "digits": digits, "greatest_error": worst }));
    }
    anyhow::ensure!(found.len() == 20, "{} of 20 readings of accuracy in {output:?}", found.len());
    Ok(json!({ "accuracy": found }))
}
