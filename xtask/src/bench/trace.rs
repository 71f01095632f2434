//! What a trace costs while it is recorded, and how true a replay is.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::dataset::Dataset;
use super::loading::{self, Measured, bar};
use crate::shell;
use crate::workspace::Workspace;

/// Operations of the recording that is timed.
const OPERATIONS: &str = "3000000";
/// How long the replay lasts.
const SECONDS: &str = "30";

/// Runs one measurement of `crates/trace/benches/tracing.rs`.
fn measure(workspace: &Workspace, words: &[&str]) -> anyhow::Result<Value> {
    let bench = ["bench", "--quiet", "-p", "forebay-trace", "--bench", "tracing", "--"];
    let output = shell::read(shell::cargo(workspace.root(), bench).args(words))?;
    let line = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("no readings in {line:?}"))
}

/// The figure at a path of names.
fn figure(value: &Value, path: &str) -> anyhow::Result<f64> {
    value.pointer(path).and_then(Value::as_f64).with_context(|| format!("the bench does not tell {path}"))
}

pub(super) fn recording(workspace: &Workspace) -> anyhow::Result<Value> {
    let measured = measure(workspace, &["record", OPERATIONS])?;
    println!("\nrecording {OPERATIONS} operations at 500,000 a second, batches of 32");
    println!(
        "{}",
        bar("ns an operation on the thread that records", figure(&measured, "/ns_an_operation")?, 100.0)
    );
    println!("{}", bar("bytes stored an operation", figure(&measured, "/bytes_a_record")?, 16.0));
    // Half a million a second leave it 2,000 ns of a core for each.
    println!(
        "{}",
        bar(
            "CPU ns an operation of the thread that writes",
            figure(&measured, "/writer_ns_an_operation")?,
            2000.0
        )
    );
    println!("{}", bar("operations lost", figure(&measured, "/dropped")?, 0.0));
    Ok(measured)
}

/// Epochs over cached files with a trace and without, in turn.
pub(super) fn loading(workspace: &Workspace, dataset: &Dataset, rounds: usize) -> anyhow::Result<Measured> {
    let title = "trace on and off";
    loading::on_and_off(workspace, "trace", title, dataset, rounds, 1.02)
}

pub(super) fn replaying(workspace: &Workspace, data: &Path) -> anyhow::Result<Value> {
    let folder = data.display().to_string();
    let measured = measure(workspace, &["replay", &folder, SECONDS])?;
    println!("\nreplay of 10,000 operations a second for {SECONDS} s, Poisson, files of 4 KiB");
    let us = |path: &str| figure(&measured, path).map(|ns| ns / 1e3);
    for (name, path) in [
        ("submit error", "/fidelity/submit_error_ns"),
        ("noise floor before", "/floor_before_ns"),
        ("noise floor after", "/floor_after_ns"),
    ] {
        let at = |q: &str| us(&format!("{path}/{q}"));
        println!(
            "{name:20} p50 {:8.2}  p99 {:8.2}  p99.9 {:8.2}  max {:8.2} us",
            at("p50")?,
            at("p99")?,
            at("p99.9")?,
            at("max")?
        );
    }
    let floor = us("/floor_before_ns/p99")?.max(us("/floor_after_ns/p99")?);
    println!(
        "{}",
        bar(
            "submit error p99 beyond the noise floor, us",
            us("/fidelity/submit_error_ns/p99")? - floor,
            50.0
        )
    );
    println!("{}", bar("drift, ppm either way", figure(&measured, "/fidelity/drift_ppm")?.abs(), 5.0));
    let exact = measured.pointer("/fidelity/exact").and_then(Value::as_bool) == Some(true);
    println!("{:6} exactly what the trace says", if exact { "met" } else { "MISSED" });
    println!("{}", bar("distance of sizes", figure(&measured, "/fidelity/size_distance")?, 0.01));
    Ok(measured)
}
