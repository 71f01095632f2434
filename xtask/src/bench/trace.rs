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
/// How long a replay of files lasts, and one on a server.
const SECONDS: &str = "30";
const SECONDS_OF_SERVERS: &str = "20";

/// The most that the submit error of a replay on a server may be, in microseconds: its 99th percentile.
const ON_SERVERS: f64 = 300.0;

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

/// Replays on files and on both servers, each beside its noise floor.
pub(super) fn replaying(workspace: &Workspace, data: &Path) -> anyhow::Result<Vec<Value>> {
    let folder = data.display().to_string();
    let files = measure(workspace, &["replay", "files", &folder, SECONDS])?;
    println!("\nreplay of 10,000 operations a second for {SECONDS} s, Poisson, cached files of about 4 KiB");
    fidelity(&files, Some(50.0))?;
    let mut all = vec![files];
    let priorities = [("fair", "priority fair"), ("realtime", "priority realtime")];
    let giving_way = [("giving_way", "which runs at a nice value of 19, priority fair")];
    for (server, name, more) in [("s3", "s3s-fs", [].as_slice()), ("azure", "Azurite", &giving_way)] {
        let measured = measure(workspace, &["replay", server, SECONDS_OF_SERVERS])?;
        for (key, how) in priorities.iter().chain(more) {
            let measured = &measured[key];
            println!(
                "\nreplay of 500 operations a second for {SECONDS_OF_SERVERS} s, Poisson, on {name}, {how}"
            );
            match measured {
                Value::Null => println!("not permitted here: it takes CAP_SYS_NICE or an RLIMIT_RTPRIO of 1"),
                _ => fidelity(measured, None)?,
            }
        }
        all.push(measured);
    }
    Ok(all)
}

/// Prints what a replay is judged by. `beyond_floor`: how many microseconds the submit error may be above the noise floor;
/// else it may be [`ON_SERVERS`] as it is.
fn fidelity(measured: &Value, beyond_floor: Option<f64>) -> anyhow::Result<()> {
    let us = |path: &str| figure(measured, path).map(|ns| ns / 1e3);
    for (name, path, drift) in [
        ("submit error", "/fidelity/submit_error_ns", "/fidelity/drift_ppm"),
        ("noise floor before", "/floor_before_ns", "/floor_before_ns/drift_ppm"),
        ("noise floor after", "/floor_after_ns", "/floor_after_ns/drift_ppm"),
    ] {
        let at = |q: &str| us(&format!("{path}/{q}"));
        println!(
            "{name:20} p50 {:8.2}  p99 {:8.2}  p99.9 {:8.2}  max {:8.2} us  drift {:8.3} ppm",
            at("p50")?,
            at("p99")?,
            at("p99.9")?,
            at("max")?,
            figure(measured, drift)?
        );
    }
    let error = us("/fidelity/submit_error_ns/p99")?;
    if let Some(most) = beyond_floor {
        let floor = us("/floor_before_ns/p99")?.max(us("/floor_after_ns/p99")?);
        println!("{}", bar("submit error p99 beyond the noise floor, us", error - floor, most));
        let drift = |path: &str| figure(measured, path).map(f64::abs);
        let floor = drift("/floor_before_ns/drift_ppm")?.max(drift("/floor_after_ns/drift_ppm")?);
        let beyond = drift("/fidelity/drift_ppm")? - floor;
        println!("{}", bar("drift beyond the noise floor's, ppm either way", beyond, 5.0));
    } else {
        println!("{}", bar("submit error p99, us", error, ON_SERVERS));
    }
    let text = |path: &str| measured.pointer(path).map_or("-".to_owned(), Value::to_string);
    println!(
        "       policy {}, a slice of {} ns, kept waiting for {:.1} ms",
        text("/fidelity/scheduling/policy"),
        text("/fidelity/scheduling/slice_ns"),
        us("/fidelity/scheduling/kept_waiting_ns").map_or(f64::NAN, |us| us / 1e3)
    );
    let exact = measured.pointer("/fidelity/exact").and_then(Value::as_bool) == Some(true);
    println!("{:6} exactly what the trace says", if exact { "met" } else { "MISSED" });
    println!("{}", bar("distance of sizes", figure(measured, "/fidelity/size_distance")?, 0.01));
    let asked = figure(measured, "/fidelity/submitted")?;
    println!("{}", bar("operations that failed", asked - figure(measured, "/fidelity/done")?, 0.0));
    println!("{}", bar("operations that a cap delayed", figure(measured, "/fidelity/capped")?, 0.0));
    Ok(())
}
