//! What only the loader itself can be asked: how soon the first batch of a huge directory comes, and what
//! measuring costs. Both are measured by one program (`crates/cli/benches/loading.rs`), which runs its
//! contenders in turn inside one process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::dataset::Dataset;
use super::page_cache;
use super::reading::{interval, median};
use crate::shell;
use crate::workspace::Workspace;

/// Files of the directory that the start is timed with.
const FILES: usize = 1_000_000;

/// What the program prints: readings by contender, and what else it saw.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) facts: BTreeMap<String, f64>,
    /// Why there are no readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) skipped: Option<String>,
    #[serde(flatten)]
    series: BTreeMap<String, Series>,
}

/// One figure a repeat.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Series {
    pub(super) seconds: Vec<f64>,
    pub(super) cpu_seconds: Vec<f64>,
}

impl Measured {
    /// The last line that a program prints.
    pub(super) fn parse(output: &str) -> anyhow::Result<Self> {
        let line = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("no readings in {line:?}"))
    }

    pub(super) fn series(&self, name: &str) -> anyhow::Result<&Series> {
        self.series.get(name).with_context(|| format!("the bench has no readings of {name:?}"))
    }

    pub(super) fn fact(&self, name: &str) -> anyhow::Result<f64> {
        self.facts.get(name).copied().with_context(|| format!("the bench does not tell {name:?}"))
    }

    /// The median, over repeats, of one contender's figure over the other's in the same repeat.
    fn ratio(&self, of: &str, to: &str, figure: fn(&Series) -> &Vec<f64>) -> anyhow::Result<f64> {
        let (of, to) = (figure(self.series(of)?), figure(self.series(to)?));
        Ok(median(of.iter().zip(to).map(|(a, b)| a / b).collect()))
    }

    /// Prints what the contender `on` costs beside "off", by processor time, which a neighbour on the machine disturbs least, and by
    /// the clock; each with the interval that the median of many more repeats would be in, for a percent to be told from noise.
    pub(super) fn price(&self, on: &str, most: f64) -> anyhow::Result<()> {
        let ratios = |figure: fn(&Series) -> &Vec<f64>| -> anyhow::Result<Vec<f64>> {
            let (on, off) = (figure(self.series(on)?), figure(self.series("off")?));
            let ratios: Vec<_> = on.iter().zip(off).map(|(on, off)| on / off).collect();
            ensure!(!ratios.is_empty(), "the bench has no repeats");
            Ok(ratios)
        };
        for (name, ratios) in [("CPU time", ratios(|s| &s.cpu_seconds)?), ("time", ratios(|s| &s.seconds)?)] {
            let (least, greatest) = interval(ratios.clone());
            let repeats = ratios.len();
            let ratio = median(ratios);
            // Met or missed by all of it, or by the median alone.
            let sure = if (least <= most) == (greatest <= most) { "" } else { "; not told from noise" };
            let text = format!("{name} with it, times that without");
            println!(
                "{} ({least:.3} to {greatest:.3}, 95 in 100, of {repeats}{sure})",
                bar(&text, ratio, most)
            );
        }
        Ok(())
    }

    /// A table of medians.
    pub(super) fn table(&self) -> String {
        let mut text = format!("{:24} {:>11} {:>11}\n", "", "seconds", "CPU s");
        for (name, series) in &self.series {
            let [seconds, cpu] = [&series.seconds, &series.cpu_seconds].map(|all| median(all.clone()));
            text += &format!("{name:24} {seconds:>11.4} {cpu:>11.4}\n");
        }
        text
    }
}

/// Runs one of the program's measurements.
pub(super) fn measure(
    workspace: &Workspace,
    what: &str,
    folder: &Path,
    rounds: usize,
) -> anyhow::Result<Measured> {
    let bench = ["bench", "--quiet", "-p", "forebay-cli", "--bench", "loading", "--", what];
    let mut command = shell::cargo(workspace.root(), bench);
    command.arg(folder).arg(rounds.to_string());
    Measured::parse(&shell::read(&mut command)?)
}

/// First batch of a directory of a million files, against a loop over `std::fs::read_dir` that counts.
pub(super) fn startup(workspace: &Workspace, data: &Path, rounds: usize) -> anyhow::Result<Measured> {
    let folder = million(data)?;
    let measured = measure(workspace, "startup", &folder, rounds)?;
    println!("\nfirst batch of a directory of {FILES} files, its blocks cached\n{}", measured.table());
    for name in ["first batch", "first batch, shuffled"] {
        let ratio = measured.ratio(name, "bare listing", |series| &series.seconds)?;
        println!("{}", bar(&format!("{name}, times a bare listing"), ratio, 1.3));
    }
    let bytes = measured.fact("resident_growth_bytes")? / measured.fact("samples")?;
    println!("{}", bar("bytes resident a sample", bytes, 100.0));
    Ok(measured)
}

/// Epochs over cached files with something and without it, in turn.
pub(super) fn on_and_off(
    workspace: &Workspace,
    what: &str,
    title: &str,
    dataset: &Dataset,
    rounds: usize,
    most: f64,
) -> anyhow::Result<Measured> {
    page_cache::warm(&dataset.files)?;
    let measured = measure(workspace, what, &dataset.folder, rounds)?;
    println!("\n{title}, {} cached\n{}", dataset.folder.display(), measured.table());
    measured.price("on", most)?;
    Ok(measured)
}

pub(super) fn bar(text: &str, got: f64, most: f64) -> String {
    let verdict = if got <= most { "met" } else { "MISSED" };
    format!("{verdict:6} {text}: {got:.3}, at most {most}")
}

/// A flat directory of empty files; kept for the next run.
fn million(data: &Path) -> anyhow::Result<PathBuf> {
    let folder = data.join("million");
    let complete = data.join("million.complete");
    if complete.exists() {
        return Ok(folder);
    }
    eprintln!("making {FILES} empty files in {}", folder.display());
    fs::create_dir_all(&folder)?;
    for number in 0..FILES {
        let path = folder.join(format!("sample-{number:07}.bin"));
        File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    rustix::fs::sync();
    fs::write(&complete, "")?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_repeat() {
        let text = r#"{"facts":{"samples":10},
            "on":{"seconds":[1.0,20.0,3.0],"cpu_seconds":[1,1,1]},
            "off":{"seconds":[2.0,10.0,3.0],"cpu_seconds":[2,1,4]}}"#;
        let measured: Measured = serde_json::from_str(text).unwrap();
        assert_eq!(measured.ratio("on", "off", |s| &s.seconds).unwrap(), 1.0);
        assert_eq!(measured.ratio("on", "off", |s| &s.cpu_seconds).unwrap(), 0.5);
        assert_eq!(measured.fact("samples").unwrap(), 10.0);
        assert!(measured.series("out").unwrap_err().to_string().contains("\"out\""));
    }
}
