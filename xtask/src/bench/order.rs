//! How soon an order over a hundred million samples is there, how fast it is, and how little it keeps.
//! Measured by `crates/loader/benches/order.rs`, which runs all orders in turn inside one process.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::reading::median;
use crate::shell;
use crate::workspace::Workspace;

/// The first index at most so late.
const FIRST_SECONDS: f64 = 0.010;
/// Indices at least so many a second, on one core.
const RATE: f64 = 20e6;
/// At most so much resident for orders and state.
const RESIDENT: u64 = 1 << 20;

/// What the program prints.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    samples: u64,
    resident_growth_bytes: u64,
    orders: BTreeMap<String, Readings>,
}

/// One figure a repeat.
#[derive(Debug, Serialize, Deserialize)]
struct Readings {
    first_seconds: Vec<f64>,
    indices_per_second: Vec<f64>,
}

/// Measures, and prints a table with a verdict on each bar.
pub(super) fn run(workspace: &Workspace, rounds: usize) -> anyhow::Result<Measured> {
    let bench = ["bench", "--quiet", "-p", "forebay-loader", "--bench", "order", "--"];
    let output = shell::read(shell::cargo(workspace.root(), bench).arg(rounds.to_string()))?;
    let line = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let measured: Measured =
        serde_json::from_str(line).with_context(|| format!("no readings in {line:?}"))?;
    print!("{}", table(&measured));
    Ok(measured)
}

fn table(measured: &Measured) -> String {
    let mut text = format!("\norders of {} samples, a core's processor time, medians\n", measured.samples);
    text += &format!("{:18} {:>14} {:>18}\n", "", "first index", "million indices/s");
    let (mut slowest, mut latest) = (f64::INFINITY, 0f64);
    for (name, readings) in &measured.orders {
        let first = median(readings.first_seconds.clone());
        let rate = median(readings.indices_per_second.clone());
        (slowest, latest) = (slowest.min(rate), latest.max(first));
        text += &format!("{name:18} {:>11.2} us {:>18.1}\n", first * 1e6, rate / 1e6);
    }
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    text += &format!(
        "{:6} latest first index: {:.3} ms, at most 10\n",
        verdict(latest <= FIRST_SECONDS),
        latest * 1e3
    );
    text += &format!("{:6} slowest order: {:.1} M/s, at least 20\n", verdict(slowest >= RATE), slowest / 1e6);
    let resident = measured.resident_growth_bytes;
    text + &format!(
        "{:6} resident for all orders: {resident} bytes, at most {RESIDENT}\n",
        verdict(resident <= RESIDENT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_has_its_verdict() {
        let text = r#"{"samples": 100, "resident_growth_bytes": 4096, "orders": {
            "a": {"first_seconds": [1e-6, 1.0, 2e-6], "indices_per_second": [30e6, 40e6, 1e6]},
            "b": {"first_seconds": [0.02], "indices_per_second": [50e6]}}}"#;
        let table = table(&serde_json::from_str(text).unwrap());
        assert!(table.contains("MISSED latest first index: 20.000 ms"), "{table}");
        assert!(table.contains("met    slowest order: 30.0 M/s"), "{table}");
        assert!(table.contains("met    resident for all orders: 4096 bytes"), "{table}");
    }
}
